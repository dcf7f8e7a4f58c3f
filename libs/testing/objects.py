"""An object store that passes everything on, for tests that change one thing about it."""

from libs.bus.port import ObjectInfo, ObjectStore


class PassingObjects:
    """A store in front of another."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner

    async def put(self, key: str, data: bytes) -> None:
        """Store an object."""
        await self.inner.put(key, data)

    async def get(self, key: str) -> bytes:
        """Return an object."""
        return await self.inner.get(key)

    async def has(self, key: str) -> bool:
        """Return whether there is an object."""
        return await self.inner.has(key)

    async def delete(self, key: str) -> None:
        """Delete an object."""
        await self.inner.delete(key)

    async def info(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object."""
        return await self.inner.info(key)

    async def all_infos(self) -> list[ObjectInfo]:
        """Return what is known of all objects."""
        return await self.inner.all_infos()

    async def touch(self, info: ObjectInfo) -> bool:
        """Note that an object is in use."""
        return await self.inner.touch(info)

    async def discard(self, info: ObjectInfo) -> bool:
        """Remove an object that has not changed."""
        return await self.inner.discard(info)
