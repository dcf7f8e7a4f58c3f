"""A guest's modules in one file."""

import subprocess
from pathlib import Path

import pytest

from services.executor.profile import Profile
from services.executor.runtimes.javascript.joining import joined_file
from services.executor.runtimes.node import NodeRuntime

MODULES = {
    "guest.mjs": 'import process from "node:process";\nimport { a, B, both } from "./a.mjs";\nimport { c } from "./c.mjs";\n\n'
    "process.stdout.write([a(), new B().name, both, c].join());\n",
    "a.mjs": 'import { sep } from "node:path";\nimport {\n  c,\n} from "./c.mjs";\n\n'
    "export function a() {\n  return sep + c;\n}\nexport class B {\n  name = 'B';\n}\nconst both = 'both';\nexport { both };\n",
    "c.mjs": "const local = 'c';\nexport const c = local;\n",
}


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    return tmp_path / "guest.mjs"


async def test_a_joined_file_runs_like_its_modules(entry: Path) -> None:
    runtime = NodeRuntime()
    await runtime.probe()
    node = runtime.command(Profile()).argv[0]
    file = joined_file(entry)
    assert file != entry
    told = [subprocess.run([node, path], capture_output=True, text=True, check=True).stdout for path in (entry, file)]  # noqa: ASYNC221  a test
    assert told == ["/c,B,both,c"] * 2


def test_a_joined_file_is_made_once_for_the_same_sources(entry: Path) -> None:
    first = joined_file(entry)
    made = first.stat().st_mtime_ns
    assert (joined_file(entry), first.stat().st_mtime_ns) == (first, made)
    (entry.parent / "c.mjs").write_text("export const c = 'd';\n")
    assert joined_file(entry) != first


def test_modules_are_started_as_they_are_where_nothing_can_be_written(entry: Path) -> None:
    (entry.parent / "__pycache__").write_text("a file where the folder would be")
    assert joined_file(entry) == entry
