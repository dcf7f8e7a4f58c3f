"""A language is added from outside: the package that the page describes, taken from the page, passes the core of the suite."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from services.executor.runtimes import installed
from services.executor.runtimes.base import Runtime

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "adding-a-runtime.md"
FILE_ON_PAGE = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder of installed packages that holds the page's."""
    files = dict(FILE_ON_PAGE.findall(PAGE.read_text()))
    project = tomllib.loads(files.pop("pyproject.toml"))["project"]
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in named.items()) for group, named in groups]
    (info / "entry_points.txt").write_text("".join(lines))
    return tmp_path


def test_a_runtime_from_outside_the_tree_passes_the_core_of_the_suite(packages: Path) -> None:
    argv = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "core", "-k", "bash")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    done = subprocess.run(
        (*argv, str(Path(__file__).parent)),
        cwd=ROOT,
        env={**env, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped)", done.stdout)}
    assert counts.get("passed", 0) >= 15
    assert counts.keys() == {"passed"}


def test_a_plug_in_is_among_the_runtimes_under_the_name_of_its_entry_point(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(packages), *sys.path])
    assert names(installed.runtimes())[-1] == "bash"
    monkeypatch.delitem(sys.modules, "fnbus_bash")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("broken = missing_module:Runtime", "missing_module"),
        ("broken = string:Template", "Template"),
        ("rust = string:Template", "built-in"),
        ("other = fnbus_bash:BashRuntime", "calls itself bash"),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_a_warning_and_no_more(
    packages: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, entry: str, reason: str
) -> None:
    before = names(installed.runtimes())
    next(packages.glob("*.dist-info/entry_points.txt")).write_text(f"[fnbus.runtimes]\n{entry}\n")
    monkeypatch.setattr(sys, "path", [str(packages), *sys.path])
    assert names(installed.runtimes()) == before
    assert reason in caplog.text
    sys.modules.pop("fnbus_bash", None)


def names(runtimes: tuple[Runtime, ...]) -> list[str]:
    return [runtime.name for runtime in runtimes]
