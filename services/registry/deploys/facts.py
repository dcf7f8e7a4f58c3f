"""Facts about functions on the bus: that they were created, updated, deleted, told once everybody can see it.

A fact is noted with its write, released when the projection shows it, and appended to the stream of events soon after, many
in one message. It holds names, digests and who did it, and nothing that a function holds. A registry that is killed in
between leaves its last facts untold: the catalogue is the truth, and whoever has to be certain compares.
"""

import asyncio
import logging
from collections import deque
from enum import StrEnum

from libs import errors
from libs.bus import port, streams
from libs.clock import Clock
from libs.messages import codec, subjects
from libs.messages.audit import Actor
from libs.messages.catalog import FunctionEntry
from libs.messages.facts import FunctionFact, FunctionFacts

log = logging.getLogger(__name__)

_WAITING = 50_000
"""Facts that wait for the bus at most; the oldest are given up first."""
_TOGETHER = 200


class Happened(StrEnum):
    """What has happened to a function."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


class Facts:
    """Tells what happens to functions."""

    def __init__(self, *, bus: port.Bus, clock: Clock) -> None:
        """Make it; `run` tells."""
        self._bus = bus
        self._clock = clock
        self._noted: list[tuple[Happened, FunctionFact]] = []
        self._waiting: deque[tuple[Happened, FunctionFact]] = deque(maxlen=_WAITING)
        self._some = asyncio.Event()

    def note(self, happened: Happened, entry: FunctionEntry, actor: Actor) -> None:
        """Take down what was written; it is told after the next `release`."""
        is_gone = happened is Happened.DELETED
        fact = FunctionFact(
            namespace=entry.namespace,
            runtime=entry.runtime,
            name=entry.name,
            revision=entry.revision,
            at=self._clock.now(),
            versions={} if is_gone else {version.label: version.digest for version in entry.versions},
            source=entry.source,
            actor=actor,
        )
        self._noted.append((happened, fact))

    def release(self) -> None:
        """Have told what was noted: everybody can see it now."""
        if self._noted:
            self._waiting += self._noted
            self._noted = []
            self._some.set()

    async def run(self, *, retry_seconds: float = 1.0) -> None:
        """Tell for ever."""
        while True:
            await self._some.wait()
            try:
                await self.flush()
            except errors.TemporaryError as error:
                log.debug("facts wait: %s", error, extra={"action": "facts_wait"})
                await asyncio.sleep(retry_seconds)

    async def flush(self) -> None:
        """Tell what was released so far.

        Raises:
            errors.TemporaryError: the bus cannot be reached; the facts wait.
        """
        self._some.clear()
        try:
            if self._waiting:
                await self._bus.ensure_stream(streams.EVENTS)
            while self._waiting:
                happened, facts = self._next()
                try:
                    await self._bus.append(subjects.function_event(happened), codec.encode(FunctionFacts(facts=facts)))
                except errors.PermanentError:
                    log.exception("facts were dropped", extra={"action": "facts_dropped", "facts": len(facts)})
                for _ in facts:
                    self._waiting.popleft()
        except BaseException:
            self._some.set()
            raise

    def _next(self) -> tuple[Happened, tuple[FunctionFact, ...]]:
        """Return the next facts of one kind, as many as may go together."""
        happened = self._waiting[0][0]
        facts: list[FunctionFact] = []
        for kind, fact in self._waiting:
            if kind is not happened or len(facts) == _TOGETHER:
                break
            facts.append(fact)
        return happened, tuple(facts)
