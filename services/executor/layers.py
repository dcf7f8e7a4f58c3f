"""What was built for functions, on this machine: fetched once per layer, verified, and kept as a read-only folder.

Like `bundles`: a folder that exists is complete, since it is written beside its place and moved there, and what is in it is
never changed, so that workers of any age may read it. A layer comes in parts through a file on disk: however large it is, no
more than one part is in memory.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from libs import errors
from libs.bus.port import ObjectStore
from libs.messages import codec
from libs.messages.builds import LayerManifest, LayerPart, part_key
from services.executor import archives

log = logging.getLogger(__name__)

_FETCHES = 2
"""One, and another when what came was not what was asked for."""
_AT_ONCE = 2
_GONE = ".gone-"


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
        self._folder = folder
        self._tasks = tasks
        self._platform = platform
        self._max_bytes = max_bytes
        self._known: dict[str, Path] = {}
        self._uses: Counter[str] = Counter()
        self._fetching: dict[str, asyncio.Task[Path | errors.FnbusError]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def folder(self, key: str) -> Path:
        """Return the folder that holds a layer's files, fetched when it is not here yet.

        Raises:
            BadLayerError: the store holds something else under that key, twice.
            errors.UnavailableError: the store cannot be reached, or does not have it.
        """
        known = self._known.get(key)
        if known is not None:
            return known
        outcome = await asyncio.shield(self._fetch_of(key))
        if isinstance(outcome, errors.FnbusError):
            raise outcome
        return outcome

    def prefetch(self, key: str) -> None:
        """Begin to fetch a layer that will be needed; a failure is told when it is needed."""
        if key and key not in self._known:
            self._fetch_of(key)

    def use(self, key: str) -> None:
        """Note that a version needs a layer, and begin to fetch it; an empty key is no layer."""
        if key:
            self._uses[key] += 1
            self.prefetch(key)

    def disuse(self, key: str) -> None:
        """Note that a version that needed a layer has gone; what nobody needs any more is removed from this machine."""
        if not key:
            return
        self._uses[key] -= 1
        if self._uses[key] <= 0:
            del self._uses[key]
            self._hide(key)
            self._tasks.create_task(asyncio.to_thread(_sweep, self._folder), name=f"layer {key[:12]} goes")

    async def tidy(self) -> None:
        """Remove what an earlier run of this executor has left and no version needs. Called once all versions are known."""
        for key in await asyncio.to_thread(_kept, self._folder):
            if key not in self._uses:
                self._hide(key)
        await asyncio.to_thread(_sweep, self._folder)

    def _hide(self, key: str) -> None:
        """Take a layer out of sight at once, so that nobody finds half of it; `_sweep` removes it."""
        if key in self._fetching:
            return
        self._known.pop(key, None)
        with contextlib.suppress(OSError):
            os.rename(self._folder / key, self._folder / f"{_GONE}{key}-{secrets.token_hex(4)}")

    def _fetch_of(self, key: str) -> "asyncio.Task[Path | errors.FnbusError]":
        """Return the one fetch of a layer, a task of its own: a caller who gives up does not take it away from others."""
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = self._tasks.create_task(self._outcome(key), name=f"layer {key[:12]}")
        return task

    async def _outcome(self, key: str) -> Path | errors.FnbusError:
        """Return the layer's folder or why there is none; an error raised here would end the task group."""
        try:
            async with self._slots:
                self._known[key] = await self._have(key)
            return self._known[key]
        except errors.FnbusError as error:
            return error
        except Exception as error:
            log.exception("a layer could not be had", extra={"action": "layer_failed", "layer": key})
            return errors.UnavailableError(f"the layer could not be had: {error}")
        finally:
            del self._fetching[key]

    async def _have(self, key: str) -> Path:
        place = self._folder / key
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
            beside = await asyncio.to_thread(_make_beside, place)
        except OSError as error:
            raise errors.UnavailableError(f"the layer cannot be written: {error}") from error
        try:
            archive = beside.with_name(f"{beside.name}.archive")
            for part in manifest.parts:
                await asyncio.to_thread(_append, archive, await self._part(key, part))
            await asyncio.to_thread(_unpack, archive, beside, manifest, self._max_bytes)
            await asyncio.to_thread(_settle, beside, place)
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


def _make_beside(place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{place.name[:12]}-", dir=place.parent))


def _append(archive: Path, data: bytes) -> None:
    with archive.open("ab") as sink:
        sink.write(data)


def _unpack(archive: Path, folder: Path, manifest: LayerManifest, max_bytes: int) -> None:
    with archive.open("rb") as source:
        found = archives.unpack(source, folder, max_bytes=max_bytes)
    if (found.files, found.size) != (manifest.files, manifest.size):
        raise BadLayerError(f"it has {found.files} files of {found.size} bytes instead of {manifest.files} of {manifest.size}")


def _settle(beside: Path, place: Path) -> None:
    beside.chmod(0o755)
    try:
        os.rename(beside, place)
    except OSError:
        if not place.is_dir():  # else another executor on this machine was faster, with the same files
            raise


def _drop(beside: Path) -> None:
    beside.with_name(f"{beside.name}.archive").unlink(missing_ok=True)
    shutil.rmtree(beside, ignore_errors=True)


def _kept(folder: Path) -> list[str]:
    try:
        return [each.name for each in folder.iterdir() if not each.name.startswith(".")]
    except OSError:
        return []


def _sweep(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for each in folder.glob(f"{_GONE}*"):
            shutil.rmtree(each, ignore_errors=True)
