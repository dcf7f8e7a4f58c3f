"""An object store that notes what is read of it."""

from libs.bus.port import ObjectStore


class Counting:
    """Passes everything on, and can be told to give something else at the first read."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner
        self.read: list[str] = []
        self.first: bytes | None = None

    async def put(self, key: str, data: bytes) -> None:
        """Store an object."""
        await self.inner.put(key, data)

    async def get(self, key: str) -> bytes:
        """Return an object, and note that."""
        self.read.append(key)
        if len(self.read) == 1 and self.first is not None:
            return self.first
        return await self.inner.get(key)

    async def has(self, key: str) -> bool:
        """Return whether there is an object."""
        return await self.inner.has(key)

    async def delete(self, key: str) -> None:
        """Delete an object."""
        await self.inner.delete(key)
