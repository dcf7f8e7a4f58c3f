"""Who may call now: one gate per version of a function, which counts calls in flight and what became of them.

The counts are plain integers on the call path; `metrics.py` reads them when somebody asks.
"""

from collections.abc import Collection

from libs.messages.catalog import FunctionEntry, Policy, VersionEntry


class Gate:
    """Calls of one version: how many run, how many may, and what came of those that ended."""

    __slots__ = (
        "_used",
        "function",
        "in_flight",
        "label",
        "limit",
        "overflow_status",
        "runtime",
        "shed",
        "statuses",
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
        self.in_flight = 0
        self.used = False
        """Whether a call has ever gone through."""
        self.warmed = False
        """Whether a call has succeeded since the version was seen first."""
        self.shed = 0
        """Calls turned away because the gate was full."""
        self.statuses = [0, 0, 0, 0, 0, 0]
        """Ended calls by the first digit of their status."""
        self._used = used

    @property
    def full(self) -> bool:
        """Whether one more call is too many."""
        return 0 < self.limit <= self.in_flight

    def follow(self, policy: Policy) -> None:
        """Take over the limits of a policy; calls in flight are not touched."""
        pool = policy.worker_pool
        self.limit = (pool.max_workers if pool.enabled else 0) or policy.max_concurrency
        self.overflow_status = pool.overflow_status

    def enter(self) -> bool:
        """Take a slot; False when there is none. Every True is followed by exactly one `leave`."""
        if 0 < self.limit <= self.in_flight:
            return False
        self.in_flight += 1
        if not self.used:
            self.used = True
            self._used.add(self)
        return True

    def leave(self) -> None:
        """Give the slot back."""
        self.in_flight -= 1


class Gates:
    """All gates by function and version label; they outlive changes of code and policy."""

    def __init__(self) -> None:
        self._gates: dict[str, dict[str, Gate]] = {}
        self._used: set[Gate] = set()

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
        self._used.difference_update(gate for label, gate in known.items() if label not in kept)
        if kept:
            self._gates[key] = kept

    def called(self) -> list[Gate]:
        """Return the gates that a call has gone through."""
        return list(self._used)
