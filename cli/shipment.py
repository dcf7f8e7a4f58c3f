"""What a deploy sends: the files of a folder, or one file, under the paths that they get; and what of it the other side lacks.

Reads the disk and decides; sending is left to `cli.deploy`.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cli.errors import CommandError
from libs.messages.trees import MAX_TREE_FILES

LARGEST_FILE = 2 * 1024 * 1024
_LARGEST_PARCEL = 3 * 1024 * 1024
_CONFIG = "fn.config.json"
_ENTRIES = frozenset({"handler", "main", "index"})
_RUNTIMES = frozenset({"python", "node", "deno", "php", "rust"})
_NEVER = frozenset({"fastfn.json", "fastfn.toml"})
_SECRET = "fn.env.json"  # noqa: S105  a file's name


@dataclass(frozen=True, kw_only=True)
class Item:
    """A file to be deployed."""

    path: str
    """Below the functions of the platform."""
    data: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of its bytes, as a platform tells it."""
        return hashlib.sha256(self.data).hexdigest()

    def told(self) -> dict[str, str]:
        """Return it as the API takes it."""
        try:
            return {"content": self.data.decode()}
        except UnicodeDecodeError:
            return {"content_base64": base64.b64encode(self.data).decode()}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a deploy is going to do."""

    send: tuple[Item, ...]
    """New, or different there; or not known to be the same."""
    remove: tuple[str, ...]
    """There, in a folder that is deployed, and not here."""
    same: int
    """How many files are the same on both sides."""


def gather(what: Path, *, name: str = "") -> tuple[Item, ...]:
    """Return the files of a folder of functions, of one function's folder, or one file.

    Args:
        what: the folder or the file.
        name: the path that it gets, for a file or a function's folder; empty: its own name.

    Raises:
        CommandError: it is not there, cannot be read, or holds a file that is too large.
    """
    if what.is_file():
        files = {name or what.name: what}
    elif what.is_dir():
        prefix = name.strip("/") or _own_prefix(what.resolve())
        listed = [*_listed(what), *(() if prefix else _packs(what))]
        files = {str(PurePosixPath(prefix) / path): what / path for path in listed}
    else:
        raise CommandError(f"there is no folder or file {what}")
    return tuple(_item(path, file) for path, file in sorted(files.items()) if PurePosixPath(path).name not in _NEVER)


def plan(items: Sequence[Item], there: Iterable[Mapping[str, Any]]) -> Plan:
    """Compare what is here with the files that a platform has (`path`, and `sha256` where that is told)."""
    known = {str(file["path"]): str(file.get("sha256") or "") for file in there}
    send = tuple(item for item in items if known.get(item.path) != item.digest)
    here = {item.path for item in items}
    folders = {str(PurePosixPath(item.path).parent) for item in items} - {"."}
    gone = sorted(
        path
        for path in known
        if path not in here and str(PurePosixPath(path).parent) in folders and PurePosixPath(path).name != _SECRET
    )
    return Plan(send=send, remove=tuple(gone), same=len(items) - len(send))


def parcels(items: Sequence[Item]) -> list[list[Item]]:
    """Return items in groups for one request each: a folder's files stay together as far as they fit."""
    by_folder: dict[str, list[Item]] = {}
    for item in items:
        by_folder.setdefault(_unit(item.path), []).append(item)
    found: list[list[Item]] = []
    size = 0
    for unit in by_folder.values():
        whole = sum(len(item.data) for item in unit)
        if not found or size + whole > _LARGEST_PARCEL or len(found[-1]) + len(unit) > MAX_TREE_FILES:
            found.append([])
            size = 0
        for item in unit:
            if found[-1] and (size + len(item.data) > _LARGEST_PARCEL or len(found[-1]) == MAX_TREE_FILES):
                found.append([])
                size = 0
            found[-1].append(item)
            size += len(item.data)
    return found


def changes(send: Sequence[Item], remove: Sequence[str]) -> list[tuple[list[Item], list[str]]]:
    """Return what to send and to remove, for one request each; what goes, together with what may take its place."""
    found: list[tuple[list[Item], list[str]]] = [(parcel, []) for parcel in parcels(send)]
    left = list(remove)
    if found:
        last = found[-1][0]
        room = MAX_TREE_FILES - len(last)
        found[-1] = (last, left[:room])
        left = left[room:]
    found += [([], left[at : at + MAX_TREE_FILES]) for at in range(0, len(left), MAX_TREE_FILES)]
    return found


def _unit(path: str) -> str:
    """Return what is best deployed at once: a function's folder, whose handler may lie below its config."""
    parts = PurePosixPath(path).parts
    depth = 2 if parts[0] in _RUNTIMES else 1
    return "/".join(parts[:depth]) if len(parts) > 1 else path


def _own_prefix(folder: Path) -> str:
    """Return where a function's own folder goes; empty for a folder of functions."""
    entries = [each for each in folder.iterdir() if each.is_file() and each.stem in _ENTRIES and each.suffix != ".html"]
    if not entries and not (folder / _CONFIG).exists():
        return ""
    if folder.parent.name in _RUNTIMES:
        return f"{folder.parent.name}/{folder.name}"
    return folder.name


def _listed(folder: Path) -> list[str]:
    """Return the files that a functions folder is made of, relative, by the registry's own rules."""
    from libs import errors
    from services.registry.source import listing

    try:
        found = listing.scan(folder)
    except errors.UnavailableError as error:
        raise CommandError(str(error)) from None
    return [file.path for file in found.files if "node_modules" not in file.path.split("/")]


def _packs(folder: Path) -> list[str]:
    """Return the files of the packs that lie in a functions folder."""
    from services.registry.homes import packs

    return [file.path for file in packs.scan(folder) if (folder / file.path).is_file()]


def _item(path: str, file: Path) -> Item:
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise CommandError(f"{file} is larger than {LARGEST_FILE // 1024 // 1024} MiB, which is the most for one file")
        return Item(path=path, data=file.read_bytes())
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from None
