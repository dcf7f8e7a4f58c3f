"""How long executions and audit records are kept: by age and by number.

A sweep that costs the same however many there are to remove: the moment before which everything goes is found by counting,
not by reading documents.
"""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Literal

from prometheus_client import Counter

from libs import errors
from libs.clock import Clock
from libs.storage.port import Collection, Store, Where

log = logging.getLogger(__name__)

_ROOM = 0.1
"""Share of the bound that a sweep makes free, so that the next one is not due at once."""
_STEPS = 30


class Retention:
    """Removes documents of one collection that are too old or too many."""

    def __init__(
        self, *, store: Store, clock: Clock, collection: Collection, moment: str, keep: timedelta, limit: int, removed: Counter
    ) -> None:
        """Make it.

        Args:
            store: where they are.
            clock: says what is old.
            collection: which documents.
            moment: the indexed field that holds a document's time.
            keep: age beyond which a document goes.
            limit: how many stay at most.
            removed: counts what went.
        """
        self._store = store
        self._clock = clock
        self._collection = collection
        self._field = moment
        self._keep = keep
        self._limit = limit
        self._removed = removed

    async def run(self, *, every_seconds: float = 15.0) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await self.sweep()
            except errors.TemporaryError as error:
                log.debug("the sweep of %s waits: %s", self._collection.name, error, extra={"action": "sweep_waits"})

    async def sweep(self) -> int:
        """Remove what is too old, then the oldest of what is too many; return how many went.

        Raises:
            errors.TemporaryError: the store cannot be reached.
        """
        await self._store.ensure(self._collection)
        removed = await self._remove("<", self._clock.now() - self._keep)
        if await self._store.count(self._collection) > self._limit:
            removed += await self._remove("<=", await self._boundary())
        return removed

    async def _remove(self, op: Literal["<", "<="], moment: datetime) -> int:
        removed = await self._store.delete_where(self._collection, [Where(self._field, op, moment)])
        if removed:
            self._removed.inc(removed)
            log.debug("removed %d of %s", removed, self._collection.name, extra={"action": "swept", "removed": removed})
        return removed

    async def _boundary(self) -> datetime:
        """Return a moment after which at most `limit` documents lie, and not many fewer if times allow it."""
        low = (await self._store.find(self._collection, sort=self._field, limit=1))[0][self._field]
        high = (await self._store.find(self._collection, sort=self._field, descending=True, limit=1))[0][self._field]
        for _ in range(_STEPS):
            middle = low + (high - low) / 2
            newer = await self._store.count(self._collection, [Where(self._field, ">", middle)])
            if newer > self._limit:
                low = middle
            elif newer < self._limit * (1 - _ROOM):
                high = middle
            else:
                return middle
            if high - low < timedelta(milliseconds=1):
                break
        return high
