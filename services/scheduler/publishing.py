"""A job's next attempt as an event on the work queue: its head is made here, and travels as bytes to the guest."""

from dataclasses import replace

from libs.bus import port, streams
from libs.messages import codec, heads, subjects
from libs.messages.catalog import FunctionEntry, VersionEntry
from libs.messages.jobs import JobEvent
from libs.telemetry import tracing
from services.scheduler import jobs
from services.scheduler.jobs import Job


class Publisher:
    """Appends events to the work queue."""

    def __init__(self, *, bus: port.Bus, bodies: port.ObjectStore) -> None:
        """Publish on `bus`; a body too large for a message goes into `bodies`."""
        self._bus = bus
        self._bodies = bodies

    async def publish(self, job: Job, found: tuple[FunctionEntry, VersionEntry]) -> None:
        """Append the event of a job's next attempt; a second time within minutes it is the same message, and counts once.

        Raises:
            port.StreamFullError: the queue is full.
            errors.UnavailableError: the bus cannot be reached.
        """
        event = _event(job, *found)
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


def _event(job: Job, function: FunctionEntry, version: VersionEntry) -> JobEvent:
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
