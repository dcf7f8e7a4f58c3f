"""How long executions are kept: by age and by number.

A sweep that costs the same however many there are to remove: the moment before which everything goes is found by counting,
not by reading documents.
"""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Literal

from libs import errors
from libs.clock import Clock
from libs.storage.port import Store, Where
from services.registry.history import EXECUTIONS
from services.registry.metrics import Metrics

log = logging.getLogger(__name__)

_ROOM = 0.1
"""Share of the bound that a sweep makes free, so that the next one is not due at once."""
_STEPS = 30


class Retention:
    """Removes executions that are too old or too many."""

    def __init__(self, *, store: Store, clock: Clock, metrics: Metrics, keep: timedelta, limit: int) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._keep = keep
        self._limit = limit

    async def run(self, *, every_seconds: float = 15.0) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await self.sweep()
            except errors.TemporaryError as error:
                log.debug("the sweep waits: %s", error, extra={"action": "history_sweep_waits"})

    async def sweep(self) -> int:
        """Remove what is too old, then the oldest of what is too many; return how many went.

        Raises:
            errors.TemporaryError: the store cannot be reached.
        """
        await self._store.ensure(EXECUTIONS)
        removed = await self._remove("<", self._clock.now() - self._keep)
        if await self._store.count(EXECUTIONS) > self._limit:
            removed += await self._remove("<=", await self._boundary())
        return removed

    async def _remove(self, op: Literal["<", "<="], moment: datetime) -> int:
        removed = await self._store.delete_where(EXECUTIONS, [Where("started_at", op, moment)])
        if removed:
            self._metrics.history_removed.inc(removed)
            log.debug("removed %d executions", removed, extra={"action": "history_swept", "removed": removed})
        return removed

    async def _boundary(self) -> datetime:
        """Return a moment after which at most `limit` executions lie, and not many fewer if times allow it."""
        low = (await self._store.find(EXECUTIONS, sort="started_at", limit=1))[0]["started_at"]
        high = (await self._store.find(EXECUTIONS, sort="started_at", descending=True, limit=1))[0]["started_at"]
        for _ in range(_STEPS):
            middle = low + (high - low) / 2
            newer = await self._store.count(EXECUTIONS, [Where("started_at", ">", middle)])
            if newer > self._limit:
                low = middle
            elif newer < self._limit * (1 - _ROOM):
                high = middle
            else:
                return middle
            if high - low < timedelta(milliseconds=1):
                break
        return high
