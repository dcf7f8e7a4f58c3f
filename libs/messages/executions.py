"""The records of what ran: made by executors in batches, kept by the registry."""

from datetime import datetime
from enum import StrEnum

from libs.messages.calls import FailureCode
from libs.messages.codec import record


class ExecutionKind(StrEnum):
    """What started it."""

    CALL = "call"
    JOB = "job"


@record()
class Execution:
    """One run of a function."""

    id: str
    """Request id of a call, `<job id>@<attempt>` of a job."""
    namespace: str
    runtime: str
    function: str
    version: str
    digest: str
    kind: ExecutionKind
    executor: str
    started_at: datetime
    status: int
    """HTTP status of the answer; 0 without one."""
    code: FailureCode = FailureCode.NONE
    error: str = ""
    """For the owner: type, message and stack of what failed."""
    cold: bool = False
    queue_us: int = 0
    cold_us: int = 0
    run_us: int = 0
    cpu_us: int = 0
    peak_kib: int = 0
    """Largest resident size of the worker so far."""
    bytes_in: int = 0
    bytes_out: int = 0
    stdout: str = ""
    """Bounded; `truncated` says when something was cut."""
    stderr: str = ""
    truncated: bool = False
    trace_id: str = ""


@record()
class ExecutionBatch:
    """Executions that ended on one executor since its last batch."""

    executor: str
    executions: tuple[Execution, ...]


@record()
class ExecutionList:
    """Ask the registry for the newest executions; answered by `Executions`."""

    namespace: str = ""
    function: str = ""
    """Empty: of all functions."""
    limit: int = 50


@record()
class ExecutionGet:
    """Ask the registry for one execution by id; answered by `Execution`."""

    id: str


@record()
class Executions:
    """Executions, newest first."""

    executions: tuple[Execution, ...]
