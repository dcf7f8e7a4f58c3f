"""Jobs accepted, claimed, ended: each step a document that is written before anybody is told.

A job's document is the record of truth and is written first; the queue holds what is to be run now (`publishing`). What the
queue loses (a crash between the two writes, a broker's disk) is found by the due loop (`due`) and published again under the
same message id.
"""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from libs import errors
from libs.bus import port as bus_port
from libs.clock import Clock
from libs.messages import codec, heads, subjects
from libs.messages.catalog import Retry, VersionEntry
from libs.messages.jobs import (
    TERMINAL,
    CancelJob,
    Claim,
    ClaimJobs,
    JobRequest,
    JobState,
    Outcome,
    SubmitJob,
)
from libs.storage import port as storage_port
from libs.telemetry import tracing
from services.scheduler import jobs
from services.scheduler.catalogue import Catalogue
from services.scheduler.dead_letters import letter_of
from services.scheduler.jobs import Job
from services.scheduler.publishing import Publisher
from services.scheduler.store import JobStore, StoredJob

log = logging.getLogger(__name__)

_CATALOGUE_WAIT_SECONDS = 1.0
_LEAST_HOLD = timedelta(seconds=5)
"""A tick is not skipped sooner: that an outcome comes late, for a scheduler that died, does not mean that its run goes on."""
_NS = 1_000_000_000


class Dispatch:
    """Accepts jobs, says who runs an attempt, records how it ended."""

    def __init__(
        self,
        *,
        bus: bus_port.Bus,
        store: JobStore,
        catalogue: Catalogue,
        publisher: Publisher,
        bodies: bus_port.ObjectStore,
        tracer: tracing.Tracing,
        clock: Clock,
        keep: timedelta,
        replica: str,
    ) -> None:
        """Take everything by hand; `keep` is how long an ended job is remembered."""
        self._bus = bus
        self._store = store
        self._catalogue = catalogue
        self._publisher = publisher
        self._bodies = bodies
        self._tracer = tracer
        self._clock = clock
        self._keep = keep
        self._replica = replica
        self._chance = random.Random()  # noqa: S311  jitter
        self.accepted = 0
        self.ended: dict[str, int] = {}

    async def submit(self, wanted: SubmitJob, traceparent: str) -> Job:
        """Store a job, put its event on the queue, and return it.

        Raises:
            errors.NotFoundError: the function or version is unknown.
            errors.TemporaryError: the queue is full, or store or bus cannot be reached; the job was not accepted.
        """
        began = time.time_ns()
        request = wanted.request
        found = await self._catalogue.wait_for(request, within=_CATALOGUE_WAIT_SECONDS)
        if found is None:
            raise errors.NotFoundError("unknown function or version")
        base = wanted.retry_delay_ms / 1000
        place = tracing.parse(traceparent or wanted.traceparent)
        context = place.child() if place else tracing.start()
        job = self._new_job(
            heads.request_id("job"),
            request,
            version=found[1],
            max_attempts=wanted.max_attempts,
            retry=Retry(max_attempts=wanted.max_attempts, base_delay_seconds=base, max_delay_seconds=3600.0),
            submit_trace=context.header(),
        )
        await self._store.add(job)
        try:
            await self._publisher.publish(job, found)
        except errors.FnbusError:
            await self._store.update(job.id, lambda each: jobs.cancel(each, now=self._clock.now(), keep=self._keep))
            raise
        self.accepted += 1
        self._tracer.tell(
            name="job submit",
            context=context,
            parent_id=place.span_id if place else "",
            start_ns=began,
            end_ns=time.time_ns(),
            kind=tracing.SpanKind.PRODUCER,
            attributes={"messaging.system": "nats", "messaging.message.id": job.id, "faas.name": request.function},
        )
        return job

    async def tick(
        self,
        *,
        key: str,
        nominal: datetime,
        request: JobRequest,
        version: VersionEntry,
        retry: Retry | None,
        trigger: dict[str, Any],
        hold: timedelta,
    ) -> bool:
        """Fire a schedule's nominal time, unless another replica has: the unique insert decides.

        While an earlier run of the schedule goes on, this one waits for it for `hold`, a few seconds at the least, and is then
        skipped; behind one that has not begun (no executor, or its event was lost) it waits longer.
        """
        began = time.time_ns()
        running = [job for job in await self._store.of_schedule(key, limit=3) if job.state not in TERMINAL]
        context = tracing.start()
        job = self._new_job(
            jobs.tick_id(key, nominal),
            request,
            version=version,
            max_attempts=retry.max_attempts if retry else 1,
            retry=retry or Retry(max_attempts=1),
            submit_trace=context.header(),
        )
        now = job.created_at
        job = replace(job, schedule=key, trigger=trigger, due_at=now + jobs.TICK_PUBLISH_GRACE)
        if running:
            job = replace(job, after=running[0].id, due_at=now, hold_until=jobs.stored(now + max(hold, _LEAST_HOLD)))
        try:
            await self._store.add(job)
        except storage_port.DuplicateKeyError:
            return False
        self.accepted += 1
        if not job.after:
            await self._publish_soon(job)
        self._tracer.tell(
            name="schedule fire",
            context=context,
            parent_id="",
            start_ns=began,
            end_ns=time.time_ns(),
            kind=tracing.SpanKind.PRODUCER,
            attributes={"faas.trigger": "timer", "faas.name": request.function, "messaging.message.id": job.id},
        )
        return True

    async def claim(self, wanted: ClaimJobs) -> tuple[bool, ...]:
        """Decide for each claim whether its executor is to run it; a True has been written down."""
        now = self._clock.now()
        known = await self._store.recall(claim.job_id for claim in wanted.claims)

        async def decide(claim: Claim) -> bool:
            def claimed(job: Job) -> Job | None:
                return jobs.claim(job, claim, executor=wanted.executor, now=now)

            found = known.get(claim.job_id)
            if found is not None and (job := claimed(found.job)) is not None:
                try:
                    await self._store.save(job, revision=found.revision)
                except storage_port.RevisionConflictError:
                    pass
                else:
                    return True
            return await self._store.update(claim.job_id, claimed) is not None

        return tuple(await asyncio.gather(*map(decide, wanted.claims)))

    async def record(self, outcomes: Sequence[Outcome]) -> tuple[bool, ...]:
        """Write down each outcome; False for one that did not count. Returns when all are stored."""
        known = await self._store.recall(outcome.job_id for outcome in outcomes)
        return tuple(await asyncio.gather(*(self._record(outcome, known.get(outcome.job_id)) for outcome in outcomes)))

    async def cancel(self, job_id: str) -> Job:
        """Cancel a queued or running job.

        Raises:
            errors.NotFoundError: there is none.
            errors.ConflictError: it has ended.
        """
        job = await self._store.update(job_id, lambda each: jobs.cancel(each, now=self._clock.now(), keep=self._keep))
        if job is None:
            raise errors.NotFoundError("job not found")
        self.count(job)
        await self._bus.publish(subjects.CANCEL_JOB, codec.encode(CancelJob(job_id=job_id)))
        return job

    async def retry(self, job_id: str) -> Job:
        """Queue a job that was given up once more; its dead letter goes. Of two who ask at once one is told of a conflict.

        Raises:
            errors.NotFoundError: there is none, or its function is gone.
            errors.ConflictError: it was not given up.
        """
        found = await self._store.get(job_id)
        if found is None:
            raise errors.NotFoundError("job not found")
        if await self._catalogue.wait_for(found.job.request, within=_CATALOGUE_WAIT_SECONDS) is None:
            raise errors.NotFoundError("unknown function or version")
        trace = tracing.start().header()
        job = await self._store.update(job_id, lambda each: jobs.revive(each, now=self._clock.now(), trace=trace))
        if job is None:
            raise errors.NotFoundError("job not found")
        await self._store.drop_letter(job.id, attempt=job.spent)
        if job.state is JobState.QUEUED:
            await self._publish_soon(job)
        return job

    async def _record(self, outcome: Outcome, found: StoredJob | None) -> bool:
        now = self._clock.now()
        reference = outcome.body_ref
        if reference and found is not None:
            try:
                outcome = replace(outcome, body=await self._bodies.get(reference), body_ref="")
            except errors.NotFoundError:
                # Whoever recorded this outcome has deleted its body, and the executor has not heard of it.
                anew = await self._store.get(outcome.job_id)
                if anew is not None and jobs.concerns(anew.job, outcome):
                    raise
                return False
        while found is not None:
            trace = tracing.start().header()
            ending = jobs.finish(found.job, outcome, now=now, keep=self._keep, chance=self._chance, trace=trace)
            if ending is None:
                anew = await self._store.get(outcome.job_id)
                if anew is None or anew.revision == found.revision:
                    return False
                found = anew
                continue
            try:
                await self._store.save_ending(
                    ending, revision=found.revision, letter=letter_of(ending, outcome.head, source=self._replica)
                )
            except storage_port.RevisionConflictError:
                found = await self._store.get(outcome.job_id)
                continue
            self._tell_attempt(found.job, ending.job, outcome)
            self.count(ending.job)
            if reference:
                await self._bodies.delete(reference)
            return True
        return False

    def _tell_attempt(self, before: Job, after: Job, outcome: Outcome) -> None:
        if not self._tracer.enabled:
            return
        context = tracing.parse(before.attempt_trace)
        if context is None or before.claimed_at is None:
            return
        submit = tracing.parse(before.submit_trace)
        failed = after.state is not JobState.DONE
        self._tracer.tell(
            name="job attempt",
            context=context,
            parent_id="",
            start_ns=int(before.claimed_at.timestamp() * _NS),
            end_ns=time.time_ns(),
            kind=tracing.SpanKind.CONSUMER,
            attributes={
                "messaging.system": "nats",
                "messaging.message.id": before.id,
                "faas.name": before.request.function,
                "fnbus.job.attempt": before.attempt,
                "http.response.status_code": outcome.status,
            },
            error=after.last_error or "failed" if failed else "",
            links=(submit,) if submit else (),
        )

    async def _publish_soon(self, job: Job) -> None:
        """Publish an event whose job is stored: if that fails, the due loop does it later."""
        try:
            found = self._catalogue.version(job.request)
            if found is not None:
                await self._publisher.publish(job, found)
        except errors.TemporaryError as error:
            log.warning("the event of job %s waits: %s", job.id, error, extra={"action": "job_publish_deferred", "job": job.id})
            await self._store.update(job.id, lambda each: replace(each, due_at=self._clock.now()))

    def _new_job(
        self,
        job_id: str,
        request: JobRequest,
        *,
        version: VersionEntry,
        max_attempts: int,
        retry: Retry,
        submit_trace: str,
    ) -> Job:
        now = jobs.stored(self._clock.now())
        return Job(
            id=job_id,
            state=JobState.QUEUED,
            request=request,
            created_at=now,
            updated_at=now,
            due_at=now + jobs.PUBLISH_GRACE,
            max_attempts=max_attempts,
            retry=retry,
            timeout_ms=version.policy.timeout_ms,
            submit_trace=submit_trace,
            attempt_trace=tracing.start().header(),
        )

    def count(self, job: Job) -> None:
        """Count a job if it has ended."""
        if job.state in TERMINAL:
            self.ended[job.state.value] = self.ended.get(job.state.value, 0) + 1
