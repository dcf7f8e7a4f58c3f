"""Key-value buckets and object stores in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

from libs import errors
from libs.bus.port import Entry, KeyConflictError, ObjectInfo

type Check = Callable[[], None]
"""Raises while the bus is disconnected."""


class BucketState:
    """What all views of one bucket share."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.watchers: list[asyncio.Queue[Entry]] = []
        self._revision = 0

    def set(self, key: str, value: bytes | None) -> int:
        """Write a key, or delete it with None, and tell the watchers."""
        self._revision += 1
        entry = Entry(key, value, self._revision)
        if value is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = entry
        for watcher in self.watchers:
            watcher.put_nowait(entry)
        return self._revision


class MemoryBucket:
    """A bucket as one connection sees it (`port.Bucket`)."""

    def __init__(self, state: BucketState, check: Check) -> None:
        self._state = state
        self._check = check

    async def get(self, key: str) -> Entry | None:
        """Return the key's entry (`port.Bucket.get`)."""
        self._check()
        return self._state.entries.get(key)

    async def put(self, key: str, value: bytes) -> int:
        """Set the key (`port.Bucket.put`)."""
        self._check()
        return self._state.set(key, value)

    async def update(self, key: str, value: bytes, *, revision: int) -> int:
        """Set the key if its revision is the expected one (`port.Bucket.update`)."""
        self._check()
        present = self._state.entries.get(key)
        if (present.revision if present else 0) != revision:
            raise KeyConflictError(f"key {key} is not at revision {revision}")
        return self._state.set(key, value)

    async def delete(self, key: str) -> None:
        """Delete the key (`port.Bucket.delete`)."""
        self._check()
        if key in self._state.entries:
            self._state.set(key, None)

    async def keys(self) -> list[str]:
        """Return all keys (`port.Bucket.keys`)."""
        self._check()
        return list(self._state.entries)

    async def watch(self) -> AsyncIterator[Entry | None]:
        """Yield present entries, None, then changes (`port.Bucket.watch`)."""
        changes: asyncio.Queue[Entry] = asyncio.Queue()
        present = list(self._state.entries.values())
        self._state.watchers.append(changes)
        try:
            for entry in present:
                yield entry
            yield None
            while True:
                yield await changes.get()
        finally:
            self._state.watchers.remove(changes)


class ObjectState:
    """What all views of one object store share."""

    def __init__(self) -> None:
        self.ttl_seconds = 0.0
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.infos: dict[str, ObjectInfo] = {}
        self.revision = 0

    def note(self, key: str, size: int) -> None:
        """Note that an object was stored or touched."""
        self.revision += 1
        self.infos[key] = ObjectInfo(key, size, self.revision, datetime.now(UTC))

    def age(self, by: timedelta) -> None:
        """Have everything been stored so much earlier, for tests."""
        self.infos = {key: info._replace(modified=info.modified - by) for key, info in self.infos.items()}


class MemoryObjects:
    """An object store as one connection sees it (`port.ObjectStore`)."""

    def __init__(self, state: ObjectState, check: Check, loop: asyncio.AbstractEventLoop) -> None:
        self._state = state
        self._check = check
        self._loop = loop

    async def put(self, key: str, data: bytes) -> None:
        """Store an object (`port.ObjectStore.put`)."""
        self._check()
        ttl = self._state.ttl_seconds
        self._state.objects[key] = (data, self._loop.time() + ttl if ttl else float("inf"))
        self._state.note(key, len(data))

    async def get(self, key: str) -> bytes:
        """Return an object (`port.ObjectStore.get`)."""
        self._check()
        data = self._present(key)
        if data is None:
            raise errors.NotFoundError(f"no object {key}")
        return data

    async def has(self, key: str) -> bool:
        """Return whether there is such an object (`port.ObjectStore.has`)."""
        self._check()
        return self._present(key) is not None

    async def delete(self, key: str) -> None:
        """Remove an object (`port.ObjectStore.delete`)."""
        self._check()
        self._state.objects.pop(key, None)

    async def info(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object (`port.ObjectStore.info`)."""
        self._check()
        return self._state.infos[key] if self._present(key) is not None else None

    async def all_infos(self) -> list[ObjectInfo]:
        """Return what is known of all objects (`port.ObjectStore.all_infos`)."""
        self._check()
        return [self._state.infos[key] for key in list(self._state.objects) if self._present(key) is not None]

    async def touch(self, info: ObjectInfo) -> bool:
        """Note that an object is in use (`port.ObjectStore.touch`)."""
        if not await self._is_as(info):
            return False
        self._state.note(info.key, info.size)
        return True

    async def discard(self, info: ObjectInfo) -> bool:
        """Remove an object that is as it was said to be (`port.ObjectStore.discard`)."""
        if not await self._is_as(info):
            return False
        del self._state.objects[info.key]
        return True

    async def _is_as(self, info: ObjectInfo) -> bool:
        found = await self.info(info.key)
        return found is not None and found.revision == info.revision

    def _present(self, key: str) -> bytes | None:
        found = self._state.objects.get(key)
        if found is None:
            return None
        data, expires = found
        if expires <= self._loop.time():
            del self._state.objects[key]
            return None
        return data
