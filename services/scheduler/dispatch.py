"""Jobs onto the work queue and outcomes back into documents.

A job's document is the record of truth and is written first; the queue holds what is to be run now. What the queue loses
(a crash between the two writes, a broker's disk) is found by the due loop and published again under the same message id.
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
from libs.bus import streams
from libs.clock import Clock
from libs.messages import codec, heads, subjects
from libs.messages.catalog import FunctionEntry, Retry, VersionEntry
from libs.messages.jobs import (
    TERMINAL,
    CancelJob,
    Claim,
    ClaimJobs,
    DeadLetter,
    JobEvent,
    JobRequest,
    JobState,
    Outcome,
    SubmitJob,
)
from libs.storage import port as storage_port
from libs.telemetry import tracing
from services.scheduler import jobs
from services.scheduler.catalogue import Catalogue
from services.scheduler.jobs import Ending, Job
from services.scheduler.store import JobStore, StoredJob

log = logging.getLogger(__name__)

_DUE_BATCH = 500
_CATALOGUE_WAIT_SECONDS = 1.0
_LEAST_HOLD = timedelta(seconds=5)
"""A tick is not skipped sooner: that an outcome comes late, for a scheduler that died, does not mean that its run goes on."""
_UNBEGUN_HOLD = timedelta(seconds=30)
"""How long a tick waits behind one that has not begun."""
_HOLD_POLL = timedelta(milliseconds=250)
_BACKLOG_GRACE = timedelta(minutes=10)
"""As `jobs.PUBLISH_GRACE`, for a job that waits for long: the queue is behind rather than broken."""
_NS = 1_000_000_000


class Dispatch:
    """Accepts jobs, publishes their events, records their outcomes."""

    def __init__(
        self,
        *,
        bus: bus_port.Bus,
        store: JobStore,
        catalogue: Catalogue,
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
        found = await self._catalogue.wait_for(_key(request), request.version, within=_CATALOGUE_WAIT_SECONDS)
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
            await self._publish(job, found)
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
        self._count(job)
        await self._bus.publish(subjects.CANCEL_JOB, codec.encode(CancelJob(job_id=job_id)))
        return job

    async def publish_due(self) -> int:
        """Publish the events of all jobs that are due; return how many were looked at."""
        due = await self._store.due(self._clock.now(), limit=_DUE_BATCH)
        for found in due:
            try:
                await self._publish_one(found)
            except storage_port.RevisionConflictError:
                continue
        return len(due)

    async def _publish_one(self, found: StoredJob) -> None:
        job, revision, now = found.job, found.revision, self._clock.now()
        if job.after:
            job = await self._after(job, now)
            # Written before the event goes out: a claim that finds the job still waiting would be refused.
            revision = await self._store.save(job, revision=revision)
            if job.after or job.state in TERMINAL:
                return
        known = self._catalogue.version(_key(job.request), job.request.version)
        if known is None:
            if self._catalogue.complete.is_set():
                ending = jobs.give_up(job, reason="unknown function or version", now=now, keep=self._keep)
                await self._store.save_ending(ending, revision=revision, letter=self._letter(ending, b""))
                self._count(ending.job)
            return
        if job.state is JobState.RUNNING:
            log.warning("job %s runs again: its executor was lost", job.id, extra={"action": "job_requeued", "job": job.id})
        await self._publish(job, known)
        seen_before = now - job.created_at > jobs.PUBLISH_GRACE
        due = now + (_BACKLOG_GRACE if seen_before else jobs.PUBLISH_GRACE)
        await self._store.save(replace(job, due_at=jobs.stored(due)), revision=revision)

    async def _after(self, job: Job, now: datetime) -> Job:
        """Return a waiting job: free when the earlier run has ended, skipped when it waited long enough."""
        earlier = await self._store.get(job.after)
        while earlier is not None and earlier.job.state is JobState.CANCELED and earlier.job.after:
            # It never ran; what it waited for may go on.
            job = replace(job, after=earlier.job.after)
            earlier = await self._store.get(job.after)
        if earlier is None or earlier.job.state in TERMINAL:
            return replace(job, after="", hold_until=None)
        begun = earlier.job.state is JobState.RUNNING
        patience = job.hold_until if begun else job.created_at + _UNBEGUN_HOLD
        if patience is not None and now >= patience:
            return jobs.cancel(job, now=now, keep=self._keep, reason="skipped: the previous run was still going")
        return replace(job, due_at=jobs.stored(now + _HOLD_POLL))

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
                await self._store.save_ending(ending, revision=found.revision, letter=self._letter(ending, outcome.head))
            except storage_port.RevisionConflictError:
                found = await self._store.get(outcome.job_id)
                continue
            self._tell_attempt(found.job, ending.job, outcome)
            self._count(ending.job)
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
            found = self._catalogue.version(_key(job.request), job.request.version)
            if found is not None:
                await self._publish(job, found)
        except errors.TemporaryError as error:
            log.warning("the event of job %s waits: %s", job.id, error, extra={"action": "job_publish_deferred", "job": job.id})
            await self._store.update(job.id, lambda each: replace(each, due_at=self._clock.now()))

    async def _publish(self, job: Job, found: tuple[FunctionEntry, VersionEntry]) -> None:
        event = self._event(job, *found)
        limit = self._bus.max_payload - streams.ENVELOPE_BYTES
        if len(event.head) + len(event.body) > limit:
            reference = f"job/{jobs.message_id(job)}"
            await self._bodies.put(reference, event.body)
            event = replace(event, body=b"", body_ref=reference)
        request = job.request
        await self._bus.append(
            subjects.job(runtime=request.runtime, namespace=request.namespace, function=request.function),
            codec.encode(event),
            message_id=jobs.message_id(job),
            traceparent=job.attempt_trace,
        )

    def _event(self, job: Job, function: FunctionEntry, version: VersionEntry) -> JobEvent:
        request, attempt = job.request, jobs.event_attempt(job)
        context = tracing.parse(job.attempt_trace)
        trigger = None
        if job.trigger is not None:
            trigger = job.trigger | {"attempt": attempt, "max_attempts": job.max_attempts}
        agent = "fastfn-scheduler" if job.schedule else "fastfn-jobs"
        head = heads.encode(
            id=f"{job.id}@{attempt}",
            method=request.method,
            path=request.route,
            raw_path=request.route,
            query=request.query,
            headers=request.headers,
            params=request.params,
            client={"ip": "127.0.0.1", "ua": agent},
            context=heads.static_context(function, version),
            traceparent=context.handler().header() if context else "",
            pinned="" if version.label == "default" else version.label,
            user=request.user_context,
            trigger=trigger,
        )
        return JobEvent(
            job_id=job.id,
            attempt=attempt,
            max_attempts=job.max_attempts,
            namespace=request.namespace,
            runtime=request.runtime,
            function=request.function,
            version=request.version,
            timeout_ms=version.policy.timeout_ms,
            head=head,
            body=request.body,
        )

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

    def _letter(self, ending: Ending, head: bytes) -> DeadLetter | None:
        if not ending.dead:
            return None
        job, request = ending.job, ending.job.request
        return DeadLetter(
            subject=subjects.job(runtime=request.runtime, namespace=request.namespace, function=request.function),
            reason=f"attempt {job.attempt} of {job.max_attempts}: {ending.dead}",
            data=head,
            source=self._replica,
            at=job.updated_at,
            job_id=job.id,
        )

    def _count(self, job: Job) -> None:
        if job.state in TERMINAL:
            self.ended[job.state.value] = self.ended.get(job.state.value, 0) + 1


def _key(request: JobRequest) -> tuple[str, str, str]:
    return request.namespace, request.runtime, request.function
