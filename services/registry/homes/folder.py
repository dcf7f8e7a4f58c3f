"""A tree of files in a folder on disk, which people and programs may write at the same time."""

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from libs import errors
from services.registry.homes import atomic, packs
from services.registry.source import listing, watching
from services.registry.source.home import FOLDER, Change
from services.registry.source.listing import MAX_SMALL, Listing
from services.registry.source.packs import is_of_pack

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.02


class FolderHome:
    """A functions folder."""

    origin = FOLDER

    def __init__(self, root: Path, *, pace: watching.Pace | None = None) -> None:
        """Remember the folder, and how it is to be watched; nothing is read yet."""
        self._root = root
        self._pace = pace
        self._is_tidy = False
        self.place = str(root.absolute())

    async def refresh(self) -> None:
        """Remove, once, what a registry that was killed has left; the folder is always as it is."""
        if self._is_tidy:
            return
        with contextlib.suppress(errors.TemporaryError):  # somebody is writing: there are drafts
            async with self.exclusive(wait=False):
                removed = await asyncio.to_thread(atomic.tidy, self._root)
                self._is_tidy = True
                if removed:
                    log.info("removed %d drafts of changes that were broken off", removed, extra={"action": "drafts_removed"})

    def scan(self) -> Listing:
        """List all files, and what shared packs name."""
        found = listing.scan(self._root)
        shared = packs.scan(self._root)
        if not shared:
            return found
        return replace(found, files=tuple(sorted((*shared, *found.files), key=lambda file: file.path)))

    def read(self, path: str, *, limit: int = MAX_SMALL) -> bytes:
        """Return a file's bytes."""
        root = packs.holder(self._root, path) if is_of_pack(path) else self._root
        return listing.read_small(root, path, limit=limit)

    async def fetch(self, path: str, *, limit: int) -> bytes:
        """Return a file's bytes."""
        return await asyncio.to_thread(self.read, path, limit=limit)

    def watch(self, *, is_news: Callable[[], Awaitable[bool]]) -> AsyncIterator[frozenset[str]]:
        """Yield what has changed, once it has come to rest."""
        return watching.watch(self._root, is_news=is_news, pace=self._pace)

    @contextlib.asynccontextmanager
    async def exclusive(self, *, wait: bool = True) -> AsyncGenerator[None]:
        """Lock the folder against other registries; editors know nothing of it."""
        try:
            descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise errors.UnavailableError(f"the functions folder cannot be opened: {error.strerror}") from error
        try:
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS if wait else 0.0):
                    while not _locked(descriptor):  # noqa: ASYNC110  a lock of the system tells nobody
                        await asyncio.sleep(_PAUSE_SECONDS)
            except TimeoutError:
                raise errors.TemporaryError("another registry is writing to the functions folder") from None
            yield
        finally:
            os.close(descriptor)

    async def write(self, change: Change) -> None:
        """Write, remove and clear, each file atomically."""
        try:
            await asyncio.to_thread(self._write, change)
        except OSError as error:
            name = Path(str(error.filename)).name if error.filename else "the functions folder"
            raise errors.PermanentError(f"{name} cannot be written: {error.strerror or error}") from error

    def _write(self, change: Change) -> None:
        for path, data in change.put.items():
            atomic.write(self._root, path, data)
        for path in change.remove:
            atomic.remove(self._root, path)
        if change.clear:
            atomic.clear(self._root, change.clear, keep=change.keep)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
