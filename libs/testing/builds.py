"""What a runtime has to build before its guest can load a behaviour, built once per machine.

The outcome lies in the user's cache under the hash of all that went into it, as the test servers of
`libs.testing.programs` do.
"""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

_BUILD_SECONDS = 300


class Plan(Protocol):
    """What is needed here of `services.executor.runtimes.base.BuildPlan`."""

    @property
    def inputs(self) -> Sequence[str]:
        """Paths below the code's root."""
        ...

    @property
    def argv(self) -> Sequence[str]:
        """Program and arguments."""
        ...

    @property
    def env(self) -> Sequence[tuple[str, str]]:
        """Environment beside PATH and HOME."""
        ...

    @property
    def files(self) -> Sequence[tuple[str, bytes]]:
        """Further files, by path."""
        ...

    @property
    def output(self) -> str:
        """Folder that is kept."""
        ...

    @property
    def mount(self) -> str:
        """Where it belongs below the code's root."""
        ...


def build(plan: Plan, root: Path) -> None:
    """Carry a plan out for the code below `root`, and put the outcome where the guest looks for it.

    Raises:
        AssertionError: the build failed; the text is what the tool printed.
    """
    files = [*((name, (root / name).read_bytes()) for name in plan.inputs), *plan.files]
    key = hashlib.sha256(b"\0".join(_parts(plan, files))).hexdigest()[:20]
    kept = Path.home() / ".cache" / "fnbus" / "test-builds" / key
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix="new-") as folder:
            _run(plan, files, Path(folder))
            # Another test may have been quicker; both have made the same.
            try:
                (Path(folder) / plan.output).rename(kept)
            except OSError:
                assert kept.exists()
    shutil.copytree(kept, root / plan.mount, dirs_exist_ok=True)


def _parts(plan: Plan, files: Sequence[tuple[str, bytes]]) -> Iterator[bytes]:
    yield from (argument.encode() for argument in plan.argv)
    for name, content in files:
        yield name.encode()
        yield content


def _run(plan: Plan, files: Sequence[tuple[str, bytes]], folder: Path) -> None:
    for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8", **dict(plan.env)}
    done = subprocess.run(plan.argv, cwd=folder, env=env, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
