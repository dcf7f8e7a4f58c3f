"""Programs that tests run beside our own: built from `tests/servers/` when Go is there, and kept outside the tree.

A built program lies in the user's cache under the hash of what it was built from, so that it is built once per machine.
`python -m libs.testing.programs` builds all of them, with nothing but Python itself installed.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "tests" / "servers"
PACKAGES = {"mongo": ".", "jaeger": "github.com/jaegertracing/jaeger/cmd/all-in-one"}
"""What to build in each folder of `SOURCES`."""

_INPUTS = ("go.mod", "go.sum", "main.go", "mends.json")


def required_program(name: str) -> Path:
    """Return a built program; where it cannot be built skip the test, or fail it when `CI` is `true`.

    Raises:
        subprocess.CalledProcessError: it does not build.
    """
    program = _place(name)
    if not program.exists() and shutil.which("go") is None:
        import pytest  # building, which runs before anything is installed, does without

        reason = f"the test server {name!r} is not built and there is no go on PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return build(name)


def build(name: str) -> Path:
    """Return the program `name`, built when it is not there yet; of several that ask at once one builds.

    Raises:
        subprocess.CalledProcessError: it does not build.
    """
    program = _place(name)
    program.parent.mkdir(parents=True, exist_ok=True)
    with (program.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            fresh = program.with_suffix(".new")
            mended = _mended(SOURCES / name, program.parent)
            subprocess.run(["go", "build", *mended, "-o", fresh, PACKAGES[name]], cwd=SOURCES / name, check=True)
            fresh.rename(program)
    return program


def _mended(source: Path, folder: Path) -> list[str]:
    """Return the build option for modules that are mended as `mends.json` says; the mended copies lie in `folder`.

    Raises:
        ValueError: a text to be replaced is not in its file.
    """
    mends = source / "mends.json"
    if not mends.exists():
        return []
    replaced: list[str] = []
    for module, files in json.loads(mends.read_text())["modules"].items():
        told = subprocess.run(["go", "mod", "download", "-json", module], cwd=source, check=True, capture_output=True)
        copy = folder / module
        # The module cache is read-only, and so would be a copy that kept its modes.
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(json.loads(told.stdout)["Dir"], copy, copy_function=shutil.copyfile)
        for file, changes in files.items():
            _replace(copy / file, changes)
        replaced.append(f"replace {module} => {copy}\n")
    (folder / "go.mod").write_text((source / "go.mod").read_text() + "".join(replaced))
    (folder / "go.sum").write_text((source / "go.sum").read_text())
    return [f"-modfile={folder / 'go.mod'}"]


def _replace(file: Path, changes: dict[str, str]) -> None:
    text = file.read_text()
    for before, after in changes.items():
        if before not in text:
            raise ValueError(f"{file} does not hold {before!r}")
        text = text.replace(before, after)
    file.write_text(text)


def _place(name: str) -> Path:
    inputs = [SOURCES / name / file for file in _INPUTS]
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in inputs if file.exists())).hexdigest()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "fnbus" / "test-servers" / digest[:16] / name


def _main() -> int:
    for name in PACKAGES:
        sys.stdout.write(f"{build(name)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
