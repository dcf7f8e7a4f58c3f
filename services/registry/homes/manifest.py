"""What a tree of files is at one moment, as the store keeps it: a list of what lies where. Pure.

Contents are documents of their own, each written once under a name that is never used again, and never changed. So a new
list can share those of the one before, and whoever still reads the one before finds everything there.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import msgpack

from libs import errors
from services.registry.homes import clashes
from services.registry.source.home import Change
from services.registry.source.listing import ENV, File, Listing

MAX_BYTES = 12 * 1024 * 1024
"""Size of a list: some 100,000 files."""

_FORM = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A file."""

    content: str
    """Id of the document that holds its bytes."""
    size: int
    digest: str
    """sha-256 (hex) of its bytes; of environment values, which a digest could give away, the content's id."""
    changed_ms: int
    """When it was written, in milliseconds since the Unix epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """All files at one moment."""

    revision: int = 0
    """Of the document that names this list; 0: nothing was ever written."""
    name: str = ""
    """Id of the document that holds this list."""
    files: Mapping[str, Kept] = field(default_factory=dict[str, Kept])
    """By path."""
    retired: Mapping[str, int] = field(default_factory=dict[str, int])
    """Documents that no list names any more, and since when (milliseconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A tree, and what it takes to get to the next one."""

    after: Tree
    contents: Mapping[str, tuple[str, bytes]]
    """New documents by id: the path and the bytes."""


def is_sealed(path: str) -> bool:
    """Return whether a file is kept sealed: it holds environment values."""
    return path.rpartition("/")[2].lower() == ENV


def step(before: Tree, change: Change, *, now_ms: int) -> Step:
    """Return what a change makes of a tree.

    Raises:
        errors.PermanentError: as in `clashes.check`.
    """
    files = {path: kept for path, kept in before.files.items() if path not in change.remove and not _is_cleared(path, change)}
    clashes.check(change.put, there=files)
    contents: dict[str, tuple[str, bytes]] = {}
    for path, data in change.put.items():
        id_ = fresh_id()
        contents[id_] = (path, data)
        digest = id_ if is_sealed(path) else hashlib.sha256(data).hexdigest()
        files[path] = Kept(content=id_, size=len(data), digest=digest, changed_ms=now_ms)
    gone = {kept.content for kept in before.files.values()} - {kept.content for kept in files.values()}
    if before.name:
        gone.add(before.name)
    retired = {**before.retired, **dict.fromkeys(gone, now_ms)}
    return Step(after=Tree(name=fresh_id(), files=files, retired=retired), contents=contents)


def limited(change: Change, *, seen: Tree, now: Tree) -> Change:
    """Return a change without what concerns files that others have changed since the tree was seen."""

    def is_ours(path: str) -> bool:
        return seen.files.get(path) == now.files.get(path)

    return replace(
        change,
        put={path: data for path, data in change.put.items() if is_ours(path)},
        remove=tuple(path for path in change.remove if is_ours(path)),
    )


def pack(tree: Tree) -> bytes:
    """Return a list as bytes.

    Raises:
        errors.PermanentError: there are too many files.
    """
    rows = [[path, kept.content, kept.size, kept.digest, kept.changed_ms] for path, kept in tree.files.items()]
    data: bytes = msgpack.packb({"form": _FORM, "files": rows, "retired": dict(tree.retired)})
    if len(data) > MAX_BYTES:
        raise errors.PermanentError(f"the store takes no more files: there are {len(rows)}")
    return data


def unpack(data: bytes, *, name: str, revision: int) -> Tree:
    """Return the tree of a list.

    Raises:
        errors.UnavailableError: a newer registry wrote it.
    """
    found: dict[str, Any] = msgpack.unpackb(data)
    if found.get("form") != _FORM:
        raise errors.UnavailableError("the files in the store were written by a newer registry")
    rows = cast("Iterable[tuple[str, str, int, str, int]]", found["files"])
    files = {
        path: Kept(content=content, size=size, digest=digest, changed_ms=changed)
        for path, content, size, digest, changed in rows
    }
    return Tree(revision=revision, name=name, files=files, retired=found["retired"])


def listing(tree: Tree) -> Listing:
    """Return all files as discovery takes them."""
    return Listing(
        files=tuple(
            File(path=path, size=kept.size, mtime_ns=kept.changed_ms * 1_000_000, digest=kept.digest)
            for path, kept in sorted(tree.files.items())
        ),
        untouched=not tree.revision,
    )


def fresh_id() -> str:
    """Return an id that no document has."""
    return secrets.token_hex(12)


def _is_cleared(path: str, change: Change) -> bool:
    return (
        bool(change.clear)
        and path.startswith(f"{change.clear}/")
        and not any(path.startswith(f"{folder}/") for folder in change.keep)
    )
