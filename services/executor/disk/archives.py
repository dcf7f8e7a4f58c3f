"""Layers as archives: packed so that the same files make the same bytes, and unpacked only where nothing leads out.

An archive is a gzipped tar of files, folders and symbolic links, without owners, times and special bits. What a build left
behind is not trusted when it is packed, and what comes from the store is not trusted when it is unpacked.
"""

import gzip
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from libs import errors

EPOCH = 315_532_800
"""The time of every file: 1980, the first that zip archives know."""
MAX_ENTRIES = 200_000
MAX_DEPTH = 64
_COPY_BYTES = 1024 * 1024
_COMPRESSION = 1


class BadArchiveError(errors.PermanentError):
    """An archive, or what was to become one, holds something that a layer may not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What went into an archive."""

    files: int
    size: int
    """Bytes of all files, unpacked."""


def pack(folder: Path, sink: BinaryIO, *, within: Path, max_bytes: int, forbidden: Sequence[bytes] = ()) -> Packed:
    """Write a folder's files to `sink`.

    Args:
        folder: what becomes the archive; a single file becomes an archive of that file.
        sink: where the bytes go.
        within: a symbolic link may lead to anything in here; one that leads out of `folder` becomes a copy.
        max_bytes: what all files may have together.
        forbidden: byte strings that no file may hold: credentials that the build could see.

    Raises:
        BadArchiveError: it holds a device, a link that leads elsewhere, a forbidden text, or too much.
    """
    packing = _Packing(folder, within, max_bytes, tuple(forbidden))
    # No name and no time in gzip's own head either.
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=sink, compresslevel=_COMPRESSION, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        packing.run(archive)
    return Packed(files=packing.files, size=packing.size)


def unpack(source: BinaryIO, folder: Path, *, max_bytes: int) -> Packed:
    """Write an archive's files below `folder`, which is empty.

    Raises:
        BadArchiveError: it is no archive, a path or a link leads out of the folder, it holds something else than files,
            folders and symbolic links, or it is too large.
        OSError: the files cannot be written.
    """
    files = size = 0
    links: set[str] = set()
    try:
        with (
            gzip.GzipFile(fileobj=source, mode="rb") as stream,
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            for count, member in enumerate(archive):
                if count >= MAX_ENTRIES:
                    raise BadArchiveError(f"it has more than {MAX_ENTRIES} entries")
                name = _safe_name(member.name, links)
                target = folder / name
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    target.chmod(0o755)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                if member.issym():
                    _check_link(name, member.linkname)
                    target.symlink_to(member.linkname)
                    links.add(name)
                    continue
                size += member.size
                if size > max_bytes:
                    raise BadArchiveError(f"its files have more than {max_bytes} bytes")
                content = archive.extractfile(member) if member.isreg() else None
                if content is None:
                    raise BadArchiveError(f"{name} is neither a file, a folder nor a symbolic link")
                with content, target.open("xb") as sink:
                    shutil.copyfileobj(content, sink, _COPY_BYTES)
                target.chmod(0o555 if member.mode & 0o111 else 0o444)
                files += 1
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, FileExistsError, NotADirectoryError) as error:
        raise BadArchiveError(f"it is not an archive of a layer: {error}") from error
    _check_all_links(folder, links)
    return Packed(files=files, size=size)


class _Packing:
    """One run of `pack`."""

    def __init__(self, folder: Path, within: Path, max_bytes: int, forbidden: tuple[bytes, ...]) -> None:
        self._folder = folder
        self._real = Path(os.path.realpath(folder))
        self._within = Path(os.path.realpath(within))
        self._max_bytes = max_bytes
        self._forbidden = forbidden
        self._entries = 0
        self.files = 0
        self.size = 0

    def run(self, archive: tarfile.TarFile) -> None:
        if not self._real.is_relative_to(self._within):
            raise BadArchiveError("the build's output lies outside of its folder")
        if self._real.is_file():
            self._file(archive, self._real, self._folder.name)
        elif self._real.is_dir():
            self._walk(archive, self._real, "", 0)
        else:
            raise BadArchiveError(f"the build left no {self._folder.name}")

    def _walk(self, archive: tarfile.TarFile, folder: Path, prefix: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise BadArchiveError(f"{prefix} lies deeper than {MAX_DEPTH} folders")
        for path in _sorted(folder):
            name = f"{prefix}{path.name}"
            self._entries += 1
            if self._entries > MAX_ENTRIES:
                raise BadArchiveError(f"there are more than {MAX_ENTRIES} files")
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                self._link(archive, path, name, depth)
            else:
                self._real_one(archive, path, name, mode, depth)

    def _real_one(self, archive: tarfile.TarFile, path: Path, name: str, mode: int, depth: int) -> None:
        if stat.S_ISDIR(mode):
            archive.addfile(_member(name, tarfile.DIRTYPE, 0o755))
            self._walk(archive, path, f"{name}/", depth + 1)
        elif stat.S_ISREG(mode):
            self._file(archive, path, name)
        else:
            raise BadArchiveError(f"{name} is neither a file, a folder nor a symbolic link")

    def _link(self, archive: tarfile.TarFile, path: Path, name: str, depth: int) -> None:
        """Keep a link that stays inside; replace one that does not by a copy of what it leads to."""
        target = path.readlink()
        real = Path(os.path.realpath(path))
        if not target.is_absolute() and real.is_relative_to(self._real) and _stays_inside(name, str(target)):
            member = _member(name, tarfile.SYMTYPE, 0o777)
            member.linkname = str(target)
            archive.addfile(member)
            return
        if not real.is_relative_to(self._within) or not real.exists() or self._real.is_relative_to(real):
            raise BadArchiveError(f"{name} is a link that leads out of the build")
        self._real_one(archive, real, name, real.lstat().st_mode, depth)

    def _file(self, archive: tarfile.TarFile, path: Path, name: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as content:
            facts = os.fstat(descriptor)
            self.size += facts.st_size
            self.files += 1
            if self.size > self._max_bytes:
                raise BadArchiveError(f"the outcome has more than {self._max_bytes // (1024 * 1024)} MB")
            if self._forbidden and _holds(content, self._forbidden):
                raise BadArchiveError(f"{name} holds credentials of the package index")
            content.seek(0)
            member = _member(name, tarfile.REGTYPE, 0o755 if facts.st_mode & 0o111 else 0o644)
            member.size = facts.st_size
            archive.addfile(member, content)


def _member(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.mtime = kind, mode, EPOCH
    return member


def _sorted(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.iterdir(), key=lambda each: os.fsencode(each.name)))


def _holds(content: BinaryIO, forbidden: Sequence[bytes]) -> bool:
    longest = max(map(len, forbidden))
    tail = b""
    while piece := content.read(_COPY_BYTES):
        window = tail + piece
        if any(each in window for each in forbidden):
            return True
        tail = window[-(longest - 1) :] if longest > 1 else b""
    return False


def _safe_name(name: str, links: set[str]) -> str:
    """Return a member's path in its normal form."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name or "\\" in name:
        raise BadArchiveError(f"path {name!r} leads out of it")
    if len(path.parts) > MAX_DEPTH + 1:
        raise BadArchiveError(f"path {name!r} is too deep")
    if any(str(parent) in links for parent in path.parents):
        raise BadArchiveError(f"path {name!r} goes through a link")
    return str(path)


def _stays_inside(name: str, target: str) -> bool:
    """Whether a relative link stays inside by its text."""
    lexical = os.path.normpath(os.path.join(os.path.dirname(name), target))
    return not os.path.isabs(target) and lexical != ".." and not lexical.startswith("../")


def _check_link(name: str, target: str) -> None:
    if not target or "\0" in target or not _stays_inside(name, target):
        raise BadArchiveError(f"link {name!r} leads out of it")


def _check_all_links(folder: Path, links: set[str]) -> None:
    """See where links lead once all are there: one may lead out through another, whatever their texts say."""
    root = os.path.realpath(folder)
    for name in sorted(links):
        real = os.path.realpath(folder / name)
        if real != root and not real.startswith(f"{root}{os.sep}"):
            raise BadArchiveError(f"link {name!r} leads out of it")
