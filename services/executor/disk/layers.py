"""What was built for functions, on this machine: fetched once per layer, verified, and kept as a read-only folder (`shelf`).

A layer comes in parts through a file on disk: however large it is, no more than one part is in memory.
"""

import asyncio
import hashlib
import logging
import shutil
from pathlib import Path

from libs import errors
from libs.bus.port import ObjectStore
from libs.messages import codec
from libs.messages.builds import LayerManifest, LayerPart, part_key
from services.executor.disk import archives
from services.executor.disk.shelf import Shelf, make_beside, settle

log = logging.getLogger(__name__)

_FETCHES = 2
"""One, and another when what came was not what was asked for."""
_AT_ONCE = 2
"""Fetches under way: a layer is large."""


class BadLayerError(errors.PermanentError):
    """The stored layer is not what its manifest says, or names a path outside itself."""


class Layers:
    """The layers of this executor."""

    def __init__(
        self, *, store: ObjectStore, folder: Path, tasks: asyncio.TaskGroup, platform: str, max_bytes: int = 1 << 30
    ) -> None:
        """Keep layers under `folder`, one sub-folder for each key; fetch in `tasks`.

        Args:
            store: where layers are.
            folder: where they are kept on this machine.
            tasks: fetches run here.
            platform: what this machine runs; a layer for another one is of no use.
            max_bytes: the most that a layer's files may have.
        """
        self._store = store
        self._platform = platform
        self._max_bytes = max_bytes
        self._shelf = Shelf[Path](what="layer", folder=folder, tasks=tasks, have=self._have, at_once=_AT_ONCE)

    async def folder(self, key: str) -> Path:
        """Return the folder that holds a layer's files, fetched when it is not here yet.

        Raises:
            BadLayerError: the store holds something else under that key, twice.
            errors.UnavailableError: the store cannot be reached, or does not have it.
        """
        return await self._shelf.get(key)

    def use(self, key: str) -> None:
        """Note that a version needs a layer, and begin to fetch it; an empty key is no layer."""
        if key:
            self._shelf.use(key)

    def disuse(self, key: str) -> None:
        """Note that a version that needed a layer has gone; what nobody needs any more is removed from this machine."""
        if key:
            self._shelf.disuse(key)

    async def tidy(self) -> None:
        """Remove what an earlier run has left and no version needs. Called once all versions are known."""
        await self._shelf.tidy()

    async def _have(self, key: str, place: Path) -> Path:
        if await asyncio.to_thread(place.is_dir):
            return place
        fault = ""
        for _ in range(_FETCHES):
            try:
                await self._fetch(key, place)
            except (BadLayerError, archives.BadArchiveError) as error:
                fault = str(error)
                log.warning("a layer is not what it should be: %s", error, extra={"action": "layer_corrupt", "layer": key})
            else:
                return place
        raise BadLayerError(f"layer {key[:12]}: {fault}")

    async def _fetch(self, key: str, place: Path) -> None:
        manifest = await self._manifest(key)
        try:
            beside = await asyncio.to_thread(make_beside, place)
        except OSError as error:
            raise errors.UnavailableError(f"the layer cannot be written: {error}") from error
        try:
            archive = beside.with_name(f"{beside.name}.archive")
            for part in manifest.parts:
                await asyncio.to_thread(_append, archive, await self._part(key, part))
            await asyncio.to_thread(_unpack, archive, beside, manifest, self._max_bytes)
            await asyncio.to_thread(settle, beside, place)
        except OSError as error:
            raise errors.UnavailableError(f"the layer cannot be written: {error}") from error
        finally:
            await asyncio.to_thread(_drop, beside)

    async def _manifest(self, key: str) -> LayerManifest:
        try:
            manifest = codec.decode(LayerManifest, await self._store.get(key))
        except errors.NotFoundError as error:
            raise errors.UnavailableError("the layer is not in the store") from error
        except codec.MalformedMessageError as error:
            raise BadLayerError(str(error)) from error
        if manifest.key != key:
            raise BadLayerError(f"it is the layer {manifest.key[:12]}")
        if manifest.platform != self._platform:
            raise errors.UnavailableError(f"the layer was built for {manifest.platform}, this executor is {self._platform}")
        if not manifest.parts or sum(part.size for part in manifest.parts) > 2 * self._max_bytes:
            raise BadLayerError("it has no parts, or too much of them")
        return manifest

    async def _part(self, key: str, part: LayerPart) -> bytes:
        try:
            data = await self._store.get(part_key(key, part.digest))
        except errors.NotFoundError as error:
            raise errors.UnavailableError("a part of the layer is not in the store") from error
        if hashlib.sha256(data).hexdigest() != part.digest:
            raise BadLayerError("a part has another digest")
        return data


def _append(archive: Path, data: bytes) -> None:
    with archive.open("ab") as sink:
        sink.write(data)


def _unpack(archive: Path, folder: Path, manifest: LayerManifest, max_bytes: int) -> None:
    with archive.open("rb") as source:
        found = archives.unpack(source, folder, max_bytes=max_bytes)
    if (found.files, found.size) != (manifest.files, manifest.size):
        raise BadLayerError(f"it has {found.files} files of {found.size} bytes instead of {manifest.files} of {manifest.size}")


def _drop(beside: Path) -> None:
    beside.with_name(f"{beside.name}.archive").unlink(missing_ok=True)
    shutil.rmtree(beside, ignore_errors=True)
