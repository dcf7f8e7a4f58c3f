"""What a Python function declares, and what pip makes of it: packages are wheels made here, no index is asked."""

import base64
import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from libs import errors
from libs.testing.guests import Bench
from services.executor.runtimes.base import BuildPlan
from services.executor.runtimes.python import PythonRuntime

on_python = pytest.mark.parametrize("runtime", ["python"], indirect=True)


def bundle(folder: Path, **files: str) -> Path:
    """Write a bundle; a name's double underscore stands for its dot, so that it can be a keyword."""
    files.setdefault("handler__py", "def handler(event):\n    return 'x'\n")
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def wheel(folder: Path, name: str, version: str) -> Path:
    """Write a wheel of one module that knows its version."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for path, text in files.items()
    )
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in files.items():
            archive.writestr(each, text)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


def made(plan: BuildPlan, code: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a plan as a build does, without a sandbox and without an index."""
    for path in plan.inputs:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((code / path).read_bytes())
    for path, data in plan.files:
        (folder / path).write_bytes(data)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PIP_NO_INDEX": "1", "PIP_ONLY_BINARY": ":all:", **dict(plan.env)}
    return subprocess.run(plan.argv, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    return folder


def planned(code: Path, entrypoint: str = "handler.py") -> BuildPlan:
    plan = PythonRuntime().build(code, entrypoint)
    assert plan is not None
    return plan


@on_python
def test_packages_that_are_declared_are_installed_and_imported(bench: Bench, code: Path, tmp_path: Path) -> None:
    bundle(code, requirements__txt="./first-1.0-py3-none-any.whl\n")
    wheel(code, "first", "1.0")
    plan = planned(code)
    work = tmp_path / "build"
    work.mkdir()
    done = made(plan, code, work)
    assert done.returncode == 0, done.stdout + done.stderr
    source = "import first\ndef handler(event):\n    return [first.version, first.__cached__ is not None]\n"
    root, entrypoint = bench.write({"python": source})
    (work / plan.output).rename(root / plan.mount)
    guest = bench.start()
    guest.load(root, entrypoint)
    assert guest.call().json() == ["1.0", True]
    assert list((root / plan.mount / "__pycache__").glob("first.*.pyc"))


@on_python
def test_a_functions_own_module_goes_before_a_package_of_that_name(bench: Bench) -> None:
    files = {
        "handler.py": "import first\ndef handler(event):\n    return first.version\n",
        "first.py": "version = 'own'\n",
        ".deps/first.py": "version = 'installed'\n",
    }
    assert bench.loaded({"python": files}).call().text == "own"


def test_a_build_that_fails_ends_with_what_pip_says(code: Path, tmp_path: Path) -> None:
    done = made(planned(bundle(code, requirements__txt="no-such-package==1.0\n")), code, tmp_path)
    assert done.returncode != 0
    assert "no-such-package" in done.stderr


def test_requirements_in_the_entry_file_are_installed_too(code: Path) -> None:
    source = (
        "#@requirements first>=1,<2 second[extra]==2.0, third\n\n#@requirements fourth\n" + "\n" * 30 + "#@requirements late\n"
    )
    plan = planned(bundle(code, handler__py=source))
    assert plan.manifest == "handler.py"
    assert dict(plan.files)[".fnbus-requirements.txt"] == b"first>=1,<2\nsecond[extra]==2.0\nthird\nfourth\n"


def test_files_that_requirements_include_decide_the_outcome_as_well(code: Path) -> None:
    bundle(code, requirements__txt="-r more.txt\n--constraint=bounds.txt\n", more__txt="first\n", bounds__txt="first<2\n")
    assert planned(code).inputs == ("requirements.txt", "more.txt", "bounds.txt")


def test_requirements_beside_the_entry_file_go_before_those_of_the_bundle(code: Path) -> None:
    bundle(code, requirements__txt="first\n")
    (code / "sub").mkdir()
    bundle(code / "sub", requirements__txt="second\n")
    assert planned(code, "sub/handler.py").inputs == ("sub/requirements.txt",)


@pytest.mark.parametrize("text", ["", "# nothing\n\n", "--index-url https://example.org\n"])
def test_requirements_that_ask_for_nothing_need_no_build(code: Path, text: str) -> None:
    assert PythonRuntime().build(bundle(code, requirements__txt=text), "handler.py") is None


@pytest.mark.parametrize("folder", [".deps", "first-1.0.dist-info"])
def test_a_bundle_that_ships_its_packages_needs_no_build(code: Path, folder: str) -> None:
    bundle(code, requirements__txt="first\n")
    (code / folder).mkdir()
    assert PythonRuntime().build(code, "handler.py") is None


@pytest.mark.parametrize(
    "line", ["-r ../other.txt", "-r /etc/passwd", "../first-1.0-py3-none-any.whl", "./no.whl", "-r no.txt"]
)
def test_requirements_that_lead_nowhere_are_refused(code: Path, line: str) -> None:
    with pytest.raises(errors.PermanentError):
        PythonRuntime().build(bundle(code, requirements__txt=line + "\n"), "handler.py")


def test_requirements_that_are_no_text_are_refused(code: Path) -> None:
    (bundle(code) / "requirements.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(errors.PermanentError, match=r"requirements\.txt cannot be read"):
        PythonRuntime().build(code, "handler.py")
