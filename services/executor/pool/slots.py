"""What a pool is about: slots, calls and versions, the bounds, and what the pool has done for it."""

import sys
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from services.executor.pool.growth import Growth
from services.executor.pool.pace import Pace


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a pool."""

    max_workers: int
    memory_bytes: int = sys.maxsize
    """What all workers together may use, as far as it can be told beforehand."""
    max_waiting: int = 1024
    """Calls that wait, in all."""
    max_waiting_per_version: int = 512
    max_starting: int = 4
    """Workers of one version that start at the same time, unless its handlers are known to wait."""
    max_computing: int = sys.maxsize
    """Workers of one version whose handlers only compute."""
    idle_seconds: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is asked of a version's workers."""

    limit: int = 0
    """How many there may be; 0: as many as there may be in all."""
    floor: int = 0
    """How many stay although nobody calls."""
    idle_seconds: float = 0.0
    """How long one stays without a call; 0: as long as the pool says."""
    worker_bytes: int = 0
    """What one is reckoned to use before one has been measured."""


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

    @property
    def apart(self) -> bool:
        """Whether it is never to be sent ahead."""
        return False


class Version:
    """The slots and waiting calls of one version."""

    __slots__ = (
        "growth",
        "idle",
        "key",
        "limit",
        "pace",
        "retired",
        "shrunk_at",
        "slots",
        "starting",
        "terms",
        "used_at",
        "waiting",
        "worker_bytes",
    )

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.terms = Terms()
        self.limit = 0
        self.slots = 0
        """In any state but ending."""
        self.starting = 0
        self.idle: list[Slot] = []
        """The last one used comes last."""
        self.waiting: deque[Call] = deque()
        self.growth = Growth()
        self.pace = Pace()
        self.retired = False
        self.shrunk_at = 0.0
        self.used_at = 0.0
        self.worker_bytes = 0
        """What a worker is reckoned to use."""


class Load(NamedTuple):
    """How much of an executor one version has at the moment."""

    key: Hashable
    starting: int
    idle: int
    busy: int
    waiting: int
    """Calls that wait for one of its workers."""


class Slot:
    """A worker's place."""

    __slots__ = ("ahead", "call", "depth", "idle_since", "number", "pool", "ready_at", "reserved", "since", "state")

    def __init__(self, pool: Version, number: int, now: float) -> None:
        self.pool = pool
        self.number = number
        """Never used twice."""
        self.state = State.STARTING
        self.since = now
        """When it began to start, later when it began to run its call."""
        self.ready_at = now
        self.idle_since = now
        self.reserved = pool.worker_bytes
        """Reserved for it."""
        self.call: Call | None = None
        self.ahead: deque[Call] = deque()
        """Calls that its worker has got and will begin one after the other, each when the one before it is answered."""
        self.depth = 0
        """How many these may be."""

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

    def run_ahead(self, call: C, slot: Slot) -> None:
        """Hand a call to the slot's worker, to be begun when those that it has are answered; `begin` tells."""
        ...

    def begin(self, call: C, slot: Slot) -> None:
        """The call before this one has its answer, so that it runs; later tell `answered` or `ended`."""
        ...

    def stop(self, slot: Slot) -> None:
        """End the slot's worker, which runs no call; later tell `ended`."""
        ...

    def refuse(self, call: C, reason: Refusal) -> None:
        """Answer a call that will not be run."""
        ...
