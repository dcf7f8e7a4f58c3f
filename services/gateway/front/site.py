"""Which home page or static file a request is for. Pure; made anew whenever the catalogue's meta changes."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from libs.messages.web import AssetFile, Assets, Home

READS = frozenset({"GET", "HEAD"})
_INDEX = "index.html"
_API = re.compile(r"/api(?:[/-].*)?")
_RESERVED = ("/_fn", "/console")


class Found(NamedTuple):
    """A static file for a request."""

    file: AssetFile
    folder: bool = False
    """Whether it is the index of a folder whose URL was asked for without its `/`."""


class Site:
    """Home pages and static files, ready to be looked up."""

    def __init__(self, homes: Iterable[Home] = (), assets: Assets | None = None, files: Iterable[AssetFile] = ()) -> None:
        """Compile them; of several homes for one path the first that leads somewhere counts."""
        self.homes: dict[str, tuple[Home, ...]] = {}
        for home in homes:
            self.homes[home.path] = (*self.homes.get(home.path, ()), home)
        self._files: dict[str, AssetFile] = {}
        self._folders: dict[str, AssetFile] = {}
        for file in files:
            self._files[f"/{file.path}"] = file
            folder, _, name = f"/{file.path}".rpartition("/")
            if name == _INDEX:
                self._folders[folder or "/"] = file
        self._fallback = self._files.get(f"/{_INDEX}") if assets is not None and assets.single_page else None
        first = assets is not None and not assets.functions_first
        self.first = frozenset((self._files.keys() | self._folders.keys()) - self.homes.keys()) if first else frozenset[str]()
        """Paths at which a file goes before a function."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing at all."""
        return not self.homes and not self._files

    def find(self, path: str, raw_path: bytes) -> Found | None:
        """Return the file of a path.

        Args:
            path: in canonical form.
            raw_path: as it came.
        """
        file = self._files.get(path)
        if file is not None:
            return Found(file) if not raw_path.endswith(b"/") else None
        file = self._folders.get(path)
        if file is None:
            return None
        return Found(file, folder=path != "/" and not raw_path.endswith(b"/"))

    def fallback(self, path: str, *, accept: str, mode: str) -> Found | None:
        """Return the page that answers for every page that is not there, if a request looks like somebody's navigation.

        Args:
            path: in canonical form.
            accept: its `Accept`.
            mode: its `Sec-Fetch-Mode`, which only browsers send.
        """
        if self._fallback is None or "." in path.rpartition("/")[2] or _API.fullmatch(path) or path.startswith(_RESERVED):
            return None
        if mode not in ("", "navigate") or not (not accept or "text/html" in accept or "*/*" in accept):
            return None
        return Found(self._fallback)
