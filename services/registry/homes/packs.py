"""Shared packs on disk: in the functions folder, and beside it when that is the folder of one language (`<root>/python`)."""

import os
import stat
from pathlib import Path

from libs import runtime_names
from libs.messages.trees import PACK_LOCKS, PACK_MANIFESTS, PACKS
from services.registry.source.listing import File, is_text


def scan(root: Path) -> tuple[File, ...]:
    """List what packs name, as if all lay in the functions folder; a pack there hides one beside it. Blocks."""
    found: dict[str, tuple[File, ...]] = {}
    for each in reversed(_roots(root)):
        for folder in each.glob(f"{PACKS}/*/*"):
            files = _files(each, folder) if not folder.name.startswith(".") else ()
            if files:
                found[folder.relative_to(each).as_posix()] = files
    return tuple(sorted((file for files in found.values() for file in files), key=lambda file: file.path))


def holder(root: Path, path: str) -> Path:
    """Return the folder that a pack's file is below."""
    pack = path.rpartition("/")[0]
    return next((each for each in _roots(root) if _files(each, each / pack)), root)


def _roots(root: Path) -> tuple[Path, ...]:
    whole = root.absolute()
    return (whole, whole.parent) if whole.name in runtime_names.known() else (whole,)


def _files(root: Path, folder: Path) -> tuple[File, ...]:
    inside = os.path.realpath(root).rstrip("/") + "/"
    found: list[File] = []
    for name in sorted(PACK_MANIFESTS | PACK_LOCKS):
        path = folder / name
        try:
            status = path.lstat()  # a link could give another file's values its name
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(status.st_mode) and os.path.realpath(path).startswith(inside) and is_text(str(path)):
            found.append(File.of(path.relative_to(root).as_posix(), status))
    return tuple(found)
