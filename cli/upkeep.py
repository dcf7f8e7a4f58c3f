"""The doctor's looks at what lies on the disk, each with what mends it: folders, who may read them, what a run left behind."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from cli import preflight, profiles
from cli.checks import Finding, Verdict
from cli.errors import CommandError

_OTHERS = 0o077
_KEYS = "secret-keys"
_MB = 1_000_000
_PLACES = {
    "code": ("executor/bundles",),
    "dependencies": ("executor/layers",),
    "bus": ("nats",),
    "databases": ("registry.sqlite3", "scheduler.sqlite3"),
}
"""What grows in the state folder, by what it is for people."""


def state(data: Path) -> list[Finding]:
    """Look at the state folder: whether it can be written, and who else may read what is secret in it."""
    nearest = next(folder for folder in (data.absolute(), *data.absolute().parents) if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        text = f"cannot write to {nearest}"
        return [Finding(id="state.folder", verdict=Verdict.FAIL, text=text, hint="choose another with --data")]
    if nearest != data.absolute():
        return [Finding(id="state.folder", verdict=Verdict.OK, text=f"{data} (is made at the first run)")]
    found = [_private(data, id="state.folder", mode=0o700)]
    if (data / _KEYS).exists():
        found.append(_private(data / _KEYS, id="state.keys", mode=0o600))
    return [*found, *_lock(data), _disk(data)]


def profiles_file() -> list[Finding]:
    """Look at who may read the profiles."""
    file = profiles.path(os.environ)
    return [_private(file, id="profiles.file", mode=0o600)] if file.exists() else []


def functions_folder(folder: Path) -> Finding | None:
    """Look whether there is a functions folder to read; None when there is."""
    try:
        preflight.check_folder(folder)
    except CommandError as error:
        if folder.exists() or folder.is_symlink():
            return Finding(id="project.functions_dir", verdict=Verdict.FAIL, text=str(error))
        return Finding(
            id="project.functions_dir",
            verdict=Verdict.FAIL,
            text=str(error),
            hint="--fix makes it",
            mend=_making(folder),
        )
    return None


def _private(path: Path, *, id: str, mode: int) -> Finding:  # noqa: A002  what it is called everywhere here
    present = path.stat().st_mode & 0o777
    if not present & _OTHERS:
        return Finding(id=id, verdict=Verdict.OK, text=str(path))

    def close() -> str:
        path.chmod(mode)
        return f"{path} is for its owner only"

    text = f"others on this machine can read {path} (mode {present:o})"
    return Finding(id=id, verdict=Verdict.WARN, text=text, hint="--fix closes it", mend=close)


def _lock(data: Path) -> list[Finding]:
    """Look whether a run that has ended says that it runs."""
    lock = data / preflight.LOCK_FILE
    if not lock.exists():
        return []
    if preflight.is_held(data):
        holder = lock.read_text().partition("\n")[0]
        return [Finding(id="state.lock", verdict=Verdict.OK, text=f"a platform runs here (process {holder})")]

    def remove() -> str:
        lock.unlink(missing_ok=True)
        return f"{lock} of a run that has ended is gone"

    return [Finding(id="state.lock", verdict=Verdict.OK, text="no platform runs here", mend=remove)]


def _disk(data: Path) -> Finding:
    """Say what takes room, by what it is."""
    sizes = {name: sum(_size(data / each) for each in places) for name, places in _PLACES.items()}
    told = ", ".join(f"{name} {size / _MB:.1f} MB" for name, size in sizes.items())
    details = {name.replace(" ", "_"): str(size) for name, size in sizes.items()}
    return Finding(id="state.disk", verdict=Verdict.OK, text=told, details=details)


def _size(place: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; what goes meanwhile counts for nothing."""
    files = (Path(folder) / name for folder, _, names in os.walk(place) for name in names) if place.is_dir() else (place,)
    total = 0
    for file in files:
        with contextlib.suppress(OSError):
            total += file.lstat().st_size
    return total


def _making(folder: Path) -> Callable[[], str]:
    def make() -> str:
        folder.mkdir(parents=True)
        return f"made the folder {folder}"

    return make
