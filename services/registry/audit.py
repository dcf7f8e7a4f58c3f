"""The audit trail: each write of the registry leaves a record of who did what, and it is asked for newest first.

A record is noted after its write and waits in memory until the store has it, so that a write is neither slowed nor failed by
it; what a process has not stored when it is killed is lost. Values never come here: see `differences`.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from libs import errors
from libs.clock import Clock, epoch_ms
from libs.messages import codec
from libs.messages.audit import Actor, AuditList, AuditPage, AuditRecord
from libs.messages.catalog import FunctionEntry
from libs.storage.port import Collection, Document, Index, Store, Where
from services.registry import differences

log = logging.getLogger(__name__)

AUDIT = Collection("audit", (Index(("at",)), Index(("namespace", "function", "at"))))
"""One document for each write, `_id` rises with time."""

_MOST = 500
_WAITING = 50_000
"""Records that wait for the store at most; the oldest are given up first."""
_TOGETHER = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A write, as whoever made it tells of it. Names and digests only: no value of anybody's."""

    actor: Actor
    action: str
    """`<subject>.<verb in the past>`, as `secret.set`."""
    namespace: str = "default"
    runtime: str = ""
    function: str = ""
    subject: str = ""
    """What of it: a label, an alias, a secret's name, a file's path."""
    before: Mapping[str, Any] = field(default_factory=dict[str, Any])
    after: Mapping[str, Any] = field(default_factory=dict[str, Any])
    changed: Sequence[str] = ()
    """Names of fields."""


def of_function(
    actor: Actor,
    action: str,
    *,
    before: FunctionEntry | None,
    after: FunctionEntry | None,
    subject: str = "",
) -> Change:
    """Return what is to be noted of a write of a function's entry; one of `before` and `after` is there.

    Args:
        actor: who asked for it.
        action: what was done.
        before: the entry that was read; None: there was none.
        after: the entry as stored; None: it was removed.
        subject: what of it.
    """
    entry = after or before
    if entry is None:
        raise ValueError("a change of nothing")
    return Change(
        actor=actor,
        action=action,
        namespace=entry.namespace,
        runtime=entry.runtime,
        function=entry.name,
        subject=subject,
        before=differences.summary(before),
        after=differences.summary(after),
        changed=differences.changed(before, after),
    )


class Audit:
    """Keeps the records and lists them."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: deque[Document] = deque(maxlen=_WAITING)
        self._noted = asyncio.Event()
        self._ensured = False
        self._last = 0

    def note(self, change: Change) -> None:
        """Take a change down; it is stored soon, in order."""
        # Never the same moment twice, so that what one process notes is listed in the order in which it was done.
        now = self._clock.now()
        self._last = max(epoch_ms(now) * 1000, self._last + 1)
        noted = AuditRecord(
            id=f"{self._last:017d}-{secrets.token_hex(4)}",
            at=now,
            actor=change.actor,
            action=change.action,
            namespace=change.namespace,
            runtime=change.runtime,
            function=change.function,
            subject=change.subject,
            before=dict(change.before),
            after=dict(change.after),
            changed=tuple(change.changed),
        )
        self._waiting.append(
            {
                "_id": noted.id,
                "at": noted.at,
                "namespace": noted.namespace,
                "function": noted.function,
                "record": codec.encode(noted),
            }
        )
        self._noted.set()

    async def run(self, *, retry_seconds: float = 1.0) -> None:
        """Store what is noted, for ever."""
        while True:
            await self._noted.wait()
            try:
                await self.flush()
            except errors.TemporaryError as error:
                log.debug("audit records wait: %s", error, extra={"action": "audit_waits"})
                await asyncio.sleep(retry_seconds)

    async def flush(self) -> None:
        """Store what has been noted so far.

        Raises:
            errors.UnavailableError: the store cannot be reached; the records wait.
        """
        self._noted.clear()
        while self._waiting:
            some = [self._waiting[at] for at in range(min(len(self._waiting), _TOGETHER))]
            try:
                await self._ensure()
                await self._store.insert_many(AUDIT, some)
            except BaseException:
                self._noted.set()
                raise
            # Others may have flushed meanwhile, and inserting twice does no harm: only what was stored goes.
            while self._waiting and self._waiting[0]["_id"] <= some[-1]["_id"]:
                self._waiting.popleft()

    async def page(self, request: AuditList, *, max_bytes: int) -> AuditPage:
        """Return records, newest first, as many of those asked for as fit into so many bytes.

        Raises:
            errors.UnavailableError: the store cannot be reached.
        """
        await self.flush()
        await self._ensure()
        where: list[Where] = []
        if request.function:
            where += [Where("namespace", "==", request.namespace or "default"), Where("function", "==", request.function)]
        elif request.namespace:
            where.append(Where("namespace", "==", request.namespace))
        if request.before:
            where.append(Where("_id", "<", request.before))
        limit = min(max(request.limit, 1), _MOST)
        found = await self._store.find(AUDIT, where, sort="_id", descending=True, limit=limit + 1)
        records: list[AuditRecord] = []
        room = max_bytes
        last = ""
        for document in found[:limit]:
            room -= len(document["record"])
            if room < 0 and last:
                break
            last = document["_id"]
            try:
                records.append(codec.decode(AuditRecord, document["record"]))
            except codec.MalformedMessageError:
                continue  # a newer registry's
        more = bool(found) and found[-1]["_id"] < last
        return AuditPage(records=tuple(records), next=last if more else "")

    async def _ensure(self) -> None:
        if not self._ensured:
            await self._store.ensure(AUDIT)
            self._ensured = True
