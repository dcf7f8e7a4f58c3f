"""Who may call now: one gate per version of a function, which counts calls in flight and what became of them.

What always holds: no more calls are let in than the limit allows; who waits does so behind slots that are all taken, is let in
in the order of arrival, and for no longer than it said. Counts are plain integers on the call path; `metrics.py` reads them
when somebody asks.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection

from libs.messages.catalog import FunctionEntry, Policy, VersionEntry
from services.gateway.books import Books


class Gate:
    """Calls of one version: how many run, how many may, how many wait, and what came of those that ended."""

    __slots__ = (
        "_line",
        "_used",
        "books",
        "function",
        "in_flight",
        "label",
        "limit",
        "max_queue",
        "overflow_status",
        "queue_seconds",
        "runtime",
        "shed",
        "timed_out",
        "used",
        "warmed",
    )

    def __init__(self, *, runtime: str, function: str, label: str, used: "set[Gate]") -> None:
        """Add the gate to `used` when the first call goes through it."""
        self.runtime = runtime
        self.function = function
        self.label = label
        self.limit = 0
        """Calls at once; 0: no limit."""
        self.overflow_status = 429
        """HTTP status when the gate is full."""
        self.max_queue = 0
        """Calls that may wait for a slot."""
        self.queue_seconds = 0.0
        """How long each may; 0: until its own deadline."""
        self.in_flight = 0
        self.used = False
        """Whether a call has ever gone through."""
        self.warmed = False
        """Whether a call has succeeded since the version was seen first."""
        self.shed = 0
        """Calls turned away because the gate was full."""
        self.timed_out = 0
        """Calls turned away because they had waited for too long."""
        self.books = Books()
        """Ended calls."""
        self._line: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._used = used

    @property
    def waiting(self) -> int:
        """How many calls wait for a slot."""
        return len(self._line)

    @property
    def full(self) -> bool:
        """Whether one more call is too many, even as one that waits."""
        return 0 < self.limit <= self.in_flight and len(self._line) >= self.max_queue

    def follow(self, policy: Policy) -> None:
        """Take over the limits of a policy; calls in flight are not touched, those that wait keep their place."""
        pool = policy.worker_pool
        self.limit = (pool.max_workers if pool.enabled else 0) or policy.max_concurrency
        self.max_queue = pool.max_queue if pool.enabled else 0
        self.queue_seconds = pool.queue_timeout_ms / 1000
        self.overflow_status = pool.overflow_status
        self._let_in()

    def enter(self) -> bool:
        """Take a slot; False when there is none. Every True is followed by exactly one `leave`."""
        if 0 < self.limit <= self.in_flight:
            return False
        self.in_flight += 1
        if not self.used:
            self.used = True
            self._used.add(self)
        return True

    async def enter_in_turn(self, *, within: float) -> bool:
        """Wait for a slot behind those who came before; False when none came free within so many seconds.

        Every True is followed by exactly one `leave`. Whoever is canceled while waiting gives its place up.
        """
        if self.enter():  # one came free since the caller looked
            return True
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line[turn] = None
        try:
            async with asyncio.timeout(within):
                await turn
        except TimeoutError:
            self._give_up(turn)
            self.timed_out += 1
            return False
        except asyncio.CancelledError:
            self._give_up(turn)
            raise
        return True

    def leave(self) -> None:
        """Give the slot back."""
        self.in_flight -= 1
        if self._line:
            self._let_in()

    def _let_in(self) -> None:
        while self._line and not 0 < self.limit <= self.in_flight:
            turn, _ = self._line.popitem(last=False)
            if not turn.done() and self.enter():
                turn.set_result(None)

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        self._line.pop(turn, None)
        if turn.done() and not turn.cancelled():
            self.leave()  # its turn had come at the last moment


class Gates:
    """All gates by function and version label; they outlive changes of code and policy."""

    def __init__(self) -> None:
        self._gates: dict[str, dict[str, Gate]] = {}
        self._used: set[Gate] = set()
        self.gone = Books()
        """Calls of versions that there are no longer: what is counted of all never goes down."""

    def gate(self, key: str, function: FunctionEntry, version: VersionEntry) -> Gate:
        """Return the version's gate, made when it is new, with the limits of its policy."""
        gates = self._gates.setdefault(key, {})
        gate = gates.get(version.label)
        if gate is None:
            gate = Gate(runtime=function.runtime, function=function.name, label=version.label, used=self._used)
            gates[version.label] = gate
        gate.follow(version.policy)
        return gate

    def keep(self, key: str, labels: Collection[str]) -> None:
        """Forget the gates of a function's versions whose labels are not in `labels`."""
        known = self._gates.pop(key, {})
        kept = {label: gate for label, gate in known.items() if label in labels}
        for label, gate in known.items():
            if label not in kept and gate in self._used:
                self.gone.add(gate.books)
                self._used.discard(gate)
        if kept:
            self._gates[key] = kept

    def called(self) -> list[Gate]:
        """Return the gates that a call has gone through."""
        return list(self._used)
