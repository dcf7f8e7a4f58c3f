"""The catalogue as this gateway knows it: followed by watch, compiled into the route table; and who is there to run calls.

Losing the registry, or its database, changes nothing here: the last projection stays.
"""

import asyncio
import logging

from libs import errors
from libs.bus import port
from libs.clock import Clock
from libs.messages import calls, codec, subjects
from libs.messages.catalog import CatalogMeta, FunctionEntry
from services.gateway.admission import Gates
from services.gateway.callee import Callee, bind
from services.gateway.routing.table import Table

log = logging.getLogger(__name__)

_YIELD_EVERY = 32
"""Entries taken over at a stretch before calls get their turn."""
_RETRY_SECONDS = 0.5
HEARTBEAT_EXPIRY_SECONDS = 3.5
_FORGET_SECONDS = 60.0
"""How long an executor that was lost is known as such."""


class Catalogue:
    """All functions, ready to be called."""

    def __init__(self, *, max_body_bytes: int) -> None:
        """Cap every function's body limit at `max_body_bytes`."""
        self.table: Table[Callee] = Table()
        self.gates = Gates()
        self.meta: CatalogMeta | None = None
        self.complete = asyncio.Event()
        """Set once the whole catalogue has been read."""
        self._max_body_bytes = max_body_bytes

    async def follow(self, bus: port.Bus) -> None:
        """Take over every change for ever."""
        while True:
            try:
                bucket = await bus.bucket(subjects.CATALOG_BUCKET)
                await self._watch(bucket)
            except errors.TemporaryError as error:
                log.warning("the catalogue cannot be followed at the moment: %s", error, extra={"action": "catalog_lost"})
            await asyncio.sleep(_RETRY_SECONDS)

    async def _watch(self, bucket: port.Bucket) -> None:
        taken = 0
        async for entry in bucket.watch():
            if entry is None:
                if not self.complete.is_set():
                    log.info("the catalogue is read", extra={"action": "catalog_read", "functions": len(self.table.names)})
                self.complete.set()
                continue
            try:
                self.apply(entry.key, entry.value)
            except codec.MalformedMessageError as error:
                log.error(
                    "an entry of the catalogue is malformed: %s", error, extra={"action": "catalog_malformed", "key": entry.key}
                )
            taken += 1
            if taken % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def apply(self, key: str, value: bytes | None) -> None:
        """Take over one entry; None removes it.

        Raises:
            codec.MalformedMessageError: the value is no entry; what was known before stays.
        """
        if key == subjects.CATALOG_META:
            self.meta = codec.decode(CatalogMeta, value) if value is not None else None
            self.table.set_conflicts(self.meta.conflicts if self.meta else ())
        elif value is None:
            self.table.remove(key)
            self.gates.keep(key, ())
        else:
            function = codec.decode(FunctionEntry, value)
            self.gates.keep(key, {version.label for version in function.versions})
            owners = {
                version.label: bind(
                    function, version, self.gates.gate(key, function, version), max_body_bytes=self._max_body_bytes
                )
                for version in function.versions
            }
            self.table.put(key, function, owners)


class Executors:
    """Which executors are alive, by their heartbeats."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[float, calls.Heartbeat]] = {}

    async def start(self, bus: port.Bus) -> port.Subscription:
        """Listen for heartbeats."""
        return await bus.subscribe(subjects.HEARTBEAT, self._on_message)

    def note(self, heartbeat: calls.Heartbeat) -> None:
        """Take a heartbeat into account."""
        if heartbeat.stopping:
            self._seen.pop(heartbeat.executor, None)
        else:
            self._seen[heartbeat.executor] = (self._clock.monotonic(), heartbeat)

    def alive(self) -> list[calls.Heartbeat]:
        """Return the last heartbeat of each executor that was heard lately."""
        now = self._clock.monotonic()
        for executor in [name for name, (at, _) in self._seen.items() if at < now - _FORGET_SECONDS]:
            del self._seen[executor]
        return [heartbeat for at, heartbeat in self._seen.values() if at >= now - HEARTBEAT_EXPIRY_SECONDS]

    def lost(self, executor: str) -> bool:
        """Whether an executor was heard once, is not any more, and has not said that it stops (it finishes its calls first)."""
        seen = self._seen.get(executor)
        return seen is not None and seen[0] < self._clock.monotonic() - HEARTBEAT_EXPIRY_SECONDS

    def _on_message(self, message: port.Message) -> None:
        try:
            self.note(codec.decode(calls.Heartbeat, message.data))
        except codec.MalformedMessageError as error:
            log.error("a heartbeat is malformed: %s", error, extra={"action": "heartbeat_malformed"})
