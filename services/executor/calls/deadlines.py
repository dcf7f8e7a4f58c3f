"""Runs that are with a worker and are to end: at their deadline, when canceled, or because one end lets the other wait.

One sweep keeps all deadlines, and only while there is something to sweep. Whoever is to end has its worker killed, and is
answered once that is dead; `run.verdict` says until then what the answer will be.

A run that was sent ahead to a worker cannot be taken back while that lives. Nobody is to be told that it failed and have it
run all the same. So at its deadline the worker is ended. When it is canceled, it waits for its turn, since the run before it is
somebody else's; then it may run, but its answer is dropped, and its worker is ended if that takes long.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import cast

from libs.messages.calls import FailureCode
from services.executor.calls.runs import Run, Verdict
from services.executor.calls.streams import Late
from services.executor.pool.growth import LATE_SECONDS
from services.executor.pool.pool import Pool
from services.executor.workers.process import Worker

SWEEP_SECONDS = 0.01
QUEUE_TIMEOUT = Verdict(code=FailureCode.TIMEOUT, message="no worker came free in time", stage="queue")
_RUN_TIMEOUT = Verdict(code=FailureCode.TIMEOUT, message="the handler did not answer in time", stage="run")


class Deadlines:
    """Ends what took too long, and what is told to end."""

    def __init__(self, *, pool: Pool[Run], running: Mapping[int, Run], workers: Mapping[int, Worker]) -> None:
        """Look at others' books.

        Args:
            pool: whose waiting calls are looked at as well.
            running: the run of each slot that has one, by its number.
            workers: of the slots.
        """
        self._loop = asyncio.get_running_loop()
        self._pool = pool
        self._running = running
        self._workers = workers
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Look every now and then, until nothing runs or waits."""
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def condemn(self, run: Run, verdict: Verdict) -> None:
        """Kill the worker of a run that has begun."""
        if run.verdict is None and run.slot is not None:
            run.verdict = verdict
            self._workers[run.slot.number].kill_soon()

    def cancel(self, run: Run, verdict: Verdict) -> None:
        """End a run that waits no more; one that was sent ahead waits for its turn, and one without a slot for its version."""
        if run.slot is not None and not self._is_ahead(run):
            self.condemn(run, verdict)
        else:
            run.verdict = run.verdict or verdict

    def _is_ahead(self, run: Run) -> bool:
        """Return whether a run was sent ahead and has not had its turn."""
        return run.slot is not None and self._running.get(run.slot.number) is not run

    def _condemn_late(self, run: Run, verdict: Verdict) -> None:
        """Kill the worker of a run unless its answer has come already, or its turn."""
        if run.slot is not None:
            was_ahead = self._is_ahead(run)
            self._workers[run.slot.number].settle()
            if not run.finished and self._is_ahead(run) == was_ahead:
                self.condemn(run, verdict)

    def _sweep(self) -> None:
        """Look at the deadlines; again later if there is still something under way."""
        now = time.monotonic()
        for run in list(self._running.values()):
            self._look_at(run, now)
        self._pool.tick(now)
        active = self._running or self._pool.waiting
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep) if active else None

    def _look_at(self, run: Run, now: float) -> None:
        """Look at a run that is with a worker: whether it took too long, and what it does while others wait."""
        slot, flow = run.slot, run.flow
        if slot is None or run.finished:
            return
        for each in slot.ahead:
            late = cast("Run", each)
            if late.deadline <= now and late.verdict is None:
                self._condemn_late(late, QUEUE_TIMEOUT)
                return
        if run.verdict is not None:
            self._workers[slot.number].kill_soon()  # it was canceled before its turn, and takes its time
        elif flow is not None:
            late = flow.late(now, has_credit=self._workers[slot.number].has_credit)
            if late is not None:
                code = FailureCode.CANCELED if late is Late.READER else FailureCode.TIMEOUT
                self.condemn(run, Verdict(code=code, message=late.value, stage="run"))
        elif run.deadline <= now:
            self._condemn_late(run, _RUN_TIMEOUT)
        elif not run.looked_at and now - run.started_at >= LATE_SECONDS and self._pool.has_waiting(slot):
            run.looked_at = True
            self._pool.seen(slot, now, rests=self._workers[slot.number].rests())
