"""Bodies too large for a message: they travel through the store of bodies, and messages refer to them."""

import asyncio
import logging
from dataclasses import replace

from libs import errors
from libs.bus import port, streams
from libs.messages import calls, subjects

log = logging.getLogger(__name__)


class Bodies:
    """The store of bodies, as the gateway uses it."""

    def __init__(self, bus: port.Bus, tasks: asyncio.TaskGroup) -> None:
        """Use `tasks` for deletions, which nobody waits for."""
        self._bus = bus
        self._tasks = tasks
        self._opened: port.ObjectStore | None = None

    def fits(self, invocation: calls.Invocation) -> bool:
        """Whether an invocation can be sent as it is."""
        return len(invocation.body) + len(invocation.head) <= self._bus.max_payload - streams.ENVELOPE_BYTES

    async def put(self, invocation: calls.Invocation, *, key: str) -> calls.Invocation:
        """Return the invocation with its body in the store."""
        await (await self._store()).put(key, invocation.body)
        return replace(invocation, body=b"", body_ref=key)

    async def get(self, key: str) -> bytes:
        """Return a body; it stays in the store.

        Raises:
            errors.NotFoundError: the store does not have it any more.
        """
        return await (await self._store()).get(key)

    async def fetch(self, reply: calls.Reply) -> calls.Reply | None:
        """Return the reply with its body, which is deleted; None when the store does not have it."""
        store = await self._store()
        try:
            body = await store.get(reply.body_ref)
        except errors.NotFoundError:
            return None
        self._tasks.create_task(self._delete(store, reply.body_ref), name="delete body")
        return replace(reply, body=body, body_ref="")

    async def _delete(self, store: port.ObjectStore, key: str) -> None:
        try:
            await store.delete(key)
        except errors.FnbusError as error:
            log.info("a body was left to expire: %s", error, extra={"action": "body_left", "key": key})

    async def _store(self) -> port.ObjectStore:
        if self._opened is None:
            self._opened = await self._bus.objects(subjects.BODY_STORE, ttl_seconds=streams.BODY_TTL_SECONDS)
        return self._opened
