"""The bytes of static files: out of the store of assets, and kept in memory up to a bound."""

import asyncio
from collections import OrderedDict

from libs import errors
from libs.bus import port
from libs.messages import subjects

_LARGEST_PART = 4
"""A file that would take more than this part of the room is not kept."""


class Contents:
    """Static files by digest: what a digest stands for never changes."""

    def __init__(self, bus: port.Bus, *, room: int) -> None:
        """Keep at most `room` bytes."""
        self._bus = bus
        self._room = room
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._fetching: dict[str, asyncio.Future[bytes]] = {}
        self._store: port.ObjectStore | None = None

    async def get(self, digest: str) -> bytes:
        """Return the bytes; who asks while somebody fetches them waits for the same.

        Raises:
            errors.NotFoundError: they are not in the store.
            errors.TemporaryError: the store cannot be reached.
        """
        data = self._kept.get(digest)
        if data is not None:
            self._kept.move_to_end(digest)
            return data
        fetching = self._fetching.get(digest)
        if fetching is not None:
            return await asyncio.shield(fetching)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._fetching[digest] = future
        try:
            data = await self._fetch(digest)
        except asyncio.CancelledError:
            future.set_exception(errors.UnavailableError("whoever fetched it was canceled"))
            future.exception()  # it is no loss if nobody waits
            raise
        except errors.FnbusError as error:
            future.set_exception(error)
            future.exception()
            raise
        else:
            future.set_result(data)
        finally:
            del self._fetching[digest]
        self._keep(digest, data)
        return data

    async def _fetch(self, digest: str) -> bytes:
        if self._store is None:
            self._store = await self._bus.objects(subjects.ASSET_STORE)
        return await self._store.get(digest)

    def _keep(self, digest: str, data: bytes) -> None:
        if len(data) > self._room // _LARGEST_PART:
            return
        self._kept[digest] = data
        self._size += len(data)
        while self._size > self._room:
            _, gone = self._kept.popitem(last=False)
            self._size -= len(gone)
