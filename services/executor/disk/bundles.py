"""Code on this machine: fetched once per bundle, verified, and kept as a read-only folder (`shelf`)."""

import asyncio
import logging
import os
import shutil
from pathlib import Path, PurePosixPath

from libs import errors
from libs.bus.port import ObjectStore
from libs.messages import codec
from libs.messages.bundles import bundle_digest
from libs.messages.catalog import Bundle
from services.executor.disk.shelf import Shelf, make_beside, settle
from services.executor.workers.places import Source

log = logging.getLogger(__name__)

_FETCHES = 2
"""One, and another when what came was not what was asked for."""
_AT_ONCE = 4
"""Fetches under way; a large catalogue would otherwise be asked for all at once at the start."""


class BadBundleError(errors.PermanentError):
    """The stored bundle is not what its digest says, or names a path outside itself."""


class Bundles:
    """The bundles of this executor."""

    def __init__(self, *, store: ObjectStore, folder: Path, tasks: asyncio.TaskGroup) -> None:
        """Keep bundles under `folder`, one sub-folder for each digest; fetch in `tasks`."""
        self._store = store
        self._shelf = Shelf[Source](what="bundle", folder=folder, tasks=tasks, have=self._have, at_once=_AT_ONCE)

    async def folder(self, digest: str) -> Path:
        """Return the folder that holds a bundle's files; see `source`."""
        return (await self.source(digest)).folder

    async def source(self, digest: str) -> Source:
        """Return the files of a bundle, fetched when they are not here yet.

        Raises:
            BadBundleError: the store holds something else under that digest.
            errors.UnavailableError: the store cannot be reached, or does not have it.
        """
        return await self._shelf.get(digest)

    def use(self, digest: str) -> None:
        """Note that a version needs a bundle, and begin to fetch it."""
        self._shelf.use(digest)

    def disuse(self, digest: str) -> None:
        """Note that a version that needed a bundle has gone; what nobody needs any more is removed from this machine."""
        self._shelf.disuse(digest)

    def forget(self, digest: str) -> None:
        """Note that a bundle's folder is not there any more, so that it is fetched when it is needed again."""
        self._shelf.forget(digest)

    async def tidy(self) -> None:
        """Remove what an earlier run has left and no version needs. Called once all versions are known."""
        await self._shelf.tidy()

    async def _have(self, digest: str, place: Path) -> Source:
        files = await asyncio.to_thread(_count, place)
        if files:
            return Source(folder=place, files=files)
        bundle = await self._fetch(digest)
        try:
            await asyncio.to_thread(_write, bundle, place)
        except OSError as error:
            raise errors.UnavailableError(f"the bundle cannot be written: {error}") from error
        return Source(folder=place, files=len(bundle.files))

    async def _fetch(self, digest: str) -> Bundle:
        fault = ""
        for _ in range(_FETCHES):
            try:
                data = await self._store.get(digest)
            except errors.NotFoundError as error:
                raise errors.UnavailableError("the bundle is not in the store") from error
            fault = await asyncio.to_thread(_fault, data, digest)
            if not fault:
                return codec.decode(Bundle, data)
            log.warning("a bundle is not what it should be: %s", fault, extra={"action": "bundle_corrupt", "digest": digest})
        raise BadBundleError(f"bundle {digest[:12]}: {fault}")


def _count(place: Path) -> int:
    """Return how many files a bundle's folder holds; 0 when it is not there."""
    return sum(len(files) for _, _, files in os.walk(place))


def _fault(data: bytes, digest: str) -> str:
    """Return what is wrong with the bytes of a bundle; empty when nothing is."""
    try:
        bundle = codec.decode(Bundle, data)
    except codec.MalformedMessageError as error:
        return str(error)
    found = bundle_digest(bundle)
    if found != digest:
        return f"its digest is {found[:12]}"
    for file in bundle.files:
        if not is_safe(file.path):
            return f"path {file.path!r} leads out of it"
    return ""


def is_safe(path: str) -> bool:
    """Return whether a bundle's path stays inside it wherever it is written."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\0" not in path and "\\" not in path


def _write(bundle: Bundle, place: Path) -> None:
    beside = make_beside(place)
    try:
        for file in bundle.files:
            target = beside / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
            target.chmod(0o555 if file.executable else 0o444)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    settle(beside, place)
