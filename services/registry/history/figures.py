"""How many executions each hour had, how many failed and how long they took: sums, true however few executions are kept.

They grow in memory and are added to the store's every few seconds, with compare-and-set, by any number of registries. A batch
that comes a second time is not counted again; a registry that is killed loses what it had not added yet.
"""

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack

from libs import errors
from libs.clock import Clock
from libs.messages.figures import HOURS, Figures, FiguresGet, Hour
from libs.storage.port import Collection, Document, DuplicateKeyError, Index, RevisionConflictError, Store, Where

log = logging.getLogger(__name__)

FIGURES = Collection("figures", (Index(("hour",)), Index(("namespace", "hour"))))
"""One document for each namespace and hour."""

_KEEP = timedelta(hours=48)
_TRIES = 10
_FIRST_ERROR_STATUS = 500

type _Key = tuple[str, datetime]
type _Sums = list[int]
"""Executions, failed ones, microseconds."""


class FigureKeeper:
    """Counts executions by hour."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._sums: dict[_Key, _Sums] = {}
        self._adding = asyncio.Lock()
        self._ensured = False

    def count(self, documents: Iterable[Document]) -> None:
        """Count executions, as `history` stores them."""
        for document in documents:
            began: datetime = document["started_at"]
            key = (document["namespace"], began.replace(minute=0, second=0, microsecond=0))
            sums = self._sums.get(key)
            if sums is None:
                sums = self._sums[key] = [0, 0, 0]
            told = _told(document["execution"])
            sums[0] += 1
            sums[1] += bool(told.get("code")) or told.get("status", 0) >= _FIRST_ERROR_STATUS
            sums[2] += told.get("queue_us", 0) + told.get("cold_us", 0) + told.get("run_us", 0)

    async def run(self, *, every_seconds: float = 2.0) -> None:
        """Add to the store for ever, and once more at the end."""
        try:
            while True:
                await asyncio.sleep(every_seconds)
                await self._round()
        finally:
            await self._round()

    async def _round(self) -> None:
        try:
            await self.add()
            await self._store.delete_where(FIGURES, [Where("hour", "<", self._clock.now() - _KEEP)])
        except errors.TemporaryError as error:
            log.debug("figures wait: %s", error, extra={"action": "figures_wait"})

    async def add(self) -> None:
        """Add what was counted to the store.

        Raises:
            errors.TemporaryError: the store cannot be reached; nothing is lost.
        """
        async with self._adding:
            if not self._ensured:
                await self._store.ensure(FIGURES)
                self._ensured = True
            for key in list(self._sums):
                await self._add(key)

    async def last_day(self, request: FiguresGet, _traceparent: str = "") -> Figures:
        """Return the last 24 hours, the one under way included.

        Raises:
            errors.TemporaryError: the store cannot be reached.
        """
        await self.add()
        now = self._clock.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        first = now - timedelta(hours=HOURS - 1)
        where = [Where("namespace", "==", request.namespace), Where("hour", ">=", first)]
        found = {each["hour"]: each for each in await self._store.find(FIGURES, where, sort="hour")}
        hours: list[Hour] = []
        for at in range(HOURS):
            hour = first + timedelta(hours=at)
            each = found.get(hour, {})
            hours.append(
                Hour(began_at=hour, calls=each.get("calls", 0), failed=each.get("failed", 0), micros=each.get("micros", 0))
            )
        return Figures(hours=tuple(hours))

    async def _add(self, key: _Key) -> None:
        namespace, hour = key
        identity = f"{namespace}@{hour.isoformat()}"
        for _ in range(_TRIES):
            known = await self._store.get(FIGURES, identity)
            sums = list(self._sums[key])  # more may be counted while the store works
            calls, failed, micros = sums
            document: Document = {
                "_id": identity,
                "namespace": namespace,
                "hour": hour,
                "calls": calls + (known["calls"] if known else 0),
                "failed": failed + (known["failed"] if known else 0),
                "micros": micros + (known["micros"] if known else 0),
            }
            try:
                if known is None:
                    await self._store.insert(FIGURES, document)
                else:
                    await self._store.replace(FIGURES, document, revision=known["revision"])
            except (DuplicateKeyError, RevisionConflictError):
                continue  # another registry was faster
            left = [now - added for now, added in zip(self._sums[key], sums, strict=True)]
            if left[0]:
                self._sums[key] = left
            else:
                del self._sums[key]
            return


def _told(packed: bytes) -> dict[str, Any]:
    """Return the fields of an execution; none of one that cannot be read, which counts all the same."""
    try:
        return msgpack.unpackb(packed)
    except (ValueError, msgpack.UnpackException):
        return {}
