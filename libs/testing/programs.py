"""Programs that tests run beside our own: built from `tests/servers/` when Go is there, and kept outside the tree.

A built program lies in the user's cache under the hash of what it was built from, so that it is built once per machine.
`python -m libs.testing.programs` builds all of them, with nothing but Python itself installed.
"""

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "tests" / "servers"
PACKAGES = {"mongo": ".", "jaeger": "github.com/jaegertracing/jaeger/cmd/all-in-one"}
"""What to build in each folder of `SOURCES`."""

_INPUTS = ("go.mod", "go.sum", "main.go")


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
            subprocess.run(["go", "build", "-o", fresh, PACKAGES[name]], cwd=SOURCES / name, check=True)
            fresh.rename(program)
    return program


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
