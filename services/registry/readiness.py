"""Whether the registry can do its work: asked by `/readyz`, answered without waiting."""

import asyncio
import logging
from dataclasses import dataclass

from libs import errors
from libs.bus import port
from libs.storage.port import Store
from services.registry.deploys.deployments import Deployments

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class _Parts:
    bus: port.Bus
    store: Store
    deployments: Deployments


class Readiness:
    """Knows what is missing; from before there is anything to ask."""

    def __init__(self) -> None:
        self._parts: _Parts | None = None
        self._store_fault = "the store has not answered yet"

    def watch(self, *, bus: port.Bus, store: Store, deployments: Deployments) -> None:
        """Take the parts that have to be there."""
        self._parts = _Parts(bus, store, deployments)

    def missing(self) -> str:
        """Return what is missing, in words; empty when nothing is."""
        if self._parts is None:
            return "bus and store are being connected"
        if not self._parts.bus.connected:
            return "the bus is not connected"
        if self._store_fault:
            return self._store_fault
        if not self._parts.deployments.complete.is_set():
            return self._parts.deployments.progress or "the catalogue is not projected yet"
        return ""

    async def run(self, *, every_seconds: float = 1.0) -> None:
        """Ask the store for ever; when it comes back, have the catalogue looked through. `watch` comes first."""
        parts = self._parts
        assert parts is not None  # noqa: S101  the caller's order, not an input
        while True:
            fault = await _ask(parts.store)
            if fault and not self._store_fault:
                log.warning("%s", fault, extra={"action": "store_gone"})
            elif self._store_fault and not fault:
                log.info("the store answers", extra={"action": "store_back"})
                parts.deployments.wake()
            self._store_fault = fault
            await asyncio.sleep(every_seconds)


async def _ask(store: Store) -> str:
    """Return why the store does not answer; empty when it does."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await store.ping()
    except (errors.TemporaryError, TimeoutError) as error:
        return f"the store does not answer: {error}" if str(error) else "the store does not answer"
    return ""
