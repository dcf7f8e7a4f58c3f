"""A listing as a tree of folders, and the files that make up a bundle. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.registry.source.listing import ENV, File, Listing
from services.registry.source.packs import is_of_pack

CONFIG = "fn.config.json"
MANIFEST = "fn.routes.json"

MAX_BUNDLE_FILES = 2_000
MAX_BUNDLE_BYTES = 32 * 1024 * 1024

_NEVER_CODE = frozenset({CONFIG, MANIFEST, ENV, "fn.test_events.json", "fastfn.json", "fastfn.toml"})


@dataclass(slots=True, kw_only=True)
class Folder:
    """A folder of the functions root."""

    path: str
    """Relative to the functions root; empty for the root itself."""
    name: str
    parent: "Folder | None" = None
    files: dict[str, File] = field(default_factory=dict[str, File])
    folders: dict[str, "Folder"] = field(default_factory=dict[str, "Folder"])
    private: tuple[File, ...] | None = None
    """Result of `_private_files`, once it has been asked for."""

    def find(self, path: str) -> File | None:
        """Return the file at a relative path below this folder."""
        *parts, name = path.split("/")
        folder: Folder | None = self
        for part in parts:
            folder = folder.folders.get(part) if folder is not None else None
        return folder.files.get(name) if folder is not None else None


def build(listing: Listing) -> Folder:
    """Return the root of the tree."""
    root = Folder(path="", name="")
    known = {"": root}
    for file in sorted(listing.files, key=lambda each: each.path):
        if is_of_pack(file.path):
            continue  # of no function, not even of one that is the whole folder
        parent, _, name = file.path.rpartition("/")
        _folder(known, parent).files[name] = file
    return root


def is_code(file: File) -> bool:
    """Return whether a file may be part of a bundle: everything but the platform's own files."""
    return file.path.rpartition("/")[2] not in _NEVER_CODE


def files_below(folder: Folder, *, without: frozenset[str] = frozenset()) -> list[File]:
    """Return all files of a folder that may be part of a bundle, except in the folders `without` directly below it."""
    found = [file for file in folder.files.values() if is_code(file)]
    pending = [below for name, below in folder.folders.items() if name not in without and not _is_built(folder, name)]
    while pending:
        below = pending.pop()
        found.extend(file for file in below.files.values() if is_code(file))
        pending.extend(each for name, each in below.folders.items() if not _is_built(below, name))
    return found


def shared_files(folder: Folder, is_route: Callable[[str], bool]) -> list[File]:
    """Return what each file route of a folder may import.

    That is the folder's files that are no routes, and all that is private by `_` in it and in the folders above it.
    """
    own = [file for name, file in folder.files.items() if is_code(file) and not is_route(name) and not name.startswith("_")]
    return own + list(_private_files(folder))


def bundle_fault(files: Sequence[File]) -> str:
    """Return why these files are too much for a bundle; empty when they are not."""
    if len(files) > MAX_BUNDLE_FILES:
        return f"its bundle has {len(files)} files, more than {MAX_BUNDLE_FILES}"
    size = sum(file.size for file in files)
    if size > MAX_BUNDLE_BYTES:
        return f"its bundle has {size} bytes, more than {MAX_BUNDLE_BYTES}"
    return ""


def _folder(known: dict[str, Folder], path: str) -> Folder:
    missing: list[str] = []
    while path not in known:
        missing.append(path)
        path = path.rpartition("/")[0]
    folder = known[path]
    for each in reversed(missing):
        name = each.rpartition("/")[2]
        folder.folders[name] = known[each] = Folder(path=each, name=name, parent=folder)
        folder = known[each]
    return folder


def _private_files(folder: Folder) -> tuple[File, ...]:
    """Return what is private by `_` in a folder and above it; asked for thousands of folders, so each is looked at once."""
    if folder.private is None:
        found = [file for name, file in folder.files.items() if name.startswith("_") and is_code(file)]
        for name, below in folder.folders.items():
            if name.startswith("_"):
                found.extend(files_below(below))
        above = _private_files(folder.parent) if folder.parent is not None else ()
        folder.private = (*found, *above)
    return folder.private


def _is_built(folder: Folder, name: str) -> bool:
    """Whether a folder holds what a compiler made."""
    return name == "target" and ("Cargo.toml" in folder.files or "handler.rs" in folder.files)


def env_path(folder: Folder) -> str | None:
    """Return the path of a folder's own `fn.env.json`, None without one."""
    return folder.files[ENV].path if ENV in folder.files else None


def join(folder: str, name: str) -> str:
    """Return the path of a name in a folder; the functions root has the empty path."""
    return f"{folder}/{name}" if folder else name
