"""A folder on this machine for each worker, which is the guest's root from its start and is filled when it gets its code.

A spare is booted and confined before anybody knows whose code it will hold. So its root is an empty folder of its own, and
files that are put there later are seen by the guest. They are hard links of the bundle's and the layer's files, which nobody
may write; a version that may write to its own folder gets copies. The folder goes when its worker does, and what an executor
that was killed left behind goes when the next one starts here.
"""

import asyncio
import fcntl
import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

log = logging.getLogger(__name__)

_LOCK = "lock"
_FEW_FILES = 64
"""So many files are linked at once, without the way through a thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files to be found below a worker's root."""

    folder: Path
    """Where they lie on this machine."""
    mount: str = ""
    """Where they go, relative to the root."""
    files: int = 0
    """How many there are, when that is known; 0: nobody has counted."""


class Place:
    """The folder of one worker."""

    def __init__(self, folder: Path) -> None:
        """Make the folder, which must not be there."""
        self._folder = folder
        self._removed = False
        self._large = False
        self.code = folder / "code"
        """What the guest sees as its root."""
        folder.mkdir()
        self.code.mkdir()

    async def fill(self, sources: Sequence[Source], *, writable: bool) -> None:
        """Put files into the place.

        Args:
            sources: what is put there; of two files at the same path the first one stays.
            writable: whether the guest may change them; they are copies then, its own.

        Raises:
            OSError: they cannot be put there; the disk is full, perhaps.
        """
        few = not writable and all(0 < each.files <= _FEW_FILES for each in sources)
        if few:
            self._fill(sources, writable=False)
            return
        self._large = True
        await asyncio.to_thread(self._fill, sources, writable=writable)
        if self._removed:  # meanwhile
            self.remove()

    def remove(self) -> None:
        """Remove it with all that is in it; a large one is gone a little later."""
        self._removed = True
        if self._large:
            asyncio.get_running_loop().run_in_executor(None, partial(shutil.rmtree, self._folder, ignore_errors=True))
        else:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _fill(self, sources: Sequence[Source], *, writable: bool) -> None:
        for source in sources:
            target = self.code / source.mount
            target.mkdir(parents=True, exist_ok=True)
            _put(source.folder, target, writable=writable)
        if writable:
            self.code.chmod(0o777)


class Places:
    """The places of one executor."""

    def __init__(self, folder: Path) -> None:
        """Keep places in a folder of this executor's own below `folder`, which executors on one machine may share."""
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        made = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
        made.chmod(0o711)  # a guest with a user of its own passes through
        self._lock = os.open(made / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # Only now, with its lock held, does it get the name that others look for.
        self._folder = made.rename(made.with_name(made.name.replace("new-", "executor-", 1)))
        self._numbers = itertools.count(1)

    def new(self) -> Place:
        """Return a new place.

        Raises:
            OSError: the disk is full, perhaps.
        """
        return Place(self._folder / str(next(self._numbers)))

    def close(self) -> None:
        """Remove all places."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)


def _sweep(folder: Path) -> None:
    """Remove what executors left behind that are no more: nobody holds their lock."""
    for left in folder.glob("executor-*"):
        try:
            lock = os.open(left / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # it is just being removed
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except OSError:
            log.debug("%s is in use", left, extra={"action": "place_in_use"})
        finally:
            os.close(lock)


def _put(source: Path, target: Path, *, writable: bool) -> None:
    """Link or copy what is in one folder to another."""
    with os.scandir(source) as entries:
        for entry in entries:
            to = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                to.mkdir(exist_ok=True)
                _put(Path(entry.path), to, writable=writable)
                if writable:
                    to.chmod(0o777)
            elif not os.path.lexists(to):
                _put_file(entry, to, writable=writable)


def _put_file(entry: os.DirEntry[str], to: Path, *, writable: bool) -> None:
    if writable and not entry.is_symlink():
        shutil.copyfile(entry.path, to)
        to.chmod(entry.stat().st_mode | 0o666)
        return
    try:
        os.link(entry.path, to, follow_symlinks=False)
    except OSError:
        # Another file system, or one with too few links to a file.
        shutil.copy2(entry.path, to, follow_symlinks=False)
