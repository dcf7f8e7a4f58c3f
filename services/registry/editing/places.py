"""Where a function's files are, and which of them may be read and written by the API. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from libs import errors, runtime_names
from libs.messages.functions import FunctionRef, SourceFile
from services.registry.source import entries, listing, tree
from services.registry.source.config import MAX_NAME, NAME
from services.registry.source.discover import IGNORED
from services.registry.source.home import Change
from services.registry.source.listing import File
from services.registry.source.snapshot import LoadedFunction, LoadedVersion, Snapshot

_PATH = re.compile(r"[A-Za-z0-9_./ \-\[\]]{1,500}")
_LABEL = re.compile(r"[a-zA-Z0-9_.-]{1,100}")
_OWN_API = frozenset({tree.CONFIG, tree.ENV})
_PLATFORM = _OWN_API | {tree.MANIFEST}
MANIFESTS = {
    "python": ("requirements.txt", "pyproject.toml"),
    "node": ("package.json",),
    "deno": ("deno.json", "deno.jsonc", "package.json"),
    "php": ("composer.json",),
    "rust": ("Cargo.toml",),
}
"""What names a function's dependencies, by runtime, first to last."""
_DEPS = frozenset(name for names in MANIFESTS.values() for name in names)
_LOCKS = frozenset({"package-lock.json", "requirements.lock.txt", "npm-shrinkwrap.json", "pnpm-lock.yaml"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A version of a function, and where it lies."""

    function: LoadedFunction
    version: LoadedVersion

    @property
    def label(self) -> str:
        """Label of the version."""
        return self.version.found.label

    @property
    def folder(self) -> str:
        """Folder of its own files, relative to the root."""
        return self.version.found.folder

    @property
    def handler(self) -> str:
        """Path of its handler."""
        return self.version.found.path

    @property
    def config(self) -> str:
        """Path of its own config, whether there is one or not."""
        return tree.join(self.folder, tree.CONFIG)

    @property
    def env(self) -> str:
        """Path of its own environment values, whether there are any or not."""
        return tree.join(self.folder, tree.ENV)


def find(snapshot: Snapshot, target: FunctionRef) -> Place | None:
    """Return where a version lies; None when there is none."""
    for function in snapshot.functions:
        if (function.runtime, function.name) == (target.runtime, target.name):
            for version in function.versions:
                if version.found.label == target.version:
                    return Place(function=function, version=version)
    return None


def for_new(target: FunctionRef, *, depth: int) -> str:
    """Return the folder that a new function gets.

    Args:
        target: what is to be made.
        depth: how many parts a name may have.

    Raises:
        errors.PermanentError: there can be no function of that name.
    """
    if target.runtime not in runtime_names.known():
        raise errors.PermanentError("unknown runtime")
    parts = target.name.split("/")
    fits = NAME.fullmatch(target.name) and len(target.name) <= MAX_NAME and len(parts) <= depth
    if not fits or any(part.startswith("_") or part in IGNORED for part in parts) or parts[0] == "console":
        raise errors.PermanentError("invalid function name")
    folder = f"{target.runtime}/{target.name}"
    if target.version == entries.DEFAULT:
        return folder
    if not _LABEL.fullmatch(target.version) or target.version.startswith((".", "_")) or target.version in IGNORED:
        raise errors.PermanentError("invalid version")
    return f"{folder}/{target.version}"


def owner_above(snapshot: Snapshot, folder: str) -> str:
    """Return the name of the function in whose folder a folder lies; empty when it lies in none."""
    for function in snapshot.functions:
        for version in function.versions:
            if version.found.root and folder.startswith(f"{version.found.root}/"):
                return function.name
    return ""


def inner_path(place: Place, path: str) -> str:
    """Return the path, from the root, of a file that is named from a function's folder.

    Raises:
        errors.PermanentError: it is none, or leads out of the folder, or to what nobody may see.
    """
    if not path:
        raise errors.PermanentError("path required")
    parts = path.split("/")
    if not _PATH.fullmatch(path) or not all(parts) or any(part != part.strip() or part.startswith(".") for part in parts):
        raise errors.PermanentError("invalid path")
    whole = tree.join(place.folder, path)
    unseen = listing.blind_spot(whole)
    if unseen:
        raise errors.PermanentError(f"invalid path: {unseen}")
    return whole


def check_readable(path: str) -> None:
    """Let pass what may be shown.

    Raises:
        errors.PermanentError: it holds secrets.
    """
    if _name(path) == tree.ENV:
        raise errors.PermanentError(f"use config/env API to read {tree.ENV}")


def check_writable(path: str) -> None:
    """Let pass what may be written as a file.

    Raises:
        errors.PermanentError: there is an endpoint for it that knows its rules.
    """
    if _name(path) in _OWN_API:
        raise errors.PermanentError(f"use config/env API to modify {_name(path)}")


def check_removable(place: Place, path: str) -> None:
    """Let pass what may be removed.

    Raises:
        errors.PermanentError: the function would not be one without it.
    """
    if path == place.handler:
        raise errors.PermanentError("cannot delete the main handler file")
    if _name(path) in _PLATFORM:
        raise errors.PermanentError(f"cannot delete {_name(path)}")


def removal(snapshot: Snapshot, place: Place, *, whole: bool) -> Change:
    """Return what removes a version, or the whole function.

    Args:
        snapshot: everything that is there: what lies below and is another function's stays.
        place: what is to go.
        whole: False: only this version.

    Raises:
        errors.PermanentError: a file that is a route by its name is removed where it lies.
    """
    if not place.version.found.root or place.function.file_route:
        raise errors.PermanentError(f"{place.function.name} is a route by its file's name: remove the file")
    folder = place.folder
    return Change(clear=folder, keep=tuple(sorted(_others_below(snapshot, place, versions=whole))))


def files(snapshot: Snapshot, place: Place, listed: Mapping[str, File]) -> tuple[SourceFile, ...]:
    """Return the files of a version, without those of other versions and functions below its folder."""
    start = f"{place.folder}/" if place.folder else ""
    others = _others_below(snapshot, place, versions=True)
    own: list[SourceFile] = []
    for path, file in sorted(listed.items()):
        inner = path[len(start) :]
        if not path.startswith(start) or (not place.version.found.root and "/" in inner):
            continue
        if any(path.startswith(f"{other}/") for other in others):
            continue
        own.append(SourceFile(path=inner, size=file.size, kind=_kind(place, path)))
    return tuple(own)


def _others_below(snapshot: Snapshot, place: Place, *, versions: bool) -> Collection[str]:
    """Return the folders below a version's own that belong to other functions and, if wanted, to other versions."""
    start = f"{place.folder}/"
    functions: Iterable[LoadedFunction] = snapshot.functions
    return {
        root
        for function in functions
        if versions or function is not place.function
        for version in function.versions
        if (root := version.found.root).startswith(start)
    }


def _kind(place: Place, path: str) -> str:
    name = _name(path)
    if path == place.handler:
        return "handler"
    if name in (tree.CONFIG, tree.MANIFEST):
        return "config"
    if name == tree.ENV:
        return "env"
    if name in _DEPS:
        return "deps"
    return "lock" if name in _LOCKS or name.endswith(".lock") else "file"


def _name(path: str) -> str:
    """Return a file's name as a file system without upper case would take it."""
    return path.rpartition("/")[2].lower()
