"""One run of a function on its way through the executor: what is asked for, how far it is, and what came of it.

A call and an attempt of a job are the same here: a version, a budget, a head and a body go in, a `Result` comes out
(`results`), and is told to others as a `Reply` and an `ExecutionRow` (`telling`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from libs.messages.calls import FailureCode, Reply, ReplyKind
from libs.messages.executions import ExecutionKind
from services.executor.calls.streams import Flow, OnPiece
from services.executor.catalogue import VersionKey
from services.executor.pool.slots import Call
from services.executor.workers.intake import Intake
from services.executor.workers.output import NO_OUTPUT, Output

type OnDone = Callable[["Run", Reply], None]

_MICRO = 1_000_000


class Run(Call):
    """A call or an attempt: what is to be run, and where it stands."""

    __slots__ = (
        "admit_us",
        "body",
        "budget_seconds",
        "finished",
        "flow",
        "handle",
        "head",
        "id",
        "intake",
        "key",
        "kind",
        "label",
        "looked_at",
        "max_body",
        "on_done",
        "on_piece",
        "received_ns",
        "result",
        "run_seconds",
        "started_at",
        "traceparent",
        "verdict",
    )

    def __init__(
        self,
        *,
        id: str,  # noqa: A002  the record's own name for it
        kind: ExecutionKind,
        key: VersionKey,
        label: str,
        head: bytes,
        body: bytes,
        traceparent: str,
        received: float,
        received_ns: int,
        budget_ms: int,
        on_done: OnDone,
        wait_seconds: float = 0.0,
        handle: str = "",
        on_piece: OnPiece | None = None,
    ) -> None:
        """Describe a run.

        Args:
            id: of the execution.
            kind: call or job.
            key: the version to run.
            label: of the version, for the record.
            head: request head, passed through.
            body: request body, passed through.
            traceparent: the place in the trace that asked for it.
            received: monotonic seconds.
            received_ns: epoch nanoseconds of the same moment.
            budget_ms: what queue, start and handler may take together.
            on_done: called once with the reply.
            wait_seconds: how long it may wait for a worker without that being taken from its budget; 0: the wait is a part
                of the budget.
            handle: what tells it from all other runs, which a client's id does not; empty: the id does.
            on_piece: takes the pieces of a streamed answer; None: it is to be collected.
        """
        super().__init__(version=key, deadline=received + (wait_seconds or budget_ms / 1000))
        self.id = id
        self.handle = handle or id
        self.kind = kind
        self.key = key
        self.label = label
        self.head = head
        self.body = body
        self.admit_us = 0
        """What it waited at the gateway, for the record."""
        self.traceparent = traceparent
        self.queued_at = received
        self.received_ns = received_ns
        self.on_done = on_done
        self.on_piece = on_piece
        self.budget_seconds = budget_ms / 1000
        self.max_body = 0
        """The most bytes that its answer may have; set when it is admitted."""
        self.flow: Flow | None = None
        """Its streamed answer, while that is under way."""
        self.intake: Intake | None = None
        """Its body, when that comes by and by."""
        self.result: Result | None = None
        """What the caller has been told already, while the handler goes on after its answer."""
        self.looked_at = False
        """Whether somebody looked, while others waited, if its handler waits too."""
        self.run_seconds = budget_ms / 1000 if wait_seconds else 0.0
        """Budget of the handler alone; 0 when the deadline stands."""
        self.started_at = 0.0
        """Monotonic seconds at which the worker got it; 0 before."""
        self.verdict: Verdict | None = None
        """Set when its worker is being killed on its account: what the reply will say once it is dead."""
        self.finished = False

    @property
    def apart(self) -> bool:
        """Whether it must have its worker for itself from the start: whoever sends its body would hold the others up."""
        return self.intake is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why there is no answer."""

    code: FailureCode
    message: str
    stage: str = ""
    kind: ReplyKind = ReplyKind.FAILURE


class Result(NamedTuple):
    """What came of a run, before anybody is told.

    A tuple, since one is made for each call, at a fraction of a dataclass's cost.
    """

    kind: ReplyKind = ReplyKind.ANSWER
    status: int = 0
    head: bytes = b""
    body: bytes = b""
    code: FailureCode = FailureCode.NONE
    message: str = ""
    stage: str = ""
    error: str = ""
    """For the owner."""
    cpu_us: int = 0
    peak_kib: int = 0
    output: Output = NO_OUTPUT
    streamed_bytes: int = 0
    """Of a streamed answer: what was sent of its body."""


class Stages(NamedTuple):
    """Where a run's time went, in microseconds."""

    queue_us: int
    cold_us: int
    run_us: int
    cold: bool


def stages(run: Run, now: float) -> Stages:
    """Return where the time of a run that ends now went."""
    begun = run.started_at or now
    cold = int(run.cold_seconds * _MICRO)
    waited = int((begun - run.queued_at) * _MICRO)
    return Stages(max(waited - cold, 0), cold, int((now - begun) * _MICRO), run.cold_seconds > 0.0)
