"""The records of what ran: made by executors in batches, kept by the registry.

Thousands of them a second pass under load, and most are never looked at. So an executor packs each once, and what the registry
stores are those bytes beside the few fields that are searched for (`ExecutionRow`); they are decoded when somebody asks.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, cast

import msgpack

from libs.messages import codec
from libs.messages.calls import FailureCode
from libs.messages.codec import MalformedMessageError, record

_VERSION = 1
_packer = msgpack.Packer(datetime=True)
"""Shared, since a packer is dear to make; it calls no Python code."""


class ExecutionKind(StrEnum):
    """What started it."""

    CALL = "call"
    JOB = "job"


@record(version=_VERSION)
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
    """Processor time, that of programs which the handler has run and waited for included."""
    peak_kib: int = 0
    """The most memory of its own that the worker has had so far."""
    bytes_in: int = 0
    bytes_out: int = 0
    stdout: str = ""
    """Bounded; `truncated` says when something was cut."""
    stderr: str = ""
    truncated: bool = False
    trace_id: str = ""
    error_type: str = ""
    """Class of what the handler raised, as its language calls it; empty when it raised nothing."""
    lines: tuple[Any, ...] = ()
    """What was printed, in order of time: `logs.LogLine`s, each a list of its fields, bounded as stdout and stderr are.

    `logs.log_lines` checks and returns them. Executors of earlier releases tell none.
    """
    admit_us: int = 0
    """What a call waited at the gateway for a slot of its function (`worker_pool.max_queue`), before everything else."""


class ExecutionRow(NamedTuple):
    """An execution as it travels and is kept: what it is searched by, and all of it as bytes."""

    id: str
    namespace: str
    function: str
    started_at: datetime
    packed: bytes
    """What `codec.encode` gives for the `Execution`; fields that have their default may be left out."""

    @classmethod
    def of(cls, execution: Execution) -> "ExecutionRow":
        """Return the row of an execution."""
        packed = codec.encode(execution)
        return cls(execution.id, execution.namespace, execution.function, execution.started_at, packed)

    @classmethod
    def of_fields(cls, fields: dict[str, Any]) -> "ExecutionRow":
        """Return the row of the execution with these fields, without the cost of making an `Execution`.

        Those that have their default are better left out: most records are short then. The map is taken over: its caller has
        no more use of it.
        """
        fields[codec.VERSION_FIELD] = _VERSION
        return cls(fields["id"], fields["namespace"], fields["function"], fields["started_at"], _packer.pack(fields))

    def execution(self) -> Execution:
        """Return the execution.

        Raises:
            MalformedMessageError: the bytes are none.
        """
        return codec.decode(Execution, self.packed)


_ROW_TYPES = [str, str, str, datetime, bytes]


@record()
class ExecutionBatch:
    """Executions that ended on one executor since its last batch."""

    executor: str
    executions: Any
    """`ExecutionRow`s, each a list of its fields; `rows` checks and returns them."""

    def rows(self) -> list[ExecutionRow]:
        """Return the rows that came.

        Raises:
            MalformedMessageError: they are none.
        """
        if not isinstance(self.executions, list | tuple):
            raise MalformedMessageError(record="ExecutionBatch", where="executions", fault="expected a list")
        return [_row(item, at) for at, item in enumerate(cast("list[Any]", self.executions))]


def _row(item: Any, at: int) -> ExecutionRow:
    if not isinstance(item, list | tuple) or list(map(type, cast("list[Any]", item))) != _ROW_TYPES:
        raise MalformedMessageError(record="ExecutionBatch", where=f"executions[{at}]", fault="expected a row")
    return ExecutionRow._make(cast("list[Any]", item))


@record()
class ExecutionList:
    """Ask the registry for the newest executions; answered by `Executions`."""

    namespace: str = ""
    function: str = ""
    """Empty: of all functions."""
    limit: int = 50
    failed: bool = False
    """Only those without an answer of the handler's own, or with one of 500 and above."""
    since_ms: int = 0
    """Only those that started at this moment (epoch milliseconds) or later."""


@record()
class ExecutionGet:
    """Ask the registry for one execution by id; answered by `Execution`."""

    id: str


@record()
class Executions:
    """Executions, newest first."""

    executions: tuple[Execution, ...]
