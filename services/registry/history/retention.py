"""How long executions and audit records are kept: by age and by number.

A sweep that costs the same however many there are to remove: the moment before which everything goes is found by counting,
not by reading documents. Where there are too many executions, those functions that have the most give theirs up first, so that
one that runs all day does not push out what others did.
"""

import asyncio
import logging
import math
from collections import Counter as Counts
from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Literal

from prometheus_client import Counter

from libs import errors
from libs.clock import Clock
from libs.storage.port import Collection, Store, Where

log = logging.getLogger(__name__)

_ROOM = 0.1
"""Share of the bound that a sweep makes free, so that the next one is not due at once."""
_STEPS = 30
_SAMPLE = 500
"""Documents at either end of time by which it is seen whose most are."""
_MOST_CUT = 50
"""Owners that one sweep looks at."""


class Retention:
    """Removes documents of one collection that are too old or too many."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        collection: Collection,
        moment: str,
        keep: timedelta,
        limit: int,
        removed: Counter,
        owner: Sequence[str] = (),
        share: int = 0,
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
            owner: the fields, indexed together and with `moment`, that say whose a document is; empty: nobody's.
            share: how many of the newest documents each owner keeps while others have more.
        """
        self._store = store
        self._clock = clock
        self._collection = collection
        self._field = moment
        self._keep = keep
        self._limit = limit
        self._removed = removed
        self._owner = tuple(owner)
        self._share = share

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
        removed = await self._remove((), "<", self._clock.now() - self._keep)
        total = await self._store.count(self._collection)
        if total > self._limit:
            cut = await self._cut(total) if self._owner else 0
            if total - cut > self._limit:
                cut += await self._remove((), "<=", await self._boundary((), self._limit))
            removed += cut
        return removed

    async def _cut(self, total: int) -> int:
        """Remove the oldest of those owners that have the most, down to their share; return how many went."""
        removed, aim = 0, int(self._limit * (1 - _ROOM))
        for own, owner in await self._busiest():
            if total - removed <= self._limit:
                break
            excess = total - removed - aim
            # What is found by halving may be a tenth fewer.
            most = math.ceil(max(self._share, own - excess) / (1 - _ROOM))
            if own > most:
                removed += await self._remove(owner, "<=", await self._boundary(owner, most))
        return removed

    async def _busiest(self) -> list[tuple[int, tuple[Where, ...]]]:
        """Return how many documents those have that show most at either end of time, the most first."""
        counted = Counts[tuple[Any, ...]]()
        for descending in (False, True):
            some = await self._store.find(self._collection, sort=self._field, descending=descending, limit=_SAMPLE)
            counted.update(tuple(each[name] for name in self._owner) for each in some)
        found: list[tuple[int, tuple[Where, ...]]] = []
        for values, _ in counted.most_common(_MOST_CUT):
            owner = tuple(Where(name, "==", value) for name, value in zip(self._owner, values, strict=True))
            found.append((await self._store.count(self._collection, owner), owner))
        return sorted(found, key=itemgetter(0), reverse=True)

    async def _remove(self, where: Sequence[Where], op: Literal["<", "<="], moment: datetime) -> int:
        removed = await self._store.delete_where(self._collection, [*where, Where(self._field, op, moment)])
        if removed:
            self._removed.inc(removed)
            log.debug("removed %d of %s", removed, self._collection.name, extra={"action": "swept", "removed": removed})
        return removed

    async def _boundary(self, where: Sequence[Where], limit: int) -> datetime:
        """Return a moment after which at most `limit` of these documents lie, and not many fewer if times allow it."""
        low = (await self._store.find(self._collection, where, sort=self._field, limit=1))[0][self._field]
        high = (await self._store.find(self._collection, where, sort=self._field, descending=True, limit=1))[0][self._field]
        for _ in range(_STEPS):
            middle = low + (high - low) / 2
            newer = await self._store.count(self._collection, [*where, Where(self._field, ">", middle)])
            if newer > limit:
                low = middle
            elif newer < limit * (1 - _ROOM):
                high = middle
            else:
                return middle
            if high - low < timedelta(milliseconds=1):
                break
        return high
