"""Files below a folder, written as a whole or not at all, and never through a symbolic link. Blocks: call it in a thread.

Every step goes by the descriptor of the folder that was opened before, so that nobody can put a link in the way meanwhile.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Collection, Generator
from pathlib import Path

from libs import errors

_LINKS = frozenset({errno.ELOOP, errno.ENOTDIR})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HIDDEN = re.compile(r"\..+\.[0-9a-f]{12}\.fnbus-draft")
_NEVER_WRITTEN = frozenset({"node_modules", "__pycache__"})
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def read(root: Path, path: str, *, limit: int) -> bytes:
    """Return a file's bytes.

    Raises:
        OSError: it cannot be read, is no plain file, or is larger than `limit` bytes.
        errors.PermanentError: it is a symbolic link, or lies behind one.
    """
    with _opened(root, path.rpartition("/")[0]) as folder, _told(path):
        descriptor = os.open(path.rpartition("/")[2], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "is no plain file", path)
            data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"is larger than {limit} bytes", path)
    return data


def write(root: Path, path: str, data: bytes) -> None:
    """Write a file: whoever opens it sees what was there before or all that is there now, also after a power cut.

    Raises:
        errors.PermanentError: a part of its path is a symbolic link, or no folder.
        OSError: it cannot be written.
    """
    parent, _, name = path.rpartition("/")
    with _opened(root, parent, make=True) as folder, _told(path):
        mode = _mode(folder, name)
        draft = _hidden(name)
        try:
            descriptor = os.open(draft, _NEW, 0o666, dir_fd=folder)
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if mode is not None:
                    os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=folder)
            raise
        os.fsync(folder)


def remove(root: Path, path: str) -> None:
    """Remove a file; one that is not there is no error. A symbolic link goes itself, not what it leads to.

    Raises:
        errors.PermanentError: it lies behind a symbolic link, or is a folder.
        OSError: it cannot be removed.
    """
    parent, _, name = path.rpartition("/")
    with contextlib.suppress(FileNotFoundError), _opened(root, parent) as folder, _told(path):
        os.unlink(name, dir_fd=folder)
        os.fsync(folder)


def clear(root: Path, path: str, *, keep: Collection[str] = ()) -> None:
    """Remove a folder with all that lies in it but the folders `keep`.

    Raises:
        errors.PermanentError: it lies behind a symbolic link, or is one.
        OSError: something in it cannot be removed.
    """
    parent, _, name = path.rpartition("/")
    with contextlib.suppress(FileNotFoundError):
        if not keep:
            with _opened(root, parent) as folder, _opened(root, path), _told(path):
                # Under a name that nobody looks at, it is gone at once, however long it takes to go.
                grave = _hidden(name)
                os.rename(name, grave, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
                shutil.rmtree(grave, dir_fd=folder)
            return
        with _opened(root, path) as folder:
            for entry in os.scandir(folder):
                inner = f"{path}/{entry.name}"
                if inner in keep:
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=folder)
                else:
                    clear(root, inner, keep=[each for each in keep if each.startswith(f"{inner}/")])
            os.fsync(folder)


def tidy(root: Path) -> int:
    """Remove what writes that were broken off have left, and return how much it was. Nobody else may be writing meanwhile."""
    removed = 0
    for folder, folders, files, descriptor in os.fwalk(root, onerror=None, follow_symlinks=False):
        for name in filter(_HIDDEN.fullmatch, files):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=descriptor)
                removed += 1
        for name in filter(_HIDDEN.fullmatch, folders):
            with contextlib.suppress(OSError):
                shutil.rmtree(name, dir_fd=descriptor)
                removed += 1
        del folder
        folders[:] = [name for name in folders if name == ".fastfn" or not (name.startswith(".") or name in _NEVER_WRITTEN)]
    return removed


def _hidden(name: str) -> str:
    """Return a name beside another that nobody looks at."""
    return f".{name}.{secrets.token_hex(6)}.fnbus-draft"


@contextlib.contextmanager
def _opened(root: Path, path: str, *, make: bool = False) -> Generator[int]:
    """Open a folder below the root for the length of the block."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in path.split("/") if path else ():
            with _told(path):
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=descriptor)
                below = os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _mode(folder: int, name: str) -> int | None:
    """Return the permissions of a file that is there already.

    Raises:
        errors.PermanentError: it is a symbolic link, or no file.
    """
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(there.st_mode):
        raise errors.PermanentError(f"{name} is a symbolic link, or no file")
    return stat.S_IMODE(there.st_mode)


@contextlib.contextmanager
def _told(path: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _LINKS:
            raise errors.PermanentError(f"{path} is, or lies behind, a symbolic link or something that is no folder") from None
        if error.errno == errno.EISDIR:
            raise errors.PermanentError(f"{path} is a folder") from None
        raise
