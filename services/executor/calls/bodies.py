"""Bodies too large for one message: kept in the object store, and a key sent instead. Each is read once and deleted."""

import logging
import uuid

from libs import errors
from libs.bus import streams
from libs.bus.port import Bus, ObjectStore

log = logging.getLogger(__name__)


class Bodies:
    """Large bodies of requests and answers."""

    def __init__(self, *, bus: Bus, store: ObjectStore) -> None:
        self._bus = bus
        self._store = store

    def fits(self, body: bytes) -> bool:
        """Return whether a body can travel in its message."""
        return len(body) <= self._bus.max_payload - streams.ENVELOPE_BYTES

    async def keep(self, body: bytes) -> str:
        """Store a body and return its key.

        Raises:
            errors.UnavailableError: the store cannot be reached.
        """
        key = uuid.uuid4().hex
        await self._store.put(key, body)
        return key

    async def fetch(self, key: str) -> bytes:
        """Return a body; `forget` it when it is not needed again.

        Raises:
            errors.NotFoundError: there is none.
            errors.UnavailableError: the store cannot be reached.
        """
        return await self._store.get(key)

    async def forget(self, key: str) -> None:
        """Delete a body; what cannot be deleted now goes by its age."""
        try:
            await self._store.delete(key)
        except errors.FnbusError as error:
            log.info("a body could not be deleted: %s", error, extra={"action": "body_not_deleted"})
