"""A tree of files in the registry's store: for a registry without a folder, and for many that share one store.

One document, the head, names the list of all files; contents and lists are documents that never change (`manifest`). A change
writes its contents and a new list first, and then replaces the head, if that is still the one that was looked at. So a
change of many files is made as a whole or not at all, whatever happens meanwhile, and of two registries one is told.

What no list names any more goes an hour later, with another change: somebody may still be reading it.
"""

import asyncio
import contextlib
import errno
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

from libs import errors
from libs.clock import Clock, epoch_ms
from libs.messages import contexts
from libs.storage.port import Collection, Document, Store, Where
from services.registry.homes import manifest
from services.registry.homes.manifest import Kept, Tree
from services.registry.secrets.sealing import Sealer
from services.registry.source.home import API, Change, MovedError
from services.registry.source.listing import MAX_SMALL, Listing

log = logging.getLogger(__name__)

FILES = Collection("files")
"""The head, lists and contents."""
HEAD = "head"

_KEPT_MS = 3_600_000
_CACHE_BYTES = 32 * 1024 * 1024
_BATCH_BYTES = 8 * 1024 * 1024
_BATCH = 500
_PATIENCE_SECONDS = 5.0
_READ_SECONDS = 30.0
_TRIES = 5


class StoredHome:
    """Files in the store."""

    origin = API
    place = ""

    def __init__(self, *, store: Store, sealer: Sealer, clock: Clock, poll_seconds: float = 1.0) -> None:
        """Make it; nothing is read yet.

        Args:
            store: where it is kept.
            sealer: environment values are kept sealed.
            clock: says when a file was changed.
            poll_seconds: how often the store is asked whether another registry has changed something.
        """
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._tree: Tree | None = None
        self._scanned = Tree()
        self._listing: Listing | None = None
        """Of `_scanned`: the same one as long as nothing has changed."""
        self._seen: Tree | None = None
        """What was there when a change was begun."""
        self._cache: dict[str, bytes] = {}
        """Contents as they are stored, by id."""
        self._cached_bytes = 0
        self._changing = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def refresh(self) -> None:
        """Take in what other registries have written."""
        self._loop = asyncio.get_running_loop()
        async with self._looking:
            if self._tree is None:
                await self._store.ensure(FILES)
                self._tree = await self._look()
                await self._reseal()
            else:
                self._tree = await self._look()
            await self._fill(self._tree)

    def scan(self) -> Listing:
        """List all files, as they were at the last `refresh`."""
        tree = self._tree or Tree()
        if self._listing is None or tree is not self._scanned:
            self._scanned, self._listing = tree, manifest.listing(tree)
        return self._listing

    def read(self, path: str, *, limit: int = MAX_SMALL) -> bytes:
        """Return the bytes of a file as it was at the last `scan`."""
        kept = _found(self._scanned, path, limit)
        data = self._cache.get(kept.content)
        if data is None:
            assert self._loop is not None  # noqa: S101  nothing is listed before `refresh`
            asked = asyncio.run_coroutine_threadsafe(self._content(kept), self._loop)
            try:
                data = asked.result(_READ_SECONDS)
            except (errors.UnavailableError, TimeoutError) as error:
                # Is an OSError, too, and says nothing about this file.
                raise errors.TemporaryError(f"the files cannot be read: {error}") from error
        return self._opened(path, data)

    async def fetch(self, path: str, *, limit: int) -> bytes:
        """Return the bytes of a file as it is now."""
        if self._tree is None:
            await self.refresh()
        kept = _found(self._tree or Tree(), path, limit)
        data = self._cache.get(kept.content)
        return self._opened(path, await self._content(kept) if data is None else data)

    async def watch(self, *, is_news: Callable[[], Awaitable[bool]]) -> AsyncIterator[frozenset[str]]:
        """Yield an empty set when another registry has written, once it has had the time to deploy that itself."""
        del is_news  # the head tells
        before = 0
        while True:
            await asyncio.sleep(self._poll_seconds)
            with contextlib.suppress(errors.UnavailableError):
                head = await self._head()
                now = 0 if head is None else head["revision"]
                if now == before and (self._tree is None or now != self._tree.revision):
                    yield frozenset()
                before = now

    @contextlib.asynccontextmanager
    async def exclusive(self, *, wait: bool = True) -> AsyncGenerator[None]:
        """Let one change at a time be made here, and those of other registries be noticed from here on."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS if wait else 0.0):
                await self._changing.acquire()
        except TimeoutError:
            raise errors.TemporaryError("another change of functions is being made") from None
        try:
            await self.refresh()
            self._seen = self._tree
            yield
        finally:
            self._seen = None
            self._changing.release()

    async def write(self, change: Change) -> None:
        """Make a change as a whole."""
        seen = self._seen or self._tree
        if seen is None:
            await self.refresh()
            seen = self._tree or Tree()
        async with self._looking:
            self._tree = await self._write(change, seen)
            if self._seen is not None:
                self._seen = self._tree

    async def _write(self, change: Change, seen: Tree) -> Tree:
        for _ in range(_TRIES):
            now = await self._look()
            if now.revision != seen.revision:
                if not change.takes_back:
                    break
                change = manifest.limited(change, seen=seen, now=now)
            try:
                return await self._replace(now, change)
            except errors.ConflictError:
                continue
        raise MovedError("functions were changed by somebody else meanwhile")

    async def _replace(self, now: Tree, change: Change) -> Tree:
        """Write what a change makes of a tree.

        Raises:
            errors.ConflictError: it is not the present one any more.
        """
        at = epoch_ms(self._clock.now())
        old = {id_ for id_, since in now.retired.items() if since <= at - _KEPT_MS}
        step = manifest.step(_without(now, old), change, now_ms=at)
        packed = manifest.pack(step.after)
        stored = {id_: self._closed(path, data) for id_, (path, data) in step.contents.items()}
        for id_ in old:
            await self._store.delete(FILES, id_)
        documents: list[Document] = [{"_id": id_, "data": data} for id_, data in stored.items()]
        await self._store.insert_many(FILES, [*documents, {"_id": step.after.name, "data": packed}])
        head: Document = {"_id": HEAD, "list": step.after.name}
        try:
            if now.revision:
                revision = await self._store.replace(FILES, head, revision=now.revision)
            else:
                await self._store.insert(FILES, head)
                revision = 1
        except errors.ConflictError:
            for id_ in (*stored, step.after.name):
                await self._store.delete(FILES, id_)
            raise
        self._keep(stored)
        return replace(step.after, revision=revision)

    async def _look(self) -> Tree:
        """Return the tree as the store has it."""
        for _ in range(_TRIES):
            head = await self._head()
            if head is None:
                return Tree()
            if self._tree is not None and self._tree.revision == head["revision"] and self._tree.name == head["list"]:
                return self._tree
            found = await self._store.get(FILES, head["list"])
            if found is not None:
                return manifest.unpack(found["data"], name=head["list"], revision=head["revision"])
        raise errors.UnavailableError("the list of files is not in the store")

    async def _head(self) -> Document | None:
        return await self._store.get(FILES, HEAD)

    async def _fill(self, tree: Tree) -> None:
        """Have contents at hand that are going to be read, many at once instead of one by one."""
        wanted: list[Kept] = []
        room = _CACHE_BYTES
        for kept in tree.files.values():
            room -= kept.size
            if room < 0:
                break
            if kept.content not in self._cache:
                wanted.append(kept)
        for some in _batches(wanted):
            found = await self._store.find(FILES, [Where("_id", "in", some)], limit=len(some))
            self._keep({each["_id"]: each["data"] for each in found})

    def _keep(self, contents: Mapping[str, bytes]) -> None:
        for id_, data in contents.items():
            if id_ not in self._cache:
                self._cache[id_] = data
                self._cached_bytes += len(data)
        while self._cached_bytes > _CACHE_BYTES:
            oldest = next(iter(self._cache))
            self._cached_bytes -= len(self._cache.pop(oldest))

    async def _content(self, kept: Kept) -> bytes:
        """Return a content as it is stored.

        Raises:
            FileNotFoundError: it went long after its file.
            errors.UnavailableError: the store cannot be reached.
        """
        found = await self._store.get(FILES, kept.content)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "has gone")
        return found["data"]

    async def _reseal(self) -> None:
        """Seal anew what was sealed with a key that is to go; keys change at a start only."""
        fresh: dict[str, bytes] = {}
        assert self._tree is not None  # noqa: S101  the caller's order
        for path, kept in self._tree.files.items():
            if manifest.is_sealed(path):
                try:
                    data = await self._content(kept)
                    if not self._sealer.is_current(data):
                        fresh[path] = self._opened(path, data)
                except errors.UnavailableError:
                    raise
                except (OSError, errors.PermanentError):
                    continue  # whoever asks for it is told
        if fresh:
            with contextlib.suppress(errors.ConflictError):  # another registry does the same
                self._tree = await self._replace(self._tree, Change(put=fresh))

    def _closed(self, path: str, data: bytes) -> bytes:
        return self._sealer.seal(data, context=contexts.of_file(path)) if manifest.is_sealed(path) else data

    def _opened(self, path: str, data: bytes) -> bytes:
        """Return a file's bytes.

        Raises:
            OSError: it cannot be unsealed.
        """
        if not manifest.is_sealed(path):
            return data
        try:
            return self._sealer.open(data, context=contexts.of_file(path))
        except errors.PermanentError as error:
            raise OSError(errno.EACCES, f"cannot be unsealed: {error}", path) from None


def _found(tree: Tree, path: str, limit: int) -> Kept:
    kept = tree.files.get(path)
    if kept is None:
        raise FileNotFoundError(errno.ENOENT, "is not there", path)
    if kept.size > limit:
        raise OSError(errno.EFBIG, f"is larger than {limit} bytes", path)
    return kept


def _without(tree: Tree, retired: set[str]) -> Tree:
    return replace(tree, retired={id_: since for id_, since in tree.retired.items() if id_ not in retired})


def _batches(wanted: Iterable[Kept]) -> Iterable[list[str]]:
    some: list[str] = []
    size = 0
    for kept in wanted:
        if some and (size + kept.size > _BATCH_BYTES or len(some) >= _BATCH):
            yield some
            some, size = [], 0
        some.append(kept.content)
        size += kept.size
    if some:
        yield some
