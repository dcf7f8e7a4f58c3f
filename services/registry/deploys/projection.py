"""The catalogue as everybody else sees it: bundles in the object store, entries and `meta` in the key-value bucket.

Gateways and executors follow the bucket by watch, so a key is written only when its bytes differ, and code is there before
the entry that names it. Writes are compare-and-set: of two registries that project the same store, the second finds the
bytes there already and leaves them, and neither puts an older entry over a newer one.

The caller reads the bucket (`read`) before it reads the store. What it then writes on top of a key that has not changed
since is never older than that key.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

from libs import errors
from libs.bus import port
from libs.messages import codec, subjects
from libs.messages.catalog import Bundle, CatalogMeta, FunctionEntry
from services.registry.deploys.rounds import Progress
from services.registry.functions.store import digests
from services.registry.metrics import Metrics
from services.registry.parallel import in_parallel

log = logging.getLogger(__name__)

type BundleReader = Callable[[str], Awaitable[Bundle | None]]
"""Returns the code of a digest, or None when it is not stored."""

_READ_SECONDS = 60.0
_TRIES = 5
_READING = 16
"""Bundles that are read back from the store at the same time: each may be large."""
_DOUBTED = 200
"""Bundles that each full look at everything asks for, however many there are."""


def key_of(entry: FunctionEntry) -> str:
    """Return the catalogue's key of a function."""
    return subjects.catalog_key(namespace=entry.namespace, runtime=entry.runtime, function=entry.name)


class Projection:
    """Keeps the bucket and the object store in step with what the registry holds."""

    def __init__(self, *, bus: port.Bus, bundles: BundleReader, metrics: Metrics) -> None:
        """Make it; `read` must come before any write.

        Args:
            bus: where bucket and object store are.
            bundles: where code comes from that the object store lacks.
            metrics: what is counted.
        """
        self._bus = bus
        self._bucket: port.Bucket
        self._objects: port.ObjectStore
        self._bundles = bundles
        self._metrics = metrics
        self._keys: dict[str, port.Entry] = {}
        self._encoded: dict[str, tuple[FunctionEntry, bytes]] = {}
        self._objects_there: set[str] = set()
        self._proven: list[str] = []
        """What is still to be doubted of them."""

    async def read(self) -> None:
        """Read the whole bucket as it is now; bucket and object store are made where they are missing.

        Raises:
            errors.TemporaryError: the bus cannot be reached, or not in time.
        """
        self._bucket = await self._bus.bucket(subjects.CATALOG_BUCKET)
        self._objects = await self._bus.objects(subjects.BUNDLE_STORE, projected=True)
        keys: dict[str, port.Entry] = {}
        watch = self._bucket.watch()
        try:
            async with asyncio.timeout(_READ_SECONDS):
                async for entry in watch:
                    if entry is None:
                        break
                    keys[entry.key] = entry
        except TimeoutError:
            raise errors.DeadlineError("the catalogue's bucket could not be read in time") from None
        finally:
            await _close(watch)
        if any(key not in keys for key, entry in self._keys.items() if entry.value is not None):
            self._objects_there.clear()  # keys do not vanish by themselves: the server has lost its state
        self._keys = keys

    def distrust(self) -> None:
        """Forget which bundles are known to be there; the next write asks for each again."""
        self._objects_there.clear()

    def doubt_some(self) -> None:
        """Forget some of the bundles that are known to be there, others each time: the next write asks for these again."""
        self._proven = self._proven or list(self._objects_there)
        some, self._proven = self._proven[:_DOUBTED], self._proven[_DOUBTED:]
        self._objects_there.difference_update(some)

    async def offer(self, digest: str, bundle: Bundle) -> None:
        """Have code in the object store that no entry names yet, for executors to build what it needs.

        Raises:
            errors.TemporaryError: the bus cannot be reached.
        """
        if digest not in self._objects_there and not await self._objects.has(digest):
            await self._objects.put(digest, codec.encode(bundle))
            self._metrics.projection_writes.labels("bundle").inc()
        self._objects_there.add(digest)

    async def withdraw(self, digest: str) -> None:
        """Remove code that was offered and that no entry has come to name.

        Raises:
            errors.TemporaryError: the bus cannot be reached.
        """
        self._objects_there.discard(digest)
        await self._objects.delete(digest)

    async def show(
        self, entries: Collection[FunctionEntry], *, code: Mapping[str, Bundle] | None = None, progress: Progress | None = None
    ) -> None:
        """Bring these functions' bundles and keys up to date.

        Args:
            entries: what is to be seen by everybody.
            code: bundles that need not be read back from the store, by digest.
            progress: told how far it is.

        Raises:
            errors.TemporaryError: the bus or the store cannot be reached; what is missing is left to the next time.
        """
        known, progress = code or {}, progress or Progress()
        missing = digests(entries) - self._objects_there
        held, lacking = missing & known.keys(), missing - known.keys()
        progress.expect("on the bus", len(missing) + len(entries) if missing else 0)

        async def put(digest: str) -> None:
            await self._put_bundle(digest, known.get(digest))
            progress.step("on the bus")

        async def show(entry: FunctionEntry) -> None:
            await self._put_entry(entry)
            progress.step("on the bus")

        await in_parallel(held, put)
        await in_parallel(lacking, put, limit=_READING)
        await in_parallel(entries, show)

    async def hide(self, entries: Iterable[FunctionEntry]) -> None:
        """Remove these functions' keys."""
        for entry in entries:
            await self._drop(key_of(entry))

    async def hide_all_but(self, keys: Collection[str]) -> None:
        """Remove every function's key that is not one of these."""
        stale = [key for key, entry in self._keys.items() if entry.value is not None and key not in keys]
        for key in stale:
            if key != subjects.CATALOG_META:
                await self._drop(key)

    async def finish(self, meta: CatalogMeta) -> None:
        """Bring `meta` up to date, after all else."""
        data = codec.encode(meta)

        def newer(there: bytes) -> bool:
            return codec.decode(CatalogMeta, there).generated_at > meta.generated_at

        await self._put(subjects.CATALOG_META, data, newer)

    def _encode(self, entry: FunctionEntry) -> bytes:
        """Return the entry's bytes, made once for each state of a function."""
        key = key_of(entry)
        before = self._encoded.get(key)
        if before is None or before[0] is not entry:
            before = self._encoded[key] = (entry, codec.encode(entry))
        return before[1]

    async def _put_bundle(self, digest: str, bundle: Bundle | None) -> None:
        if not await self._objects.has(digest):
            bundle = bundle or await self._bundles(digest)
            if bundle is None:
                log.error("code is missing in the store", extra={"action": "bundle_missing", "bundle": digest})
                return
            await self._objects.put(digest, codec.encode(bundle))
            self._metrics.projection_writes.labels("bundle").inc()
        self._objects_there.add(digest)

    async def _put_entry(self, entry: FunctionEntry) -> None:
        def newer(there: bytes) -> bool:
            return codec.decode(FunctionEntry, there).revision > entry.revision

        await self._put(key_of(entry), self._encode(entry), newer)

    async def _put(self, key: str, data: bytes, newer: Callable[[bytes], bool]) -> None:
        """Set a key unless it has these bytes already, or another registry was faster with newer ones."""
        there = self._keys.get(key)
        for _ in range(_TRIES):
            if there is not None and there.value == data:
                break
            expected = there.revision if there is not None and there.value is not None else 0
            try:
                revision = await self._bucket.update(key, data, revision=expected)
            except port.KeyConflictError:
                there = await self._bucket.get(key)
                if there is not None and there.value is not None and _is_newer(newer, there.value):
                    break
            else:
                self._metrics.projection_writes.labels("key").inc()
                there = port.Entry(key, data, revision)
                break
        if there is not None:
            self._keys[key] = there

    async def _drop(self, key: str) -> None:
        there = self._keys.pop(key, None)
        self._encoded.pop(key, None)
        if there is not None and there.value is not None:
            await self._bucket.delete(key)
            self._metrics.projection_writes.labels("removed").inc()


def _is_newer(newer: Callable[[bytes], bool], there: bytes) -> bool:
    try:
        return newer(there)
    except codec.MalformedMessageError:
        return False


async def _close(watch: Any) -> None:
    """End a watch: the port says that it is an async generator."""
    await watch.aclose()
