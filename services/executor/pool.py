"""Which call gets which worker, and when one is started or ended: a state machine without I/O and without a clock.

Time is handed in, effects are handed out (`Effects`), so that every rule can be tested by itself. Workers are slots here.
A slot belongs to one version for its whole life, and so does a call.

Invariants, true after every method:

1. There are never more slots than `max_workers`, nor starting or serving slots of a version than its limit (a limit that
   was lowered holds for new ones). A slot that ends counts until `ended` says that it is gone.
2. A slot is in exactly one state: starting, idle, busy or ending. A busy one has exactly one call, of its own version.
3. A call is in exactly one place: waiting, or on a slot. It leaves once: by `run` and then `answered` or `ended`, by
   `refuse`, by `cancel`, or among the calls that `failed` returns.
4. A version never has a waiting call and an idle slot at once.
5. A version with waiting calls has a slot (of any state), or a start due at a known time, or stands in the line for the next
   slot that comes free; and each waiting call has a deadline, so none waits for ever.

When to start a worker (`_wanted`): at once when a waiting call has none of its version. Otherwise when waiting for the present
ones is expected to take longer than a start: handlers that are short share warm workers, slow ones grow at once. `tick` looks
again at calls that wait longer than expected. A version whose handlers only compute gets no more workers than make use of the
cores (`max_computing`): how long they run says nothing then, since under load they wait for each other. That holds while calls
get on; none waits for it longer than `PATIENCE_SECONDS`.

Who yields: an idle slot that was not used for longest gives its place to a version that has none to spare. When all slots are
busy, versions take turns: one with two slots more than the first in line, or one that has had its last slot for a turn, gives
one up between two calls. So one version that floods the executor cannot starve the others.
"""

import math
import sys
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

START_SECONDS = 0.025
"""What a start is reckoned to cost."""
LATE_SECONDS = 0.02
"""A head of the queue that has waited this long is looked at again."""
PATIENCE_SECONDS = 0.25
"""A head of the queue that has waited this long gets a worker more, even if its version's handlers are known to compute."""
TURN_SECONDS = 0.1
"""How long a version keeps its only slot while others have none."""
RETRY_SECONDS = 0.5
"""Pause after a failed start, while the version has other workers."""

_MISJUDGED = 4
_SMOOTHING = 0.2
_SELDOM = 0.02
"""Share of calls below which a version's handlers are taken never to wait: one of the last ten that did is above it."""
_FORGET_SECONDS = 900.0


class State(StrEnum):
    """What a slot does."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    ENDING = "ending"


class Refusal(StrEnum):
    """Why a call was not run."""

    BUSY = "busy"
    """There is no room to wait."""
    QUEUE_TIMEOUT = "queue"
    """Its budget was spent while the workers of its version were busy."""
    COLD_TIMEOUT = "cold"
    """Its budget was spent while the first worker of its version was starting."""


class Call:
    """What the pool knows of a call. Its owner derives from it."""

    __slots__ = ("cold_seconds", "deadline", "queued_at", "slot", "version")

    def __init__(self, *, version: Hashable, deadline: float) -> None:
        self.version = version
        self.deadline = deadline
        self.queued_at = 0.0
        self.cold_seconds = 0.0
        """Of its wait, what was spent on starting the worker that runs it; above 0 only for a worker's first call."""
        self.slot: Slot | None = None


class Slot:
    """A worker's place."""

    __slots__ = ("call", "idle_since", "number", "pool", "ready_at", "since", "state")

    def __init__(self, pool: "_Version", number: int, now: float) -> None:
        self.pool = pool
        self.number = number
        """Never used twice."""
        self.state = State.STARTING
        self.since = now
        """When it began to start, later when it began to run its call."""
        self.ready_at = now
        self.idle_since = now
        self.call: Call | None = None

    @property
    def version(self) -> Hashable:
        """The version that it serves."""
        return self.pool.key


class Effects[C: Call](Protocol):
    """What the pool has done for it. None of these may call back into the pool before it returns."""

    def start(self, slot: Slot) -> None:
        """Start a worker; later tell `ready`, or `failed` and then `ended`."""
        ...

    def run(self, call: C, slot: Slot) -> None:
        """Hand a call to the slot's worker; later tell `answered` or `ended`."""
        ...

    def stop(self, slot: Slot) -> None:
        """End the slot's worker, which runs no call; later tell `ended`."""
        ...

    def refuse(self, call: C, reason: Refusal) -> None:
        """Answer a call that will not be run."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a pool."""

    max_workers: int
    max_waiting: int = 1024
    """Calls that wait, in all."""
    max_waiting_per_version: int = 512
    max_starting: int = 4
    """Workers of one version that start at the same time."""
    max_computing: int = sys.maxsize
    """Workers of one version whose handlers only compute."""
    idle_seconds: float = 300.0


class _Version:
    """The slots and waiting calls of one version."""

    __slots__ = (
        "idle",
        "key",
        "limit",
        "no_start_before",
        "retired",
        "run_seconds",
        "slots",
        "starting",
        "used_at",
        "waiting",
        "waits",
    )

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.limit = 0
        self.slots = 0
        """In any state but ending."""
        self.starting = 0
        self.idle: list[Slot] = []
        """The last one used comes last."""
        self.waiting: deque[Call] = deque()
        self.run_seconds = 0.0
        """Smoothed; 0 before the first answer."""
        self.waits = 1.0
        """Smoothed share of the calls whose handler waited for something, rather than compute all the time."""
        self.no_start_before = 0.0
        self.retired = False
        self.used_at = 0.0


class Pool[C: Call]:
    """Slots of all versions and the calls that wait for them."""

    def __init__(self, limits: Limits, effects: Effects[C]) -> None:
        self._limits = limits
        self._effects = effects
        self._versions: dict[Hashable, _Version] = {}
        self._queued: dict[Hashable, _Version] = {}
        self._line: OrderedDict[Hashable, _Version] = OrderedDict()
        self._idle: OrderedDict[int, Slot] = OrderedDict()
        self._numbers = 0
        self._closed = False
        self.workers = 0
        """Slots in any state."""
        self.busy = 0
        self.ending = 0
        self.waiting = 0

    @property
    def idle(self) -> int:
        """Slots that could take a call of their version at once."""
        return len(self._idle)

    @property
    def free(self) -> int:
        """How many more calls could run, if their versions' limits allow it."""
        return self._limits.max_workers - self.workers + len(self._idle)

    @property
    def unfinished(self) -> int:
        """Calls that wait or run."""
        return self.waiting + self.busy

    def submit(self, call: C, now: float, *, limit: int = 0) -> None:
        """Run the call, or let it wait, or refuse it.

        Args:
            call: not submitted before.
            now: monotonic seconds.
            limit: how many workers its version may have; 0: as many as there may be.
        """
        version = self._versions.get(call.version)
        if version is None:
            version = self._versions[call.version] = _Version(call.version)
        version.limit = limit or self._limits.max_workers
        version.used_at = now
        version.retired = False
        call.queued_at = now
        if version.idle and not self._closed:
            self._lease(version, version.idle[-1], call, now)
            return
        full = self.waiting >= self._limits.max_waiting or len(version.waiting) >= self._limits.max_waiting_per_version
        if self._closed or full:
            self._effects.refuse(call, Refusal.BUSY)
            return
        version.waiting.append(call)
        self.waiting += 1
        self._queued[version.key] = version
        self._grow(version, now)

    def cancel(self, call: C, now: float) -> bool:
        """Take a waiting call out; False when it does not wait (any more)."""
        version = self._versions.get(call.version)
        if version is None or call not in version.waiting:
            return False
        version.waiting.remove(call)
        self._dequeued(version)
        self._serve_line(now)
        return True

    def ready(self, slot: Slot, now: float) -> None:
        """The slot's worker has loaded the code."""
        version = slot.pool
        version.starting -= 1
        cold = now - slot.since
        slot.ready_at = now
        if version.waiting:
            version.waiting[0].cold_seconds = min(cold, now - version.waiting[0].queued_at)
        self._release(slot, now)

    def failed(self, slot: Slot, now: float) -> list[C]:
        """The slot's worker could not be started; return the calls that have to be answered with that.

        Calls go on waiting when the version has other workers. The slot goes on to exist until `ended`.
        """
        version = slot.pool
        self._leave(slot)
        version.no_start_before = now + RETRY_SECONDS
        if version.slots:
            return []
        calls: list[C] = list(version.waiting)  # pyright: ignore[reportAssignmentType]  only C are ever submitted
        version.waiting.clear()
        version.no_start_before = 0.0
        self._dequeued(version, count=len(calls))
        return calls

    def answered(self, slot: Slot, now: float, *, waited: bool = True) -> None:
        """The slot's call has its answer; the worker can take another.

        Args:
            slot: a busy one.
            now: monotonic seconds.
            waited: whether the handler waited for something; False when it is known to have computed all the time.
        """
        version = slot.pool
        version.waits += _SMOOTHING * (waited - version.waits)
        ran = now - slot.since
        version.run_seconds = (
            ran if version.run_seconds == 0.0 else version.run_seconds + _SMOOTHING * (ran - version.run_seconds)
        )
        self.busy -= 1
        slot.call = None
        self._release(slot, now)

    def ended(self, slot: Slot, now: float) -> None:
        """Nothing is left of the slot's worker, whatever it was doing. A call that it had is its owner's to answer."""
        version = slot.pool
        if slot.state is not State.ENDING:
            self._leave(slot)
        self.ending -= 1
        self.workers -= 1
        self._serve_line(now)
        if version.waiting:
            self._grow(version, now)

    def retire(self, key: Hashable) -> None:
        """End the version's workers as they become idle; calls of it are still taken, by new ones."""
        version = self._versions.get(key)
        if version is None:
            return
        version.retired = True
        for slot in list(version.idle):
            self._stop(slot)

    def tick(self, now: float) -> None:
        """Refuse what has waited beyond its deadline, and look again at the heads of the queues."""
        for version in list(self._queued.values()):
            self._expire(version, now)
            if version.waiting:
                self._grow(version, now)

    def trim(self, now: float) -> None:
        """End workers that have been idle for too long, and forget versions without any."""
        for slot in list(self._idle.values()):
            if now - slot.idle_since >= self._limits.idle_seconds:
                self._stop(slot)
        for version in [each for each in self._versions.values() if not each.slots and not each.waiting]:
            if now - version.used_at >= _FORGET_SECONDS:
                del self._versions[version.key]

    def close(self) -> None:
        """Refuse new calls from now on and end idle workers; what waits or runs goes on."""
        self._closed = True
        for slot in list(self._idle.values()):
            self._stop(slot)

    def waiting_calls(self) -> Iterator[C]:
        """Yield the calls that wait."""
        for version in list(self._queued.values()):
            yield from list(version.waiting)  # pyright: ignore[reportReturnType]  only C are ever submitted

    def _lease(self, version: _Version, slot: Slot, call: C, now: float) -> None:
        version.idle.pop()
        del self._idle[slot.number]
        self._run(slot, call, now)

    def _run(self, slot: Slot, call: C, now: float) -> None:
        slot.state = State.BUSY
        slot.since = now
        slot.call = call
        call.slot = slot
        self.busy += 1
        self._effects.run(call, slot)

    def _release(self, slot: Slot, now: float) -> None:
        """Give a slot that has just come free its next call, or let it idle, or end it for another version's sake."""
        version = slot.pool
        if self._yields(slot, now) or ((self._closed or version.retired) and not version.waiting):
            self._end(slot)
            if version.waiting:
                self._grow(version, now)
        elif version.waiting:
            call: C = version.waiting.popleft()  # pyright: ignore[reportAssignmentType]  only C are ever submitted
            self._dequeued(version)
            self._run(slot, call, now)
        else:
            slot.state = State.IDLE
            slot.idle_since = now
            version.idle.append(slot)
            self._idle[slot.number] = slot

    def _yields(self, slot: Slot, now: float) -> bool:
        """Return whether a free slot goes to the first version in line instead of staying with its own."""
        if not self._line or self.ending >= len(self._line):
            return False
        version = slot.pool
        first = next(iter(self._line.values()))
        if first is version:
            return False
        if not version.waiting or version.slots >= first.slots + 2:
            return True
        return first.slots == 0 and version.slots == 1 and now - slot.ready_at >= TURN_SECONDS

    def _grow(self, version: _Version, now: float) -> None:
        """Start what workers the waiting calls of a version want; without room, make some or stand in line."""
        wanted = self._wanted(version, now)
        while wanted > 0 and self.workers < self._limits.max_workers:
            self._open(version, now)
            wanted -= 1
        if wanted <= 0:
            return
        self._line.setdefault(version.key, version)
        while self._idle and self.ending < len(self._line) + wanted - 1:
            self._stop(next(iter(self._idle.values())))

    def _wanted(self, version: _Version, now: float) -> int:
        """Return how many workers should be started for the waiting calls of a version."""
        waiting = len(version.waiting)
        most = min(waiting, self._limits.max_starting) - version.starting
        most = min(most, version.limit - version.slots)
        waited = now - version.waiting[0].queued_at
        if version.waits < _SELDOM and waited < PATIENCE_SECONDS:
            most = min(most, self._limits.max_computing - version.slots)
        if most <= 0:
            return 0
        if version.slots == 0:
            return 1
        if now < version.no_start_before:
            return 0
        expected = version.run_seconds * waiting / version.slots
        if expected > START_SECONDS:
            return min(most, math.ceil(expected / START_SECONDS))
        if waited < LATE_SECONDS:
            return 0
        if expected * _MISJUDGED < waited:
            return most
        # The estimate is right and the calls wait all the same: the machine is short, and a crowd of workers would not help.
        return 0 if version.starting else 1

    def _open(self, version: _Version, now: float) -> None:
        self._numbers += 1
        slot = Slot(version, self._numbers, now)
        version.slots += 1
        version.starting += 1
        self.workers += 1
        self._effects.start(slot)

    def _serve_line(self, now: float) -> None:
        """Give free places to the versions in line, one each in turn."""
        while self._line and self.workers < self._limits.max_workers:
            key, version = self._line.popitem(last=False)
            wanted = self._wanted(version, now)
            if wanted > 0:
                self._open(version, now)
            if wanted > 1:
                self._line[key] = version

    def _stop(self, slot: Slot) -> None:
        """End an idle slot."""
        slot.pool.idle.remove(slot)
        del self._idle[slot.number]
        self._end(slot)

    def _end(self, slot: Slot) -> None:
        """End a slot that is neither idle nor busy."""
        slot.pool.slots -= 1
        self._mark_ending(slot)
        self._effects.stop(slot)

    def _leave(self, slot: Slot) -> None:
        """Take a slot out of whatever it was in, since its worker ends without our doing."""
        version = slot.pool
        if slot.state is State.STARTING:
            version.starting -= 1
        elif slot.state is State.IDLE:
            version.idle.remove(slot)
            del self._idle[slot.number]
        elif slot.state is State.BUSY:
            self.busy -= 1
            slot.call = None
        version.slots -= 1
        self._mark_ending(slot)

    def _mark_ending(self, slot: Slot) -> None:
        slot.state = State.ENDING
        self.ending += 1

    def _dequeued(self, version: _Version, *, count: int = 1) -> None:
        self.waiting -= count
        if not version.waiting:
            self._queued.pop(version.key, None)
            self._line.pop(version.key, None)

    def _expire(self, version: _Version, now: float) -> None:
        late: list[C] = [call for call in version.waiting if call.deadline <= now]  # pyright: ignore[reportAssignmentType]  only C are ever submitted
        if not late:
            return
        version.waiting = deque(call for call in version.waiting if call.deadline > now)
        self._dequeued(version, count=len(late))
        reason = Refusal.COLD_TIMEOUT if version.slots and version.slots == version.starting else Refusal.QUEUE_TIMEOUT
        for call in late:
            self._effects.refuse(call, reason)
