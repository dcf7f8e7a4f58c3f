"""Requests from the bus, answered: the scheduler's face to gateways and executors."""

import itertools

from libs import errors
from libs.bus import port as bus_port
from libs.bus import rpc, streams
from libs.messages.jobs import (
    TERMINAL,
    ClaimedJobs,
    ClaimJobs,
    DeadLetterList,
    DeadLetters,
    JobCancel,
    JobGet,
    JobList,
    JobResult,
    JobResultGet,
    JobRetry,
    JobView,
    JobViews,
    OutcomesRecorded,
    RecordOutcomes,
    ScheduleList,
    ScheduleViews,
    SubmitJob,
)
from services.scheduler import jobs
from services.scheduler.dispatch import Dispatch
from services.scheduler.store import JobStore
from services.scheduler.ticks import Ticks

_MAX_LIST = 1000
_LETTER_BYTES = 4096
"""What a dead letter needs besides the bytes that it carries."""


class Handlers:
    """One method per operation."""

    def __init__(
        self, *, dispatch: Dispatch, store: JobStore, ticks: Ticks, bodies: bus_port.ObjectStore, max_payload: int
    ) -> None:
        self._dispatch = dispatch
        self._store = store
        self._ticks = ticks
        self._bodies = bodies
        self._inline_bytes = max_payload - streams.ENVELOPE_BYTES

    async def serve(self, server: rpc.Server) -> None:
        """Answer all operations of the scheduler."""
        await server.serve("submit", SubmitJob, self.submit)
        await server.serve("get", JobGet, self.get)
        await server.serve("list", JobList, self.list)
        await server.serve("result", JobResultGet, self.result)
        await server.serve("cancel", JobCancel, self.cancel)
        await server.serve("retry", JobRetry, self.retry)
        await server.serve("claim", ClaimJobs, self.claim)
        await server.serve("outcome", RecordOutcomes, self.outcome)
        await server.serve("schedules", ScheduleList, self.schedules)
        await server.serve("dead-letters", DeadLetterList, self.dead_letters)

    async def submit(self, request: SubmitJob, traceparent: str) -> JobView:
        """Accept a job: the answer means that it is stored and queued."""
        return jobs.view(await self._dispatch.submit(request, traceparent))

    async def get(self, request: JobGet, _traceparent: str) -> JobView:
        """Return a job."""
        return jobs.view(await self._job(request.id))

    async def list(self, request: JobList, _traceparent: str) -> JobViews:
        """Return the newest jobs."""
        limit = max(1, min(request.limit, _MAX_LIST))
        return JobViews(jobs=tuple(map(jobs.view, await self._store.newest(limit=limit, state=request.state))))

    async def result(self, request: JobResultGet, _traceparent: str) -> JobResult:
        """Return a job's answer, once it has ended with one."""
        job = await self._job(request.id)
        ready = job.state in TERMINAL and job.result_status > 0
        if not ready:
            return JobResult(job=jobs.view(job), ready=False)
        body, reference = await self._store.result_body(job), ""
        if len(body) > self._inline_bytes:
            reference = f"result/{job.id}"
            await self._bodies.put(reference, body)
            body = b""
        return JobResult(
            job=jobs.view(job),
            ready=True,
            status=job.result_status,
            head=job.result_head,
            body=body,
            body_ref=reference,
            latency_ms=job.latency_us / 1000,
        )

    async def retry(self, request: JobRetry, _traceparent: str) -> JobView:
        """Queue a job that was given up once more."""
        return jobs.view(await self._dispatch.retry(request.id))

    async def cancel(self, request: JobCancel, _traceparent: str) -> JobView:
        """Cancel a job that has not ended."""
        return jobs.view(await self._dispatch.cancel(request.id))

    async def claim(self, request: ClaimJobs, _traceparent: str) -> ClaimedJobs:
        """Tell an executor which of the events it received it is to run."""
        return ClaimedJobs(run=await self._dispatch.claim(request))

    async def outcome(self, request: RecordOutcomes, _traceparent: str) -> OutcomesRecorded:
        """Write down how attempts ended."""
        return OutcomesRecorded(recorded=await self._dispatch.record(request.outcomes))

    async def schedules(self, _request: ScheduleList, _traceparent: str) -> ScheduleViews:
        """Return all schedules and their state."""
        return ScheduleViews(schedules=await self._ticks.views())

    async def dead_letters(self, request: DeadLetterList, _traceparent: str) -> DeadLetters:
        """Return the newest dead letters, of large ones only as many as a message takes."""
        letters = await self._store.letters(limit=max(1, min(request.limit, _MAX_LIST)))
        sizes = itertools.accumulate(len(letter.data) + _LETTER_BYTES for letter in letters)
        fitting = sum(size <= self._inline_bytes for size in sizes)
        return DeadLetters(letters=letters[: max(fitting, 1)])

    async def _job(self, job_id: str) -> jobs.Job:
        found = await self._store.get(job_id)
        if found is None:
            raise errors.NotFoundError("job not found")
        return found.job
