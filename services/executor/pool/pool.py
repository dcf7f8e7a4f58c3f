"""Which call gets which worker, and when one is started or ended: a state machine without I/O and without a clock.

Time is handed in, effects are handed out (`Effects`), so that every rule can be tested by itself. Workers are slots here.
A slot belongs to one version for its whole life, and so does a call.

Invariants, true after every method:

1. There are never more slots than `max_workers`, nor starting or serving slots of a version than its limit (a limit that
   was lowered holds for new ones). A slot that ends counts until `ended` says that it is gone.
2. Each slot reserves memory: what workers of its version were last seen to use. None is opened that does not fit into
   `memory_bytes`, unless it is the only one; when those that run turn out larger, idle ones go until it fits or none is idle.
3. A slot is in exactly one state: starting, idle, busy or ending. A busy one has exactly one call that runs, and up to its
   `depth` that were sent ahead; all of its own version.
4. A call is in exactly one place: waiting, running on a slot, or sent ahead to one. It leaves once: by `run` or `begin` and
   then `answered` or `ended`, by `refuse`, by `cancel`, or among the calls that `failed` returns. A call that was sent ahead is
   begun in its turn; when its slot ends before that, its owner says whether it goes back to the head of the queue.
5. A version never has a waiting call and an idle slot at once.
6. A version with waiting calls has a slot (of any state), or a start due at a known time, or stands in the line for the next
   room that comes free; and each waiting call has a deadline, so none waits for ever.
7. While the line is not empty, whoever wants room stands in it: nobody small goes past somebody large.

How far ahead a worker gets calls is told in `pace`: only calls that no idle worker could take, never more than the worker's
share of those that wait, and none while other versions stand in line.

When a version gets another worker is told in `growth`; `tick` looks again at calls that wait longer than expected. `warm`
starts workers that nobody waits for yet, only where there is room; they stay although they are idle, but not when the room is
needed.

Who yields: an idle slot that was not used for longest gives its place to a version that has none to spare. When all slots are
busy, versions take turns: one with two slots more than the first in line, or one that has had its last slot for a turn, gives
one up between two calls. So one version that floods the executor cannot starve the others.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator, Sequence

from services.executor.pool.slots import Call, Effects, Limits, Load, Refusal, Slot, State, Terms, Version

TURN_SECONDS = 0.1
"""How long a version keeps its only slot while others have none."""

SHRINK_SECONDS = 0.1
"""Pause between two slots that a version gives up because it has too many."""

_FORGET_SECONDS = 900.0
_MICRO = 1_000_000
_SMOOTHING = 0.2
_NO_TERMS = Terms()


class Pool[C: Call]:
    """Slots of all versions and the calls that wait for them."""

    def __init__(self, limits: Limits, effects: Effects[C]) -> None:
        self._limits = limits
        self._effects = effects
        self._versions: dict[Hashable, Version] = {}
        self._queued: dict[Hashable, Version] = {}
        self._line: OrderedDict[Hashable, Version] = OrderedDict()
        self._idle: OrderedDict[int, Slot] = OrderedDict()
        self._numbers = 0
        self._closed = False
        self.workers = 0
        """Slots in any state."""
        self.busy = 0
        self.ahead = 0
        """Calls that were sent ahead and are not begun."""
        self.sent_ahead = 0
        """How many were, in all."""
        self.ending = 0
        self.waiting = 0
        self.reserved = 0
        """Bytes that are reserved for slots, those that end included."""
        self._ending_bytes = 0

    @property
    def idle(self) -> int:
        """Slots that could take a call of their version at once."""
        return len(self._idle)

    @property
    def free(self) -> int:
        """How many more calls could run, if their versions' limits allow it."""
        slots = self._limits.max_workers - self.workers
        if self.workers:
            slots = min(slots, max(self.room_bytes, 0) * self.workers // (self.reserved or 1))
        return slots + len(self._idle)

    @property
    def room_bytes(self) -> int:
        """Memory that is not reserved."""
        return self._limits.memory_bytes - self.reserved

    @property
    def unfinished(self) -> int:
        """Calls that wait or run."""
        return self.waiting + self.ahead + self.busy

    def submit(self, call: C, now: float, terms: Terms = _NO_TERMS) -> None:
        """Run the call, or let it wait, or refuse it.

        Args:
            call: not submitted before.
            now: monotonic seconds.
            terms: what is asked of its version's workers.
        """
        version = self._versions.get(call.version)
        if version is None or version.terms is not terms:
            version = self._on_terms(call.version, terms)
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

    def warm(self, key: Hashable, now: float, terms: Terms) -> None:
        """Start what a version lacks of its floor, as far as there is room; to be called again every now and then."""
        version = self._on_terms(key, terms)
        version.used_at = now
        if self._closed or not version.growth.may_start_ahead(now):
            return
        while version.slots < min(terms.floor, version.limit) and not self._line and self._fits(version):
            self._open(version, now)

    def cancel(self, call: C, now: float) -> bool:
        """Take a waiting call out; False when it does not wait (any more)."""
        version = self._versions.get(call.version)
        if version is None or call not in version.waiting:
            return False
        version.waiting.remove(call)
        self._dequeued(version)
        self._serve_line(now)
        return True

    def ready(self, slot: Slot, now: float, *, depth: int = 0) -> None:
        """The slot's worker has loaded the code, and takes up to `depth` calls ahead."""
        version = slot.pool
        version.starting -= 1
        version.growth.failures = 0
        cold = now - slot.since
        slot.ready_at = now
        slot.depth = depth
        if version.waiting:
            version.waiting[0].cold_seconds = min(cold, now - version.waiting[0].queued_at)
        self._release(slot, now)
        self._fit()

    def failed(self, slot: Slot, now: float) -> list[C]:
        """The slot's worker could not be started; return the calls that have to be answered with that.

        Calls go on waiting when the version has other workers. The slot goes on to exist until `ended`.
        """
        version = slot.pool
        self._leave(slot)
        version.growth.failed(now)
        if version.slots:
            return []
        calls: list[C] = list(version.waiting)  # pyright: ignore[reportAssignmentType]  only C are ever submitted
        version.waiting.clear()
        version.growth.no_start_before = 0.0
        self._dequeued(version, count=len(calls))
        return calls

    def answered(
        self, slot: Slot, now: float, *, waited: bool = True, used_bytes: int = 0, used_us: int = 0, alone: bool = False
    ) -> None:
        """The slot's call has its answer; the worker begins the next that it has, or can take another.

        Args:
            slot: a busy one.
            now: monotonic seconds.
            waited: whether the handler waited for something; False when it is known to have computed all the time.
            used_bytes: memory that its worker has now; 0: not known.
            used_us: processor time of the call.
            alone: whether it did what calls behind it should not have to wait for.
        """
        version = slot.pool
        ran = now - slot.since
        version.growth.answered(ran, now, waited=waited)
        version.pace.answered(ran if waited else used_us / _MICRO, now)
        if alone:
            version.pace.alone(now)
        if used_bytes:
            self._measure(slot, used_bytes)
        if slot.ahead:
            self._begin(slot, now)
        else:
            self.busy -= 1
            slot.call = None
            self._release(slot, now)
        if version.waiting and slot.state is State.BUSY:
            self._send_ahead(slot, now)
        self._fit()
        if self._line:
            self._serve_line(now)

    def seen(self, slot: Slot, now: float, *, rests: bool) -> None:
        """A busy slot's call was looked at while others wait: whether its handler waits, or computes."""
        slot.pool.growth.seen(now - slot.since, rests=rests)

    def takes_long(self, slot: Slot, now: float) -> None:
        """The slot's call does what calls behind it should not have to wait for."""
        slot.pool.pace.alone(now)

    def has_waiting(self, slot: Slot) -> bool:
        """Return whether calls of the slot's version wait."""
        return bool(slot.pool.waiting)

    def ended(self, slot: Slot, now: float, *, again: Sequence[C] = ()) -> None:
        """Nothing is left of the slot's worker, whatever it was doing.

        Args:
            slot: any one.
            now: monotonic seconds.
            again: of the calls that had been sent ahead to it, those that were not begun and are to run elsewhere. The others,
                like the call that ran, are their owner's to answer.
        """
        version = slot.pool
        if slot.state is not State.ENDING:
            self._leave(slot)
        self.ending -= 1
        self.workers -= 1
        self.reserved -= slot.reserved
        self._ending_bytes -= slot.reserved
        self.ahead -= len(slot.ahead)
        slot.ahead.clear()
        if again:
            self._requeue(version, again, now)
        self._serve_line(now)
        if version.waiting:
            self._grow(version, now)

    def retire(self, key: Hashable) -> None:
        """End the version's workers as they become idle; calls of it are still taken, by new ones."""
        version = self._versions.get(key)
        if version is None:
            return
        version.retired = True
        version.terms = _NO_TERMS
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
            version = slot.pool
            seconds = version.terms.idle_seconds or self._limits.idle_seconds
            if now - slot.idle_since >= seconds and version.slots > version.terms.floor:
                self._stop(slot)
        for version in [each for each in self._versions.values() if not each.slots and not each.waiting]:
            if now - version.used_at >= _FORGET_SECONDS:
                del self._versions[version.key]

    def relieve(self, missing_bytes: int) -> None:
        """End idle workers, those that were not used for longest first, because memory runs short."""
        for slot in list(self._idle.values()):
            if missing_bytes <= 0:
                return
            missing_bytes -= slot.reserved
            self._stop(slot)

    def close(self) -> None:
        """Refuse new calls from now on and end idle workers; what waits or runs goes on."""
        self._closed = True
        for slot in list(self._idle.values()):
            self._stop(slot)

    def loads(self) -> Iterator[Load]:
        """Yield what each version has that has any worker, or any call that waits; slots that end are nobody's."""
        for version in self._versions.values():
            if version.slots or version.waiting:
                idle = len(version.idle)
                busy = version.slots - version.starting - idle
                yield Load(version.key, version.starting, idle, busy, len(version.waiting))

    def _lease(self, version: Version, slot: Slot, call: C, now: float) -> None:
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

    def _begin(self, slot: Slot, now: float) -> None:
        """Let the slot's next call run, which its worker has already."""
        call: C = slot.ahead.popleft()  # pyright: ignore[reportAssignmentType]  only C are ever submitted
        self.ahead -= 1
        slot.since = now
        slot.call = call
        self._effects.begin(call, slot)

    def _send_ahead(self, slot: Slot, now: float) -> None:
        """Hand waiting calls to a busy slot's worker."""
        version = slot.pool
        others = len(self._line) - (version.key in self._line)
        if others or not version.growth.computes:
            return
        waiting = version.waiting
        share = -(-len(waiting) // version.slots)
        for _ in range(min(version.pace.depth(slot.depth, now) - len(slot.ahead), share)):
            if waiting[0].apart:
                break
            call: C = waiting.popleft()  # pyright: ignore[reportAssignmentType]  only C are ever submitted
            call.slot = slot
            slot.ahead.append(call)
            self.ahead += 1
            self.sent_ahead += 1
            self._dequeued(version)
            self._effects.run_ahead(call, slot)

    def _requeue(self, version: Version, calls: Sequence[C], now: float) -> None:
        """Put calls back where they came from, before all that wait; they were there already, so that no bound counts."""
        version.pace.alone(now)
        for call in calls:
            call.slot = None
        version.waiting.extendleft(reversed(calls))
        self.waiting += len(calls)
        self._queued[version.key] = version
        while version.waiting and version.idle:
            call: C = version.waiting.popleft()  # pyright: ignore[reportAssignmentType]  only C are ever submitted
            self._dequeued(version)
            self._lease(version, version.idle[-1], call, now)

    def _release(self, slot: Slot, now: float) -> None:
        """Give a slot that has just come free its next call, or let it idle, or end it for another version's sake."""
        version = slot.pool
        if self._yields(slot, now) or self._is_spare(version, now) or self._is_last(version):
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

    def _fit(self) -> None:
        """End idle slots, those that were not used for longest first, until what is reserved is there."""
        while self._idle and self.reserved - self._ending_bytes > self._limits.memory_bytes:
            self._stop(next(iter(self._idle.values())))

    def _is_last(self, version: Version) -> bool:
        """Return whether a free slot's version, or the pool, needs none any more."""
        return (self._closed or version.retired) and not version.waiting

    def _is_spare(self, version: Version, now: float) -> bool:
        """Return whether a version has more slots than make use of the cores, as it does after a start under load.

        They are ended one after the other with a pause between, since what is known of its handlers may change.
        """
        most = max(self._limits.max_computing, version.terms.floor)
        if not version.growth.computes or version.slots <= most or now - version.shrunk_at < SHRINK_SECONDS:
            return False
        version.shrunk_at = now
        return True

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

    def _grow(self, version: Version, now: float) -> None:
        """Start what workers the waiting calls of a version want; without room, make some and stand in line."""
        wanted = self._wanted(version, now)
        while wanted > 0 and not self._line and self._fits(version):
            self._open(version, now)
            wanted -= 1
        if wanted <= 0:
            return
        self._line.setdefault(version.key, version)
        self._make_room(slots=len(self._line) + wanted - 1, more_bytes=(wanted - 1) * version.worker_bytes)

    def _make_room(self, *, slots: int, more_bytes: int = 0) -> None:
        """End idle slots until there will be room for so many new ones, the line's and `more_bytes`, or none is idle."""
        needed = more_bytes + sum(each.worker_bytes for each in self._line.values())
        while self._idle:
            enough = self.workers - self.ending + slots <= self._limits.max_workers
            if enough and self.reserved - self._ending_bytes + needed <= self._limits.memory_bytes:
                return
            self._stop(next(iter(self._idle.values())))

    def _fits(self, version: Version) -> bool:
        """Return whether there is room for a slot of a version now."""
        if self.workers >= self._limits.max_workers:
            return False
        return self.reserved + version.worker_bytes <= self._limits.memory_bytes or not self.workers

    def _wanted(self, version: Version, now: float) -> int:
        """Return how many workers should be started for the waiting calls of a version."""
        return version.growth.wanted(
            waiting=len(version.waiting),
            waited=now - version.waiting[0].queued_at,
            slots=version.slots,
            starting=version.starting,
            limit=version.limit,
            max_starting=self._limits.max_starting,
            max_computing=self._limits.max_computing,
            now=now,
        )

    def _on_terms(self, key: Hashable, terms: Terms) -> Version:
        """Return a version, on these terms from now on."""
        version = self._versions.get(key)
        if version is None:
            version = self._versions[key] = Version(key)
        version.terms = terms
        version.limit = terms.limit or self._limits.max_workers
        version.worker_bytes = version.worker_bytes or terms.worker_bytes
        version.retired = False
        return version

    def _measure(self, slot: Slot, used_bytes: int) -> None:
        """Reserve what a worker was seen to use, and for new ones of its version what these use by and by."""
        version = slot.pool
        self.reserved += used_bytes - slot.reserved
        slot.reserved = used_bytes
        version.worker_bytes += int(_SMOOTHING * (used_bytes - version.worker_bytes))

    def _open(self, version: Version, now: float) -> None:
        self._numbers += 1
        slot = Slot(version, self._numbers, now)
        version.slots += 1
        version.starting += 1
        self.workers += 1
        self.reserved += slot.reserved
        self._effects.start(slot)

    def _serve_line(self, now: float) -> None:
        """Give free room to the versions in line, a slot each in turn."""
        while self._line:
            key, version = next(iter(self._line.items()))
            wanted = self._wanted(version, now)
            if wanted > 0 and not self._fits(version):
                self._make_room(slots=1)
                return
            del self._line[key]
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
        self._ending_bytes += slot.reserved

    def _dequeued(self, version: Version, *, count: int = 1) -> None:
        self.waiting -= count
        if not version.waiting:
            self._queued.pop(version.key, None)
            self._line.pop(version.key, None)

    def _expire(self, version: Version, now: float) -> None:
        late: list[C] = [call for call in version.waiting if call.deadline <= now]  # pyright: ignore[reportAssignmentType]  only C are ever submitted
        if not late:
            return
        version.waiting = deque(call for call in version.waiting if call.deadline > now)
        self._dequeued(version, count=len(late))
        reason = Refusal.COLD_TIMEOUT if version.slots and version.slots == version.starting else Refusal.QUEUE_TIMEOUT
        for call in late:
            self._effects.refuse(call, reason)
