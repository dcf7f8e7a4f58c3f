"""Runs on their way to workers and back: what joins the pool's decisions, the processes, and the answers.

On the warm path nothing is awaited: a run comes in as a call of `submit`, its frame is written, and the worker's answer is a
callback. A run that is over its deadline, or canceled, is answered after its worker is dead (`deadlines`). When a worker ends,
for whatever reason, the runs that were sent ahead to it and that it had not begun go back to the head of the queue.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import cast

from libs.messages.calls import BodyPiece, FailureCode, ReplyKind
from libs.messages.executions import ExecutionKind, ExecutionRow
from libs.telemetry.tracing import Tracing
from services.executor.calls import results, runs, telling
from services.executor.calls.boot import Boot, StartError
from services.executor.calls.deadlines import QUEUE_TIMEOUT, Deadlines
from services.executor.calls.live import LiveLogs, WorkerTap
from services.executor.calls.runs import Result, Run, Stages, Verdict
from services.executor.calls.streams import BACKGROUND_SECONDS, Flow
from services.executor.catalogue import Catalogue, Known, VersionKey
from services.executor.pool.pool import Pool
from services.executor.pool.slots import Limits, Refusal, Slot
from services.executor.workers.frames import COMPUTED, Frame, FrameType
from services.executor.workers.output import NO_OUTPUT, Output
from services.executor.workers.process import Stage, Worker
from services.executor.workers.spares import Spares

log = logging.getLogger(__name__)

UNKNOWN_SECONDS = 1.0
"""How long a call waits for a version that the catalogue does not show yet."""

_CALL_IDS = 0xFFFF_FFFF
_REFUSALS = {
    Refusal.BUSY: Verdict(kind=ReplyKind.BUSY, code=FailureCode.NONE, message="no room"),
    Refusal.QUEUE_TIMEOUT: QUEUE_TIMEOUT,
    Refusal.COLD_TIMEOUT: Verdict(code=FailureCode.TIMEOUT, message="the worker was not ready in time", stage="cold"),
}
_CANCELED = Verdict(code=FailureCode.CANCELED, message="the call was canceled")
_START, _CHUNK, _END = int(FrameType.START), int(FrameType.CHUNK), int(FrameType.END)
_KIB = 1024
_MOST_AHEAD = 8
"""Calls that a worker may have got beyond the one that runs."""
_STOPPING = Verdict(code=FailureCode.UNAVAILABLE, message="the executor stops")


class Dispatch:
    """Takes runs and sees that each is answered once."""

    def __init__(
        self,
        *,
        tasks: asyncio.TaskGroup,
        executor: str,
        limits: Limits,
        boot: Boot,
        spares: Spares,
        catalogue: Catalogue,
        record: Callable[[ExecutionRow], None],
        logs: LiveLogs,
        tracer: Tracing,
        max_body_bytes: int,
    ) -> None:
        self._tasks = tasks
        self._executor = executor
        self._boot = boot
        self._spares = spares
        self._catalogue = catalogue
        self._record = record
        self._logs = logs
        self._tracer = tracer
        self._max_body_bytes = max_body_bytes
        self.pool = Pool[Run](limits, self)
        self._workers: dict[int, Worker] = {}
        self._starts: dict[int, asyncio.Task[None]] = {}
        self._running: dict[int, Run] = {}
        self._by_handle: dict[str, Run] = {}
        self._deadlines = Deadlines(pool=self.pool, running=self._running, workers=self._workers)
        self._call = 0
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.counts = dict.fromkeys(("answer", "stream", "busy", "failure", "whole", "cold"), 0)
        """Runs that ended, by kind; and how many were cold."""
        self.run_us = 0
        """Microseconds that handlers ran, in all."""

    @property
    def unfinished(self) -> int:
        """Runs that were taken and not answered yet."""
        return self._open

    @property
    def spares(self) -> int:
        """Guests without code that are ready."""
        return self._spares.count

    def submit(self, run: Run) -> None:
        """Take a run; its `on_done` is called once, from the event loop, also when it is refused."""
        self._by_handle[run.handle] = run
        self._open += 1
        self._idle.clear()
        known = self._catalogue.find(run.key)
        if known is None:
            self._tasks.create_task(self._submit_unknown(run), name=f"unknown version {run.id}")
            return
        self._admit(run, known)

    def cancel(self, id: str, *, handle: str = "") -> None:  # noqa: A002  the record's own name for it
        """End the run of that handle, or all of that id. One that was running is answered after its worker is dead."""
        known = self._by_handle.get(handle or id)
        if known is not None:
            self._cancel(known)
        elif not handle:
            for run in [each for each in self._by_handle.values() if each.id == id]:
                self._cancel(run)

    def _cancel(self, run: Run) -> None:
        if self.pool.cancel(run, time.monotonic()):
            self._finish(run, results.of_verdict(_CANCELED))
        else:
            self._deadlines.cancel(run, _CANCELED)

    def credit(self, handle: str, pieces: int) -> None:
        """The reader of that run's streamed answer has room for so many more pieces."""
        run = self._by_handle.get(handle)
        if run is not None and run.flow is not None and run.slot is not None and pieces > 0:
            worker = self._workers[run.slot.number]
            if not worker.has_credit:
                run.flow.moved_at = time.monotonic()  # from now on it is the handler's turn
            worker.credit(pieces)

    def body(self, piece: BodyPiece) -> None:
        """A piece of a body that a handler reads by and by has come."""
        run = self._by_handle.get(piece.reply)
        if run is None or run.intake is None or run.slot is None or run.result is not None:
            return
        fault = run.intake.take(piece)
        if fault:
            self._deadlines.condemn(run, Verdict(code=FailureCode.UNAVAILABLE, message=fault))
        else:
            self._workers[run.slot.number].body(run.intake, piece.data, last=piece.end)

    def warm(self, known: Known) -> None:
        """Have as many workers of a version as are to stay although nobody calls, as far as there is room."""
        if known.terms.floor:
            self.pool.warm(known.key, time.monotonic(), known.terms)

    def trim(self) -> None:
        """Do what is due every second or so: old versions, idle workers, spares."""
        self._catalogue.trim()
        self.pool.trim(time.monotonic())
        self._spares.trim()
        for known in self._catalogue.kept_warm():
            self.warm(known)

    def relieve(self, missing_bytes: int) -> None:
        """Give memory back: spares first, then the workers that were not used for longest."""
        missing_bytes -= self._spares.shed(missing_bytes)
        if missing_bytes > 0:
            self.pool.relieve(missing_bytes)

    async def drain(self, seconds: float) -> None:
        """Refuse new runs, let those under way finish, then end what is left after `seconds`, and all workers."""
        self.pool.close()
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%d runs did not end in time: they are given up", self._open, extra={"action": "drain_incomplete"})
        for run in list(self._by_handle.values()):
            if self.pool.cancel(run, time.monotonic()):
                self._finish(run, results.of_verdict(_STOPPING))
            elif run.slot is not None:
                self._deadlines.condemn(run, _STOPPING)
            else:
                run.verdict = _STOPPING
        for task in list(self._starts.values()):
            task.cancel()
        await asyncio.gather(
            self._spares.close(),
            *self._starts.values(),
            *(worker.kill() for worker in self._workers.values()),
            return_exceptions=True,
        )
        self._deadlines.close()

    # Effects of the pool

    def start(self, slot: Slot) -> None:
        """Start a worker (for the pool)."""
        self._starts[slot.number] = self._tasks.create_task(self._start(slot), name=f"worker {slot.number}")

    def run(self, call: Run, slot: Slot) -> None:
        """Hand a run to its worker (for the pool)."""
        call.started_at = slot.since
        if call.run_seconds:
            call.deadline = slot.since + call.run_seconds
        self._call = number = self._call % _CALL_IDS + 1
        self._running[slot.number] = call
        worker = self._workers[slot.number]
        if call.intake is None:
            worker.call(number, call.head, call.body)
        elif worker.takes_pieces:
            self.pool.takes_long(slot, slot.since)
            worker.call_reading(number, call.head, call.intake)
        else:
            worker.unheard = True
            # The pool is in the midst of handing it over, and hears only then that it comes back.
            asyncio.get_running_loop().call_soon(self._give_back, call, slot)

    def run_ahead(self, call: Run, slot: Slot) -> None:
        """Hand a run to a worker that has one (for the pool)."""
        self._call = number = self._call % _CALL_IDS + 1
        self._workers[slot.number].call_ahead(number, call.head, call.body)

    def begin(self, call: Run, slot: Slot) -> None:
        """A run that was handed over ahead has its turn (for the pool)."""
        call.started_at = slot.since
        if call.run_seconds:
            call.deadline = slot.since + call.run_seconds
        self._running[slot.number] = call
        self._workers[slot.number].begin()

    def stop(self, slot: Slot) -> None:
        """End an idle worker (for the pool)."""
        self._workers[slot.number].kill_soon()

    def refuse(self, call: Run, reason: Refusal) -> None:
        """Answer a run that is not run (for the pool)."""
        self._finish(call, results.of_verdict(_REFUSALS[reason]))

    # end of effects

    def _give_back(self, run: Run, slot: Slot) -> None:
        """Take a run back from a worker whose handler takes bodies as a whole, unless either has ended meanwhile."""
        if self._running.get(slot.number) is run and run.verdict is None:
            del self._running[slot.number]
            self.pool.answered(slot, time.monotonic())
            self._finish(run, results.unread())

    def _admit(self, run: Run, known: Known) -> None:
        self._deadlines.watch()
        most = known.version.limits.max_response_bytes
        run.max_body = min(most, self._max_body_bytes) if most else self._max_body_bytes
        self.pool.submit(run, run.queued_at, known.terms)

    async def _submit_unknown(self, run: Run) -> None:
        """Wait a little for a version that the catalogue may be about to show."""
        seconds = min(UNKNOWN_SECONDS, run.deadline - time.monotonic())
        known = await self._catalogue.wait_for(run.key, max(seconds, 0.0))
        if run.verdict is not None:
            self._finish(run, results.of_verdict(run.verdict))
        elif known is None:
            message = f"version {run.label} of {run.key.function} is not known here"
            self._finish(run, results.of_verdict(Verdict(code=FailureCode.UNKNOWN_VERSION, message=message)))
        else:
            self._admit(run, known)

    async def _start(self, slot: Slot) -> None:
        try:
            worker = await self._boot.start(self._catalogue.find(cast("VersionKey", slot.version)))
        except StartError as error:
            self._start_failed(slot, error.result)
        except asyncio.CancelledError:
            self._start_failed(slot, results.of_verdict(_STOPPING))
            raise
        else:
            self._workers[slot.number] = worker
            worker.follow(self._tap(slot))
            worker.serve(on_frame=partial(self._on_frame, slot, worker), on_end=partial(self._ended, slot))
            if not worker.ended:
                self.pool.ready(slot, time.monotonic(), depth=self._depth(slot, worker))
        finally:
            self._starts.pop(slot.number, None)

    def _depth(self, slot: Slot, worker: Worker) -> int:
        """Return how many runs a worker may be sent ahead: none where each one's processor time is bounded by itself."""
        known = self._catalogue.find(cast("VersionKey", slot.version))
        bounded = known is None or known.version.limits.cpu_ms
        return _MOST_AHEAD if worker.reads_ahead and not bounded else 0

    def _tap(self, slot: Slot) -> WorkerTap:
        """Return what takes the live lines of a worker that has just loaded its version."""
        key = cast("VersionKey", slot.version)
        known = self._catalogue.find(key)

        def whose() -> str:
            run = self._running.get(slot.number)
            return run.id if run is not None else ""

        label = known.version.label if known is not None else ""
        return self._logs.tap(namespace=key.namespace, function=key.function, version=label, whose=whose)

    def _start_failed(self, slot: Slot, result: Result) -> None:
        now = time.monotonic()
        log.info(
            "a worker could not be started: %s",
            result.message,
            extra={"action": "worker_start_failed", "version": slot.version, "code": result.code.value},
        )
        for run in self.pool.failed(slot, now):
            run.cold_seconds = min(now - slot.since, now - run.queued_at)
            self._finish(run, result)
        self.pool.ended(slot, now)

    def _on_frame(self, slot: Slot, worker: Worker, frame: Frame, output: Output) -> None:
        run = self._running[slot.number]
        now = time.monotonic()
        if worker.stage is not Stage.NONE:
            if frame.type != _CHUNK:
                self.pool.takes_long(slot, now)
            self._goes_on(worker, run, frame, now)
            return
        del self._running[slot.number]
        account = worker.account
        cpu_us, peak_kib = account.used_us, account.peak_kib
        # The worker gets its next call before this one's reply is made, so that both go on at once.
        self.pool.answered(
            slot,
            now,
            waited=not frame.flags & COMPUTED,
            used_bytes=account.memory_kib * _KIB,
            used_us=cpu_us,
            alone=output is not NO_OUTPUT or account.crowded,
        )
        if run.verdict is not None:
            result = results.of_verdict(run.verdict, output)._replace(cpu_us=cpu_us, peak_kib=peak_kib)
        elif run.result is not None:
            result = run.result._replace(output=output, cpu_us=cpu_us, peak_kib=peak_kib)
        else:
            result = results.of_last(run, frame, output, cpu_us=cpu_us, peak_kib=peak_kib)
        self._finish(run, result, now)

    def _goes_on(self, worker: Worker, run: Run, frame: Frame, now: float) -> None:
        """Take a frame that is not the last one of its run: of a streamed answer, or one after which the handler goes on."""
        if frame.type == _START:
            self._begin_stream(run, frame, now)
        elif frame.type != _CHUNK:
            run.result = results.of_last(run, frame, NO_OUTPUT)
            self._tell(run, run.result, runs.stages(run, now))
            run.flow = None
            run.deadline = now + BACKGROUND_SECONDS
        elif run.flow is None or run.flow.take(frame.body, now):
            if run.flow is not None and not run.flow.relayed:
                worker.credit(1)
        else:
            self._deadlines.condemn(
                run, Verdict(code=FailureCode.TOO_LARGE, message=f"the answer is larger than {run.flow.most} bytes")
            )

    def _begin_stream(self, run: Run, frame: Frame, now: float) -> None:
        fault = results.head_fault(frame)
        if fault:
            self._deadlines.condemn(run, Verdict(code=FailureCode.INVALID_RESPONSE, message=fault))
            return
        known = self._catalogue.find(run.key)
        most = known.version.limits.max_response_bytes if known is not None else 0
        flow = Flow(
            handle=run.handle,
            send=run.on_piece,
            status=frame.status,
            head=frame.head,
            most=most if run.on_piece is not None else run.max_body,
            idle_seconds=run.budget_seconds,
            now=now,
        )
        flow.first(frame.body)
        if flow.relayed:
            self._tell(run, Result(ReplyKind.STREAM, frame.status, frame.head, frame.body), runs.stages(run, now))
        run.flow = flow

    def _ended(self, slot: Slot, text: str) -> None:
        """Nothing is left of a worker."""
        worker = self._workers.pop(slot.number)
        run = self._running.pop(slot.number, None)
        sent = cast("list[Run]", list(slot.ahead))
        lost = [each for at, each in enumerate(sent) if at < worker.begun or each.verdict is not None]
        self.pool.ended(slot, time.monotonic(), again=[each for each in sent if each not in lost])
        if run is not None and not (worker.unheard and self._try_again(run)):
            self._lost(run, worker, text, worker.take_output())
        for each in lost:
            verdict = each.verdict or Verdict(code=FailureCode.CRASH, message=f"the call before it ended its worker: {text}")
            self._finish(each, results.of_verdict(verdict))

    def _lost(self, run: Run, worker: Worker, text: str, output: Output) -> None:
        """Answer a run that its worker will not answer any more."""
        if run.result is not None:
            # The caller has its answer; the record says that what was to go on after it did not.
            why = run.verdict.message if run.verdict is not None else text
            error = run.result.error or f"what went on after the answer was cut short: {why}"
            result = run.result._replace(output=output, error=error)
        elif run.verdict is not None:
            result = results.of_verdict(run.verdict, output)
        elif worker.too_large:
            result = results.too_large(output, max_body=run.max_body)
        else:
            code = (worker.broken and worker.broken[0]) or FailureCode.CRASH
            result = results.of_verdict(Verdict(code=code, message=text), output)
        if run.flow is not None and run.flow.relayed:
            result = results.broken_off(run.flow, result)
        self._finish(run, result._replace(cpu_us=worker.account.used_us, peak_kib=worker.account.peak_kib))

    def _try_again(self, run: Run) -> bool:
        """Give a run that its worker was too dead to hear to another one; return whether that can be done."""
        known = self._catalogue.find(run.key)
        if known is None or run.verdict is not None:
            return False
        run.slot = None
        self.pool.submit(run, time.monotonic(), known.terms)
        return True

    def _tell(self, run: Run, result: Result, times: Stages) -> None:
        """Tell the caller."""
        if run.flow is not None and run.flow.relayed:
            run.flow.end(code=result.code, message=result.message, run_us=times.run_us)
        else:
            if result.output is not NO_OUTPUT and run.kind is not ExecutionKind.JOB:
                known = self._catalogue.find(run.key)
                if known is not None and known.version.policy.include_debug_headers:
                    result = results.with_output(result)
            run.on_done(run, telling.reply(result, times, executor=self._executor, free=self.pool.free))

    def _finish(self, run: Run, result: Result, now: float = 0.0) -> None:
        """Tell everybody who has to know that a run has ended."""
        run.finished = True
        self._open -= 1
        if not self._open:
            self._idle.set()
        if self._by_handle.get(run.handle) is run:
            del self._by_handle[run.handle]
        times = runs.stages(run, now or time.monotonic())
        self.counts[result.kind.value] += 1
        self.counts["cold"] += times.cold
        self.run_us += times.run_us
        if run.result is None:
            self._tell(run, result, times)
        if result.kind is not ReplyKind.BUSY and result.kind is not ReplyKind.WHOLE:
            self._record(telling.execution(run, result, times, executor=self._executor))
            if self._tracer.enabled:
                telling.tell_spans(self._tracer, run, result, times)
