"""The records of jobs and schedules: submit, event, claim, outcome, view."""

from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Any

from libs.messages.calls import FailureCode
from libs.messages.codec import record


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"


TERMINAL = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELED})


@record()
class JobRequest:
    """The request that a job makes to its function."""

    namespace: str
    runtime: str
    function: str
    version: str = "default"
    method: str = "GET"
    route: str = ""
    """Concrete path, parameters filled in."""
    route_template: str = ""
    params: dict[str, str] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    body: bytes = b""
    user_context: dict[str, Any] | None = None
    """Becomes `event.context.user`."""


@record()
class SubmitJob:
    """Ask the scheduler to accept a job; answered by a `JobView` once it is stored and queued."""

    request: JobRequest
    max_attempts: int = 1
    retry_delay_ms: int = 1000
    """First retry delay; later ones double, with jitter."""
    traceparent: str = ""


@record()
class JobView:
    """A job as its owner sees it."""

    id: str
    state: JobState
    created_at: datetime
    updated_at: datetime
    request: JobRequest
    """Without body, params, query, headers and user context."""
    attempt: int
    """Attempts begun."""
    max_attempts: int
    retry_delay_ms: int
    runs: int = 0
    """Times the handler was started; above `attempt` only when an executor died."""
    next_run_at: datetime | None = None
    """Set while the job waits for a retry."""
    result_status: int = 0
    """HTTP status of the last attempt; 0 without one."""
    last_error: str = ""
    trace_id: str = ""


@record()
class JobGet:
    """Ask for a job by id; answered by a `JobView`."""

    id: str


@record()
class JobCancel:
    """Ask to cancel a queued or running job; answered by its `JobView`, or a conflict when it has ended."""

    id: str


@record()
class JobRetry:
    """Ask to have a job that was given up tried anew; answered by its `JobView`, or a conflict when it was not given up."""

    id: str


@record()
class JobList:
    """Ask for the newest jobs; answered by `JobViews`."""

    limit: int = 50
    state: str = ""
    """Only jobs of this state; empty: all."""


@record()
class JobViews:
    """Jobs, newest first."""

    jobs: tuple[JobView, ...]


@record()
class JobResultGet:
    """Ask for a job's result; answered by `JobResult`."""

    id: str


@record()
class JobResult:
    """A job and, once it has ended with one, its answer."""

    job: JobView
    ready: bool
    status: int = 0
    head: bytes = b""
    """Answer head as JSON: a list of [name, value] pairs."""
    body: bytes = b""
    body_ref: str = ""
    """Key in the body store, when the body is too large for a message."""
    latency_ms: float = 0.0


@record()
class JobEvent:
    """On the work queue: run this attempt of this job."""

    job_id: str
    attempt: int
    """From 1."""
    max_attempts: int
    namespace: str
    runtime: str
    function: str
    version: str
    timeout_ms: int
    """Budget of the attempt."""
    head: bytes
    """Request head as JSON, see `heads`."""
    body: bytes = b""
    body_ref: str = ""


@record()
class Claim:
    """An executor has received a job event and asks whether to run it."""

    job_id: str
    attempt: int
    sequence: int
    """Stream sequence of the event: the same one again is a redelivery, another one a duplicate."""


@record()
class ClaimJobs:
    """Claims of one executor, answered by `ClaimedJobs` in the same order."""

    executor: str
    claims: tuple[Claim, ...]


@record()
class ClaimedJobs:
    """For each claim, whether to run it; False: acknowledge and drop."""

    run: tuple[bool, ...]


@record()
class Outcome:
    """How one attempt ended."""

    job_id: str
    attempt: int
    sequence: int
    status: int = 0
    """HTTP status of the answer; 0 without one."""
    head: bytes = b""
    body: bytes = b""
    body_ref: str = ""
    code: FailureCode = FailureCode.NONE
    message: str = ""
    rejected: bool = False
    """The attempt was not run (no capacity): it does not count as one."""
    duration_us: int = 0


@record()
class RecordOutcomes:
    """Outcomes of one executor; the reply (`OutcomesRecorded`) comes when they are stored."""

    executor: str
    outcomes: tuple[Outcome, ...]


@record()
class OutcomesRecorded:
    """For each outcome: whether it was the one that counted (False: the job had ended or was claimed anew)."""

    recorded: tuple[bool, ...]


@record()
class CancelJob:
    """Told to all executors: kill the worker that runs this job, if it is yours."""

    job_id: str


@record()
class DeadLetter:
    """A message or job that was given up, with the reason."""

    subject: str
    """Where the message was found."""
    reason: str
    data: bytes
    """The message's bytes as they came."""
    source: str
    """Service and replica that gave it up."""
    at: datetime
    job_id: str = ""


@record()
class DeadLetterList:
    """Ask for the newest dead letters; answered by `DeadLetters`."""

    limit: int = 50


@record()
class DeadLetters:
    """Dead letters, newest first."""

    letters: tuple[DeadLetter, ...]


@record()
class ScheduleList:
    """Ask for all schedules and their state; answered by `ScheduleViews`."""


@record()
class ScheduleView:
    """A schedule and what became of it."""

    namespace: str
    runtime: str
    function: str
    version: str
    schedule: dict[str, Any]
    """As configured."""
    next_at: datetime | None = None
    last_at: datetime | None = None
    last_status: int = 0
    last_error: str = ""
    retry_due: datetime | None = None
    retry_attempt: int = 0
    keep_warm: dict[str, Any] | None = None
    """As configured, when these are the calls that keep a version warm and not its own schedule."""


@record()
class ScheduleViews:
    """All schedules, sorted by function."""

    schedules: tuple[ScheduleView, ...]
