"""What may happen to a job: a pure state machine over its document.

    queued -> running -> done | failed | canceled
       ^---------'  (retry, or a rejection for want of capacity)
       ^------------------------'  (by hand, with as many attempts as it had)

Every function takes the job as it stands and returns it as it should stand, or None when the event does not concern it any
more (a duplicate, a late outcome). Writing the result with compare-and-set on the revision is what makes an outcome count once.
"""

import hashlib
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from libs import errors
from libs.messages.calls import FailureCode
from libs.messages.catalog import Retry
from libs.messages.codec import record
from libs.messages.jobs import TERMINAL, Claim, JobRequest, JobState, JobView, Outcome

FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
INLINE_RESULT_BYTES = 16 * 1024
"""Results up to this size lie in the job's document, larger ones in a document of their own."""
PUBLISH_GRACE = timedelta(seconds=60)
"""How long after its due time a job that is still queued is taken to have been lost by the stream."""
TICK_PUBLISH_GRACE = timedelta(seconds=2)
"""As `PUBLISH_GRACE`, for ticks: the next ones wait for it."""
LEASE_GRACE = timedelta(seconds=60)
"""How long beyond its time limit a running attempt is waited for before it is queued again."""
MAX_RETRY_DELAY_SECONDS = 3600.0
_DONE_BELOW = 500
_MAX_REASON = 1000
_REJECTION_BASE_SECONDS = 0.25
_REJECTION_MAX_SECONDS = 30.0


@record()
class Job:
    """A job as it is stored."""

    id: str
    state: JobState
    request: JobRequest
    created_at: datetime
    updated_at: datetime
    due_at: datetime
    """Queued: when its event is to be published (again). Running: when its lease ends. Ended: never."""
    expires_at: datetime = FOREVER
    """When the document may be forgotten."""
    attempt: int = 0
    """Attempts begun."""
    max_attempts: int = 1
    spent: int = 0
    """Attempts begun before somebody had it tried anew."""
    retry: Retry
    runs: int = 0
    """Times an executor was told to run it."""
    rejections: int = 0
    """Times in a row that no executor had room."""
    timeout_ms: int = 2500
    next_run_at: datetime | None = None
    claimed_at: datetime | None = None
    sequence: int = 0
    """Stream sequence of the event whose claim counts."""
    executor: str = ""
    result_status: int = 0
    result_head: bytes = b""
    result_body: bytes = b""
    result_ref: str = ""
    """Id of the result's own document, when it is large."""
    latency_us: int = 0
    last_error: str = ""
    submit_trace: str = ""
    """`traceparent` of what submitted it; each attempt's trace links to it."""
    attempt_trace: str = ""
    """`traceparent` of the present or next attempt."""
    schedule: str = ""
    """Key of the schedule that fired it."""
    trigger: dict[str, Any] | None = None
    """`event.context.trigger` without the attempt."""
    after: str = ""
    """Id of the run of the same schedule that has to end first."""
    hold_until: datetime | None = None
    """When waiting for `after` is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What an outcome makes of a job."""

    job: Job
    dead: str = ""
    """Reason for a dead letter; empty without one."""
    result: bytes | None = None
    """Body to be stored under `job.result_ref` before the job is written."""


def stored(moment: datetime) -> datetime:
    """Return the moment with the precision that every store keeps (milliseconds)."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def tick_id(schedule: str, nominal: datetime) -> str:
    """Return the id of the job of a schedule's nominal time: the same on every replica, so that one insert wins."""
    ms = int(nominal.timestamp() * 1000)
    digest = hashlib.sha256(f"{schedule}@{ms}".encode("utf-8", "surrogateescape")).digest()
    number = int.from_bytes(digest[:6])
    return f"job-{ms}-{number}-{int.from_bytes(digest[6:10]) % 1_000_000:06d}"


def event_attempt(job: Job) -> int:
    """Return the number of the attempt that the job's next event is for."""
    return job.attempt if job.state is JobState.RUNNING else job.attempt + 1


def message_id(job: Job) -> str:
    """Return the id under which the stream knows the job's next event; a replay after a lost lease is another one."""
    attempt = event_attempt(job)
    replay = f"r{job.runs}" if job.state is JobState.RUNNING else f"-{job.rejections}" if job.rejections else ""
    return f"{job.id}@{attempt}{replay}"


def claim(job: Job, wanted: Claim, *, executor: str, now: datetime) -> Job | None:
    """Return the job as running for this claim, or None when it must not run.

    A redelivery of the event that holds the claim may run again (its executor died); a duplicate event may not, unless the
    lease has ended.
    """
    first = job.state is JobState.QUEUED and wanted.attempt == job.attempt + 1 and not job.after
    again = (
        job.state is JobState.RUNNING
        and wanted.attempt == job.attempt
        and (wanted.sequence == job.sequence or job.due_at <= now)
    )
    if not (first or again):
        return None
    now = stored(now)
    return replace(
        job,
        state=JobState.RUNNING,
        attempt=wanted.attempt,
        runs=job.runs + 1,
        sequence=wanted.sequence,
        executor=executor,
        claimed_at=now,
        updated_at=now,
        next_run_at=None,
        due_at=now + timedelta(milliseconds=job.timeout_ms) + LEASE_GRACE,
    )


def concerns(job: Job, outcome: Outcome) -> bool:
    """Return whether an outcome is that of the attempt that the job is in; else it came late, or again."""
    return job.state is JobState.RUNNING and outcome.attempt == job.attempt and outcome.sequence == job.sequence


def finish(job: Job, outcome: Outcome, *, now: datetime, keep: timedelta, chance: random.Random, trace: str) -> Ending | None:
    """Return what an attempt's outcome makes of the job, or None when it does not count.

    Args:
        job: as it stands.
        outcome: what an executor reports.
        now: the time.
        keep: how long an ended job is remembered.
        chance: source of jitter.
        trace: `traceparent` for the next attempt, should there be one.
    """
    if not concerns(job, outcome):
        return None
    now = stored(now)
    if outcome.rejected:
        return Ending(job=_rejected(job, outcome, now, chance, trace))
    if outcome.code not in _FATAL and 0 < outcome.status < _DONE_BELOW:
        return _ended(job, outcome, now=now, keep=keep)
    reason = _reason(outcome)
    if job.attempt >= job.max_attempts:
        return _ended(job, outcome, now=now, keep=keep, failure=reason)
    pause = retry_delay(job.retry, job.attempt - job.spent, chance)
    pause = max(pause, min(_retry_after(outcome.head), MAX_RETRY_DELAY_SECONDS))
    job = replace(
        job,
        updated_at=now,
        latency_us=outcome.duration_us,
        rejections=0,
        result_status=outcome.status,
        last_error=reason,
    )
    return Ending(job=_queued_again(job, now, pause, trace))


def cancel(job: Job, *, now: datetime, keep: timedelta, reason: str = "") -> Job:
    """Return the job as canceled.

    Raises:
        errors.ConflictError: it has ended already.
    """
    if job.state in TERMINAL:
        raise errors.ConflictError(f"job has ended: {job.state.value}")
    now = stored(now)
    return replace(
        job,
        state=JobState.CANCELED,
        updated_at=now,
        next_run_at=None,
        due_at=FOREVER,
        expires_at=now + keep,
        last_error=reason,
    )


def revive(job: Job, *, now: datetime, trace: str) -> Job:
    """Return a job that was given up as queued, with as many further attempts as it had at first.

    Attempts are counted on, so that nothing of a former one can be taken for one of these. One that was revived under the
    same trace is as it should be: a store may have written it without being able to say so.

    Args:
        job: as it stands.
        now: the time.
        trace: `traceparent` for its next attempt, and nobody else's.

    Raises:
        errors.ConflictError: it was not given up, or has been revived already.
    """
    if job.attempt_trace == trace:
        return job
    if job.state is not JobState.FAILED:
        raise errors.ConflictError(f"job is {job.state.value}")
    now = stored(now)
    return replace(
        job,
        state=JobState.QUEUED,
        updated_at=now,
        due_at=now + PUBLISH_GRACE,
        expires_at=FOREVER,
        spent=job.attempt,
        max_attempts=job.attempt + job.max_attempts - job.spent,
        rejections=0,
        claimed_at=None,
        executor="",
        result_status=0,
        result_head=b"",
        result_body=b"",
        result_ref="",
        attempt_trace=trace,
    )


def give_up(job: Job, *, reason: str, now: datetime, keep: timedelta) -> Ending:
    """Return the job as failed for a reason that no attempt can mend (its function is gone)."""
    now = stored(now)
    failed = replace(
        job, state=JobState.FAILED, updated_at=now, last_error=reason, next_run_at=None, due_at=FOREVER, expires_at=now + keep
    )
    return Ending(job=failed, dead=reason)


def retry_delay(retry: Retry, attempt: int, chance: random.Random) -> float:
    """Return seconds to wait after attempt number `attempt` failed: doubled each time, capped, with jitter to both sides."""
    base = retry.base_delay_seconds * 2.0 ** min(attempt - 1, 40)
    capped = min(base, retry.max_delay_seconds, MAX_RETRY_DELAY_SECONDS)
    return capped * chance.uniform(1 - retry.jitter, 1 + retry.jitter)


def view(job: Job) -> JobView:
    """Return the job as its owner sees it: without what was sent to the function, or a few large ones would fill a message."""
    return JobView(
        id=job.id,
        state=job.state,
        created_at=job.created_at,
        updated_at=job.updated_at,
        request=replace(job.request, body=b"", params={}, query={}, headers={}, user_context=None),
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        retry_delay_ms=round(job.retry.base_delay_seconds * 1000),
        runs=job.runs,
        next_run_at=job.next_run_at,
        result_status=job.result_status,
        last_error=job.last_error,
        trace_id=job.attempt_trace[3:35],
    )


_FATAL = frozenset(set(FailureCode) - {FailureCode.NONE, FailureCode.HANDLER_ERROR})
"""Codes with which a run has failed, whatever its status."""


def _rejected(job: Job, outcome: Outcome, now: datetime, chance: random.Random, trace: str) -> Job:
    pause = min(_REJECTION_BASE_SECONDS * 2.0 ** min(job.rejections, 20), _REJECTION_MAX_SECONDS)
    job = replace(
        job,
        attempt=job.attempt - 1,
        runs=job.runs - 1,
        rejections=job.rejections + 1,
        updated_at=now,
        last_error=outcome.message,
    )
    return _queued_again(job, now, pause * chance.uniform(0.8, 1.2), trace)


def _queued_again(job: Job, now: datetime, pause_seconds: float, trace: str) -> Job:
    due = stored(now + timedelta(seconds=pause_seconds))
    return replace(job, state=JobState.QUEUED, next_run_at=due, due_at=due, attempt_trace=trace, claimed_at=None, executor="")


def _ended(job: Job, outcome: Outcome, *, now: datetime, keep: timedelta, failure: str = "") -> Ending:
    large = len(outcome.body) > INLINE_RESULT_BYTES
    job = replace(
        job,
        state=JobState.FAILED if failure else JobState.DONE,
        updated_at=now,
        latency_us=outcome.duration_us,
        rejections=0,
        last_error=failure,
        due_at=FOREVER,
        expires_at=now + keep,
        result_status=outcome.status,
        result_head=outcome.head,
        result_body=b"" if large else outcome.body,
        result_ref=f"{job.id}@{outcome.attempt}.{outcome.sequence}.{job.runs}" if large else "",
    )
    return Ending(job=job, dead=failure, result=outcome.body if large else None)


def _reason(outcome: Outcome) -> str:
    """Return why an attempt failed, in a length that a list of jobs can bear."""
    told = _told(outcome)
    return told if len(told) <= _MAX_REASON else f"{told[:_MAX_REASON]}…"


def _told(outcome: Outcome) -> str:
    if outcome.message:
        return outcome.message
    try:
        body: Any = orjson.loads(outcome.body)
        told = body.get("error") if isinstance(body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  any JSON
    except ValueError:
        told = None
    return told if isinstance(told, str) and told else f"status {outcome.status}"


def _retry_after(head: bytes) -> float:
    """Return the seconds that an answer's `Retry-After` asks for; 0 without one, or when it is a date."""
    try:
        pairs: list[tuple[str, str]] = orjson.loads(head or b"[]")
        return max((float(value) for name, value in pairs if name.lower() == "retry-after"), default=0.0)
    except (ValueError, TypeError, AttributeError):
        return 0.0
