"""The watchdog: sees that running workers keep to their limits and that idle ones do nothing.

The kernel enforces what it can (see `services.executor.sandbox`); the watchdog sees the rest, and is the one that can say
why. It looks at busy workers ten times a second, and at idle ones once a second or, where there are very many, in turns, so
that calls do not wait for it; it tells a worker's keeper, once, what it has broken. Ending the worker and answering its call is
the keeper's. It also tells when the machine's memory runs short, so that idle workers go before anything suffers.
"""

import asyncio
import heapq
import logging
import time
from collections.abc import Callable
from typing import Protocol

from libs.messages.calls import FailureCode
from libs.messages.catalog import Limits
from services.executor.sandbox import cells, procfs
from services.executor.sandbox.base import Cell, Usage

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
IDLE_SECONDS = 1.0
IDLE_AT_ONCE = 10
"""Idle workers in one look, which takes about a tenth of a millisecond each."""
IDLE_CPU_US = 100_000
"""Processor time that an idle worker may use in a second: a garbage collector's, not a program's."""
MEMORY_SECONDS = 1.0
"""Time between two looks at the machine's memory."""
RESERVE_BYTES = 256 * 1024 * 1024
"""Memory of the machine that stays free: below it idle workers go."""

_MIB = 1024 * 1024


class Watched(Protocol):
    """A worker, as the watchdog sees it; read at each look."""

    @property
    def cell(self) -> Cell:
        """The worker from outside."""
        ...

    @property
    def limits(self) -> Limits:
        """What it may use."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a call runs in it, its background work included."""
        ...

    @property
    def call_cpu_started_us(self) -> int:
        """`cell.cpu_us()` as it was when the call began; differs from call to call."""
        ...

    def seen(self, usage: Usage) -> None:
        """Take down what it uses while a call runs. Called at each look."""
        ...

    def breach(self, code: FailureCode, message: str) -> None:
        """End the worker, which has broken a rule; its call fails with this code and text. Called once.

        Args:
            code: the limit; `NONE` for one that did not rest while it was idle.
            message: the limit and the use, in words.
        """
        ...


class _Record:
    """What the watchdog remembers of a worker between two looks."""

    def __init__(self) -> None:
        self.call = -1
        """`call_cpu_started_us` of the call that is looked at."""
        self.answered = -1
        """The same, of the last call that was looked at after its answer."""
        self.children_us = 0
        """What its children had used when that call was first seen."""
        self.idle_since = 0.0
        """When it was first seen idle; 0 while it is busy."""
        self.idle_us = 0
        """What it had used in all at that time."""
        self.rested_at = 0.0
        """When it was last looked at while it was idle."""


class Watchdog:
    """Looks at workers. One task, `run`; `add` and `remove` are cheap."""

    def __init__(
        self,
        *,
        on_pressure: Callable[[int], None] | None = None,
        headroom: Callable[[], int | None] | None = None,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        """Watch nothing yet.

        Args:
            on_pressure: told how many bytes are missing when memory runs short; again each second while it does.
            headroom: what the executor's own bound leaves, in bytes; None when nothing but the machine bounds it.
            reserve_bytes: memory that is to stay free.
        """
        self._watched: dict[Watched, _Record] = {}
        self._on_pressure = on_pressure
        self._headroom = headroom
        self._reserve = reserve_bytes

    def add(self, watched: Watched) -> None:
        """Look at a worker from now on: before user code is loaded into it."""
        self._watched[watched] = _Record()

    def remove(self, watched: Watched) -> None:
        """Forget a worker; one that is not known is no error."""
        self._watched.pop(watched, None)

    async def run(self) -> None:
        """Look until cancelled."""
        checked = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            if now - checked >= MEMORY_SECONDS:
                checked = now
                self.check_memory()
            self.look(now)

    def look(self, now: float) -> None:
        """Look once at all busy workers, and at the idle ones whose turn it is."""
        idle: list[tuple[float, int, Watched]] = []
        for at, (watched, record) in enumerate(list(self._watched.items())):
            if watched.busy:
                record.idle_since = 0.0
                self._judge(watched, self._busy(watched, record))
            elif record.answered != watched.call_cpu_started_us:
                # What the kernel refused during a call that was too short to be seen: the next one gets another worker.
                record.answered = watched.call_cpu_started_us
                self._judge(watched, watched.cell.verdict())
            elif now - record.rested_at >= IDLE_SECONDS:
                idle.append((record.rested_at, at, watched))
        for _, _, watched in heapq.nsmallest(IDLE_AT_ONCE, idle):
            record = self._watched[watched]
            record.rested_at = now
            self._judge(watched, self._idle(watched, record, now))

    def _judge(self, watched: Watched, found: tuple[FailureCode, str] | None) -> None:
        """Tell a worker's keeper what it has broken, if anything."""
        if found is None or watched not in self._watched:
            return
        del self._watched[watched]
        code, message = found
        log.info(
            "worker %d is ended: %s",
            watched.cell.pid,
            message,
            extra={"action": "worker_over_limit", "code": code.value, "pid": watched.cell.pid},
        )
        watched.breach(code, message)

    def _busy(self, watched: Watched, record: _Record) -> tuple[FailureCode, str] | None:
        limits = watched.limits
        usage = watched.cell.usage()
        watched.seen(usage)
        found = over(usage, limits) or watched.cell.verdict()
        if found is not None or not limits.cpu_ms:
            return found
        own = watched.cell.cpu_us()
        if record.call != watched.call_cpu_started_us:
            record.call = watched.call_cpu_started_us
            record.children_us = usage.cpu_us - own
        spent = own - watched.call_cpu_started_us + max(usage.cpu_us - own - record.children_us, 0)
        if spent > limits.cpu_ms * 1000:
            return FailureCode.CPU_LIMIT, f"cpu limit of {limits.cpu_ms} ms exceeded"
        return None

    def _idle(self, watched: Watched, record: _Record, now: float) -> tuple[FailureCode, str] | None:
        usage = watched.cell.usage()
        found = over(usage, watched.limits) or watched.cell.verdict()
        if found is not None:
            return found
        used = usage.cpu_us
        if not record.idle_since:
            # What a call leaves behind may take until the next look to end.
            record.idle_since, record.idle_us = now, used
            return None
        if usage.children:
            return (
                FailureCode.NONE,
                f"worker was ended: {usage.children} processes that it had started went on after the answer",
            )
        spent, seconds = used - record.idle_us, now - record.idle_since
        record.idle_since, record.idle_us = now, used
        if spent > IDLE_CPU_US * seconds:
            return FailureCode.NONE, f"worker was ended: it went on computing after the answer ({spent // 1000} ms)"
        return None

    def check_memory(self) -> None:
        """Tell when the machine, or the executor's own bound, has too little memory left."""
        if self._on_pressure is None:
            return
        free = procfs.available_bytes()
        bound = self._headroom() if self._headroom is not None else None
        if bound is not None:
            free = min(free, bound)
        if free < self._reserve:
            log.info(
                "memory runs short (%d MB left): idle workers go",
                free // _MIB,
                extra={"action": "memory_pressure", "free_bytes": free},
            )
            self._on_pressure(self._reserve - free)


def over(usage: Usage, limits: Limits) -> tuple[FailureCode, str] | None:
    """Return which limit is broken, in words; None when none is."""
    if usage.memory_bytes > limits.memory_mb * _MIB:
        return FailureCode.MEMORY_LIMIT, cells.memory_text(limits, usage.memory_bytes)
    if usage.processes > limits.processes:
        return FailureCode.PROCESS_LIMIT, cells.process_text(limits)
    return None
