"""What lies in a functions folder: names, sizes and times, gathered without reading any file.

Left out here, because nothing that discovery or a bundle needs is there: dot files and dot folders, `__pycache__`,
editors' backup files, symbolic links that leave the functions folder or lead to secrets. Which of the rest are routes is
decided by `discover`.
"""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from libs import errors
from libs.messages import catalog

ENV = "fn.env.json"
"""Environment values, which are nobody's to read."""

MAX_FILES = 200_000
"""Files that a functions folder may have in all."""
MAX_PACKAGE_FILES = 2_500
"""Files that are listed of one `node_modules`: more than a bundle may hold, so that a larger one is seen to be too large."""
MAX_DEPTH = 32
"""Folders below each other."""
MAX_SMALL = 1024 * 1024
"""Bytes of a config file."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""A pipe that took the place of a file must not be waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file and what tells that it has changed."""

    path: str
    """Relative to the functions root, `/` between the parts."""
    size: int
    """Bytes."""
    mtime_ns: int
    executable: bool = False
    ctime_ns: int = 0
    """Time of the last change of content or attributes: unlike `mtime_ns` nobody can set it back."""
    inode: int = 0
    digest: str = ""
    """sha-256 (hex) of its content, where that is what tells that it has changed."""

    @classmethod
    def of(cls, path: str, status: os.stat_result) -> Self:
        """Return a file of this machine, as the kernel describes it."""
        return cls(
            path=path,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            executable=bool(status.st_mode & 0o100),
            ctime_ns=status.st_ctime_ns,
            inode=status.st_ino,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All files of a functions folder."""

    files: tuple[File, ...]
    """Sorted by path."""
    problems: tuple[catalog.Problem, ...] = ()
    unread: tuple[str, ...] = ()
    """Files and folders that could not be looked at; what lies there is not known to be gone."""
    untouched: bool = False
    """Whether nobody has ever written anything there."""


def blind_spot(path: str) -> str:
    """Return why a file at that path would never be listed; empty when it would."""
    *folders, name = path.split("/")
    if any(part.startswith(".") for part in (*folders, name)):
        return "names that begin with a dot are left out"
    if "__pycache__" in (*folders, name):
        return "__pycache__ is left out"
    if any(part.endswith("~") for part in (*folders, name)):
        return "names that end with ~ are left out"
    if len(folders) >= MAX_DEPTH:
        return f"it lies more than {MAX_DEPTH} folders deep"
    return ""


def scan(root: Path) -> Listing:
    """List a functions folder. Blocks: call it in a thread.

    Raises:
        errors.UnavailableError: the folder itself cannot be read; what cannot be read below it is a problem in the listing.
    """
    try:
        real = os.path.realpath(root, strict=True)
        os.scandir(real).close()
    except OSError as error:
        raise errors.UnavailableError(f"the functions folder {root} cannot be read: {error.strerror}") from error
    return _Scan(real).run()


def read_small(root: Path, path: str, *, limit: int = MAX_SMALL) -> bytes:
    """Return a file's bytes. Blocks.

    Raises:
        OSError: it cannot be read, is larger than `limit` bytes, or is a link that leaves the root since it was listed.
    """
    with open(_open_inside(root, path), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(f"is larger than {limit} bytes")
    return data


def _open_inside(root: Path, path: str) -> int:
    """Return a descriptor of a file below the root, opened folder by folder: no link can lead out of it on the way."""
    *folders, name = path.split("/")
    at = os.open(root, _FOLDER)
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        return os.open(name, _FILE | os.O_NOFOLLOW, dir_fd=at)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
    finally:
        os.close(at)
    real = os.path.realpath(root / path, strict=True)  # a link, which may lead to another place inside
    if not real.startswith(os.path.realpath(root).rstrip("/") + "/"):
        raise OSError("is a symbolic link that leaves the functions folder")
    return os.open(real, _FILE)


class _Scan:
    def __init__(self, root: str) -> None:
        self._root = root
        self._inside = root.rstrip("/") + "/"
        self._files: list[File] = []
        self._problems: list[catalog.Problem] = []
        self._unread: list[str] = []
        self._packages: dict[str, int] = {}

    def run(self) -> Listing:
        pending: list[tuple[str, tuple[str, ...]]] = [("", (self._root,))]
        while pending and len(self._files) <= MAX_FILES:
            folder, chain = pending.pop()
            pending.extend(self._scan_folder(folder, chain))
        if len(self._files) > MAX_FILES:
            self._say("", f"has more than {MAX_FILES} files; the rest is left out")
            self._unread.append("")
            del self._files[MAX_FILES:]
        return Listing(
            files=tuple(sorted(self._files, key=lambda file: file.path)),
            problems=tuple(sorted(self._problems, key=lambda problem: (problem.path, problem.message))),
            unread=tuple(sorted(self._unread)),
        )

    def _say(self, path: str, message: str) -> None:
        self._problems.append(catalog.Problem(path=path or ".", message=message))

    def _scan_folder(self, folder: str, chain: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Take in a folder's files; yield its folders with the real folders above each, by which a circle is seen."""
        try:
            entries = list(os.scandir(os.path.join(self._root, folder)))
        except OSError as error:
            self._say(folder, f"cannot be read: {error.strerror}")
            self._unread.append(folder)
            return
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith("~") or entry.name == "__pycache__":
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            if not is_text(path):
                shown = os.fsencode(path).decode("utf-8", "backslashreplace")
                self._say(shown, "has a name that is not UTF-8; it is left out")
                continue
            try:
                below = self._scan_entry(entry, path, chain)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._say(path, f"cannot be read: {error.strerror}")
                self._unread.append(path)
                continue
            if below is not None:
                yield below

    def _scan_entry(self, entry: os.DirEntry[str], path: str, chain: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | None:
        if entry.is_symlink():
            real = os.path.realpath(entry.path, strict=True)
            if not real.startswith(self._inside):
                self._say(path, "is a symbolic link that leaves the functions folder; it is left out")
                return None
            if real.rpartition("/")[2].lower() == ENV != entry.name.lower():
                # Under any other name its values would be a file like all others: shown, sent to workers, stored as they are.
                self._say(path, f"is a symbolic link to an {ENV} under another name; it is left out")
                return None
            if entry.is_dir():
                return None if real in chain else self._enter(path, (*chain, real))
        elif entry.is_dir():
            return self._enter(path, (*chain, entry.path))
        status = entry.stat()
        if stat.S_ISREG(status.st_mode) and self._has_room(path):
            self._files.append(File.of(path, status))
        return None

    def _enter(self, path: str, chain: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | None:
        if len(chain) > MAX_DEPTH:
            self._say(path, f"lies more than {MAX_DEPTH} folders deep; it is left out")
            return None
        if self._packages.get(path.partition("node_modules/")[0], 0) > MAX_PACKAGE_FILES:
            return None
        return path, chain

    def _has_room(self, path: str) -> bool:
        before, found, _ = path.partition("node_modules/")
        if not found:
            return True
        count = self._packages[before] = self._packages.get(before, 0) + 1
        return count <= MAX_PACKAGE_FILES


def is_text(path: str) -> bool:
    """Whether a name is text at all: on Linux it may be any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
