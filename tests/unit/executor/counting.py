"""An object store that notes what is read of it."""

from libs.bus.port import ObjectStore
from libs.testing.objects import PassingObjects


class Counting(PassingObjects):
    """Passes everything on, and can be told to give something else at the first read."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.read: list[str] = []
        self.first: bytes | None = None

    async def get(self, key: str) -> bytes:
        """Return an object, and note that."""
        self.read.append(key)
        if len(self.read) == 1 and self.first is not None:
            return self.first
        return await self.inner.get(key)
