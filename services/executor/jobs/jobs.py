"""Attempts of jobs from the work queue: claimed, run like calls, their outcomes stored, then acknowledged.

Claims and outcomes go to the scheduler in batches; an outcome is offered until a scheduler has stored it. How deliveries are
held and settled is in `deliveries`.
"""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence

from libs import errors
from libs.bus import port, rpc, streams
from libs.bus.port import Delivery
from libs.clock import Clock
from libs.messages import codec, subjects
from libs.messages.calls import FailureCode, Reply, ReplyKind
from libs.messages.codec import MalformedMessageError
from libs.messages.executions import ExecutionKind
from libs.messages.jobs import (
    CancelJob,
    Claim,
    ClaimedJobs,
    ClaimJobs,
    JobEvent,
    Outcome,
    OutcomesRecorded,
    RecordOutcomes,
)
from services.executor.calls.bodies import Bodies
from services.executor.calls.dispatch import Dispatch
from services.executor.calls.runs import Run
from services.executor.catalogue import Catalogue
from services.executor.jobs import policy
from services.executor.jobs.batches import Batches
from services.executor.jobs.deliveries import Deliveries, Held
from services.executor.jobs.policy import Happened

log = logging.getLogger(__name__)

_CLAIM_SECONDS = 10.0
_RPC_SECONDS = 2.0
"""How long one scheduler may take; then another is asked, and what was asked twice counts once."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_WAIT_SECONDS = 60.0
"""How long an attempt waits for a worker before it is given back; its timeout is for the handler."""


class JobConsumer:
    """Runs attempts of jobs."""

    def __init__(
        self,
        *,
        bus: port.Bus,
        tasks: asyncio.TaskGroup,
        executor: str,
        dispatch: Dispatch,
        catalogue: Catalogue,
        bodies: Bodies,
        clock: Clock,
        slots: int,
    ) -> None:
        """Hold at most `slots` attempts of each runtime at a time."""
        self._bus = bus
        self._tasks = tasks
        self._executor = executor
        self._dispatch = dispatch
        self._catalogue = catalogue
        self._bodies = bodies
        self._deliveries = Deliveries(bus=bus, executor=executor, clock=clock, slots=slots)
        self._cancels: port.Subscription | None = None
        self._stopping = False
        self._claims = Batches[Held](name="claim jobs", tasks=tasks, send=self._claim)
        self._outcomes = Batches[Held](
            name="job outcomes",
            tasks=tasks,
            send=self._record,
            size=lambda held: len(held.outcome.body) if held.outcome else 0,
            max_bytes=bus.max_payload - streams.ENVELOPE_BYTES,
        )

    @property
    def held(self) -> int:
        """Attempts that are in our hands."""
        return len(self._deliveries.held)

    @property
    def settled(self) -> Mapping[str, int]:
        """Deliveries settled, by how."""
        return self._deliveries.settled

    async def start(self, runtimes: Sequence[str]) -> None:
        """Take jobs of these runtimes from now on."""
        self._cancels = await self._bus.subscribe(subjects.CANCEL_JOB, self._on_cancel)
        await self._deliveries.start(runtimes, self._on_delivery)

    async def keep_alive(self) -> None:
        """Tell the server for ever that what we hold is being worked on."""
        await self._deliveries.keep_alive()

    async def stop(self) -> None:
        """Take no more jobs; those that are held go on."""
        self._stopping = True
        await self._deliveries.stop()

    async def close(self, seconds: float) -> None:
        """Wait up to `seconds` for outcomes to be stored, then hand back everything that is still held."""
        try:
            async with asyncio.timeout(seconds):
                await self._outcomes.drained()
        except TimeoutError:
            log.warning("%d jobs are handed back", self.held, extra={"action": "jobs_handed_back"})
        await self._claims.close()
        await self._outcomes.close()
        await self._deliveries.settle_all(self._deliveries.held, Happened.GIVEN_UP)
        if self._cancels is not None:
            await self._cancels.unsubscribe()

    def _on_delivery(self, delivery: Delivery, runtime: str) -> None:
        try:
            event = codec.decode(JobEvent, delivery.data)
        except MalformedMessageError as error:
            self._tasks.create_task(self._deliveries.refuse(delivery, runtime, str(error)), name="dead letter")
            return
        held = Held(delivery, event, runtime)
        if self._deliveries.hold(held):
            self._claims.add(held)

    def _on_cancel(self, message: port.Message) -> None:
        try:
            job_id = codec.decode(CancelJob, message.data).job_id
        except MalformedMessageError as error:
            log.warning("a cancel cannot be parsed: %s", error, extra={"action": "cancel_malformed"})
            return
        for held in self._deliveries.held:
            if held.event.job_id == job_id:
                held.canceled = True
                self._dispatch.cancel(held.id)

    async def _claim(self, batch: Sequence[Held]) -> None:
        """Ask the scheduler which of the deliveries to run, and run those."""
        claims = tuple(
            Claim(job_id=held.event.job_id, attempt=held.event.attempt, sequence=held.delivery.sequence) for held in batch
        )
        request = ClaimJobs(executor=self._executor, claims=claims)
        give_up = time.monotonic() + _CLAIM_SECONDS
        pause = _FIRST_PAUSE
        while True:
            try:
                subject = subjects.rpc("scheduler", "claim")
                answer = await rpc.call(self._bus, subject, request, ClaimedJobs, timeout=_RPC_SECONDS)
                break
            except errors.FnbusError as error:
                if time.monotonic() >= give_up or self._stopping or isinstance(error, errors.PermanentError):
                    log.warning("jobs could not be claimed: %s", error, extra={"action": "claim_failed", "jobs": len(batch)})
                    await self._deliveries.settle_all(batch, Happened.UNCLAIMED)
                    return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        declined: list[Held] = []
        for held, run in zip(batch, (*answer.run, *(False for _ in batch)), strict=False):
            if run and not held.canceled:
                self._begin(held)
            else:
                declined.append(held)
        await self._deliveries.settle_all(declined, Happened.DECLINED)

    def _begin(self, held: Held) -> None:
        event = held.event
        known = self._catalogue.labelled(
            namespace=event.namespace, runtime=event.runtime, function=event.function, label=event.version
        )
        if known is None:
            message = f"version {event.version} of {event.function} is not known here"
            self._ended(held, self._failure(FailureCode.UNKNOWN_VERSION, message))
            return
        run = Run(
            id=held.id,
            kind=ExecutionKind.JOB,
            key=known.key,
            label=event.version,
            head=event.head,
            body=event.body,
            traceparent=held.delivery.traceparent,
            received=time.monotonic(),
            received_ns=time.time_ns(),
            budget_ms=event.timeout_ms,
            wait_seconds=_WAIT_SECONDS,
            on_done=lambda _, reply: self._ended(held, reply),
        )
        if event.body_ref:
            self._tasks.create_task(self._with_body(held, run), name=f"body {held.id}")
        else:
            self._dispatch.submit(run)

    async def _with_body(self, held: Held, run: Run) -> None:
        try:
            run.body = await self._bodies.fetch(held.event.body_ref)
        except errors.FnbusError as error:
            self._ended(held, self._failure(FailureCode.UNAVAILABLE, f"the job's body could not be fetched: {error}"))
            return
        if held.canceled:
            self._ended(held, self._failure(FailureCode.CANCELED, "the job was canceled"))
        else:
            self._dispatch.submit(run)

    def _ended(self, held: Held, reply: Reply) -> None:
        if policy.was_given_up(reply, stopping=self._stopping):
            self._tasks.create_task(self._deliveries.settle(held, Happened.GIVEN_UP), name=f"hand back {held.id}")
            return
        held.outcome = policy.outcome(held.event, reply, sequence=held.delivery.sequence)
        self._outcomes.add(held)

    async def _record(self, batch: Sequence[Held]) -> None:
        """Offer outcomes to the scheduler until they are stored, then acknowledge."""
        pause = _FIRST_PAUSE
        while True:
            try:
                outcomes = tuple([await self._prepared(held) for held in batch])
                request = RecordOutcomes(executor=self._executor, outcomes=outcomes)
                subject = subjects.rpc("scheduler", "outcome")
                await rpc.call(self._bus, subject, request, OutcomesRecorded, timeout=_RPC_SECONDS)
                break
            except errors.PermanentError as error:
                await self._refuse_outcomes(batch, str(error))
                return
            except errors.FnbusError as error:
                log.warning("job outcomes wait: %s", error, extra={"action": "outcomes_waiting", "jobs": len(batch)})
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        await self._deliveries.settle_all(batch, Happened.RECORDED)

    async def _prepared(self, held: Held) -> Outcome:
        """Return the outcome of a held delivery, its body by reference when it is too large for a message."""
        if held.outcome is None:
            raise errors.PermanentError("the attempt has not ended")
        if not self._bodies.fits(held.outcome.body):
            key = await self._bodies.keep(held.outcome.body)
            held.outcome = dataclasses.replace(held.outcome, body=b"", body_ref=key)
        return held.outcome

    async def _refuse_outcomes(self, batch: Sequence[Held], reason: str) -> None:
        """Try outcomes one by one that the scheduler will not take together; dead-letter the one at fault."""
        if len(batch) > 1:
            for held in batch:
                await self._record([held])
            return
        await self._deliveries.refuse_held(batch[0], f"the scheduler refused its outcome: {reason}")

    def _failure(self, code: FailureCode, message: str) -> Reply:
        return Reply(kind=ReplyKind.FAILURE, executor=self._executor, code=code, message=message)
