"""When Deno bundles a handler, and which permissions its guests get."""

import asyncio
import json
from pathlib import Path

import pytest

from services.executor.profile import Profile
from services.executor.runtimes.deno import DenoRuntime


@pytest.fixture(scope="module")
def deno() -> DenoRuntime:
    runtime = DenoRuntime()
    availability = asyncio.run(runtime.probe())
    assert availability.present, availability.hint
    return runtime


@pytest.mark.parametrize(
    "source",
    ["export const handler = () => 1;\n", "import { a } from './a.ts';\n", "import fs from 'node:fs';\n", "// see npm:ms\n"],
)
def test_nothing_is_built_when_all_code_is_the_functions_own(tmp_path: Path, source: str) -> None:
    (tmp_path / "handler.ts").write_text(source)
    (tmp_path / "deno.json").write_text('{"compilerOptions": {"strict": true}}')
    assert DenoRuntime().build(tmp_path, "handler.ts") is None


@pytest.mark.parametrize(
    "source",
    [
        "import ms from 'npm:ms@2';\n",
        'import { a } from "jsr:@std/encoding";\n',
        "export { a } from 'https://example.org/a.ts';\n",
        "const ms = await import('npm:ms');\n",
        "import 'npm:ms';\n",
    ],
)
def test_code_from_elsewhere_is_bundled_wherever_it_is_imported(tmp_path: Path, deno: DenoRuntime, source: str) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "handler.ts").write_text("import '../other.ts';\n")
    (tmp_path / "other.ts").write_text(source)
    plan = deno.build(tmp_path, "api/handler.ts")
    assert plan is not None
    assert (plan.manifest, set(plan.inputs)) == ("other.ts", {"other.ts", "api/handler.ts"})
    assert plan.argv[-1] == "./api/handler.ts"
    assert plan.output == plan.mount


def test_an_import_map_is_bundled(tmp_path: Path, deno: DenoRuntime) -> None:
    (tmp_path / "deno.json").write_text(json.dumps({"imports": {"ms": "npm:ms@2.1.3"}}))
    (tmp_path / "handler.ts").write_text("import ms from 'ms';\n")
    plan = deno.build(tmp_path, "handler.ts")
    assert plan is not None
    assert (plan.manifest, plan.tool.split()[0]) == ("deno.json", "deno")


def test_a_guest_has_no_permission_that_its_profile_lacks(deno: DenoRuntime) -> None:
    argv = deno.command(Profile(network=False, run=False)).argv
    assert not [flag for flag in argv if flag.startswith(("--allow-net", "--allow-run", "--allow-ffi", "--allow-all", "-A"))]
    assert "--allow-write=/tmp,/dev/null" in argv


def test_a_guest_may_do_what_its_profile_allows(deno: DenoRuntime) -> None:
    argv = deno.command(Profile(network=True, hosts=("example.org", "*.example.net"), run=True, write=True)).argv
    assert "--allow-net=example.org,*.example.net" in argv
    assert "--allow-run" in argv
    assert "--allow-write=/tmp,/dev/null,." in argv


def test_hosts_that_deno_has_no_words_for_are_left_to_the_sandbox(deno: DenoRuntime) -> None:
    assert "--allow-net" in deno.command(Profile(hosts=("a,b --allow-all",))).argv
