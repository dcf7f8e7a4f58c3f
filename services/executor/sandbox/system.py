"""Folders of the host's root that hold programs and libraries, and how bubblewrap shows them to whoever runs inside."""

import os
from collections.abc import Iterable

SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


def top_folders(names: Iterable[str]) -> list[str]:
    """Return how to show folders of the host's root, of those in `SYSTEM`, as they are there: a folder, or a link."""
    argv: list[str] = []
    for name in names:
        path = f"/{name}"
        if os.path.islink(path):
            argv += ("--symlink", os.readlink(path), path)
        elif os.path.isdir(path):
            argv += ("--ro-bind", path, path)
    return argv
