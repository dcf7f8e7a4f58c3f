"""One run of a function on its way through the executor, and the pure parts of what is made of it.

A call and an attempt of a job are the same here: a version, a budget, a head and a body go in; a `Reply` and an `ExecutionRow`
come out.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from libs.messages.calls import FailureCode, Reply, ReplyKind
from libs.messages.executions import ExecutionKind, ExecutionRow
from libs.telemetry import tracing
from libs.telemetry.tracing import TraceContext, Tracing
from services.executor.catalogue import VersionKey
from services.executor.frames import Frame, FrameType
from services.executor.output import NO_OUTPUT, Output
from services.executor.slots import Call
from services.executor.streams import Flow, OnPiece

type OnDone = Callable[["Run", Reply], None]

_ERROR = int(FrameType.ERROR)
_JSON_HEAD = b'[["content-type","application/json"]]'
_MOST_HEAD_BYTES = 64 * 1024
_LOWEST_STATUS, _HIGHEST_STATUS = 100, 599
_MICRO = 1_000_000
_TOLD_OUTPUT_BYTES = 4096
"""Of each stream, in a header."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")
_SAID_BY_GUESTS = frozenset({
    FailureCode.HANDLER_ERROR, FailureCode.LOAD_ERROR, FailureCode.INVALID_RESPONSE, FailureCode.MEMORY_LIMIT,
})  # fmt: skip
"""What a guest may say of itself. PHP notices by itself that it has used its memory up, before anybody else does."""


class Run(Call):
    """A call or an attempt: what is to be run, and where it stands."""

    __slots__ = (
        "body",
        "budget_seconds",
        "finished",
        "flow",
        "handle",
        "head",
        "id",
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


def of_frame(frame: Frame, output: Output, *, max_body: int, cpu_us: int = 0, peak_kib: int = 0) -> Result:
    """Return what a guest's ANSWER or ERROR means. What the call used is not the guest's to tell."""
    cpu, peak = cpu_us, peak_kib
    if len(frame.body) > max_body:
        return too_large(output, max_body=max_body)
    if frame.type == _ERROR:
        return _of_error(frame, output)._replace(cpu_us=cpu, peak_kib=peak)
    fault = head_fault(frame)
    if fault:
        return invalid(fault, output)._replace(cpu_us=cpu, peak_kib=peak)
    return Result(status=frame.status, head=frame.head, body=frame.body, cpu_us=cpu, peak_kib=peak, output=output)


def of_last(run: Run, frame: Frame, output: Output, *, cpu_us: int = 0, peak_kib: int = 0) -> Result:
    """Return what a run came to by the frame that ends its answer."""
    flow = run.flow
    if flow is None:
        return of_frame(frame, output, max_body=run.max_body, cpu_us=cpu_us, peak_kib=peak_kib)
    if frame.type == _ERROR:
        result = _of_error(frame, output)
        if flow.relayed:
            result = broken_off(flow, result)
    elif flow.relayed:
        result = Result(ReplyKind.STREAM, flow.status, output=output, streamed_bytes=flow.size)
    else:
        result = Result(status=flow.status, head=flow.head, body=b"".join(flow.pieces), output=output)
    return result._replace(cpu_us=cpu_us, peak_kib=peak_kib)


def with_output(result: Result) -> Result:
    """Return a result whose answer has what was printed among its headers, for versions that ask for that."""
    head = result.head
    if result.kind is not ReplyKind.ANSWER or not head.startswith(b"[") or not head.endswith(b"]"):
        return result
    pairs = [
        [name, _UNPRINTABLE.sub(" ", text.encode()[:_TOLD_OUTPUT_BYTES].decode(errors="ignore")).strip()]
        for name, text in (("x-fn-stdout", result.output.stdout), ("x-fn-stderr", result.output.stderr))
        if text
    ]
    if not pairs:
        return result
    comma = b"" if head == b"[]" else b","
    return result._replace(head=head[:-1] + comma + orjson.dumps(pairs)[1:])


def broken_off(flow: Flow, result: Result) -> Result:
    """Return what a failure means once a streamed answer has begun: nothing of it can be taken back."""
    return result._replace(kind=ReplyKind.STREAM, status=flow.status, head=b"", body=b"", streamed_bytes=flow.size)


def head_fault(frame: Frame) -> str:
    """Return what is wrong with the status or the head of an ANSWER or START; empty when nothing is."""
    if not _LOWEST_STATUS <= frame.status <= _HIGHEST_STATUS:
        return f"status {frame.status} is not one"
    if len(frame.head) > _MOST_HEAD_BYTES:
        return f"the answer's headers have {len(frame.head)} bytes, at most {_MOST_HEAD_BYTES}"
    return ""


def invalid(message: str, output: Output) -> Result:
    """Return what an answer that is none means."""
    return Result(kind=ReplyKind.FAILURE, code=FailureCode.INVALID_RESPONSE, message=message, error=message, output=output)


def too_large(output: Output, *, max_body: int) -> Result:
    """Return what an answer beyond the platform's cap means."""
    message = f"the answer is larger than {max_body} bytes"
    return Result(kind=ReplyKind.FAILURE, code=FailureCode.TOO_LARGE, message=message, error=message, output=output)


def of_verdict(verdict: Verdict, output: Output = NO_OUTPUT) -> Result:
    """Return what a run without an answer means."""
    return Result(
        kind=verdict.kind, code=verdict.code, message=verdict.message, stage=verdict.stage, error=verdict.message, output=output
    )


def _of_error(frame: Frame, output: Output) -> Result:
    code, error = _explained(frame.head)
    failed = code is FailureCode.INVALID_RESPONSE
    return Result(
        kind=ReplyKind.FAILURE if failed else ReplyKind.ANSWER,
        status=0 if failed else frame.status,
        head=b"" if failed else _JSON_HEAD,
        body=b"" if failed else frame.body,
        code=code,
        message=error.partition("\n")[0],
        error=error,
        output=output,
    )


def _explained(head: bytes) -> tuple[FailureCode, str]:
    """Return the code and the text for the owner that an ERROR's head holds; the guest is not to be trusted."""
    try:
        found = orjson.loads(head)
        code = FailureCode(found["code"])
        if code not in _SAID_BY_GUESTS:
            code = FailureCode.HANDLER_ERROR
        parts = [str(found.get(name) or "") for name in ("type", "message", "stack")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return FailureCode.HANDLER_ERROR, ""
    title = ": ".join(part for part in parts[:2] if part)
    return code, f"{title}\n{parts[2]}" if parts[2] else title


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


def reply(result: Result, times: Stages, *, executor: str, free: int) -> Reply:
    """Return the message for the caller."""
    return Reply(
        kind=result.kind,
        executor=executor,
        free_slots=free,
        status=result.status,
        head=result.head,
        body=result.body,
        code=result.code,
        message=result.message,
        stage=result.stage,
        cold=times.cold,
        queue_us=times.queue_us,
        cold_us=times.cold_us,
        run_us=times.run_us,
    )


def execution(run: Run, result: Result, times: Stages, *, executor: str) -> ExecutionRow:
    """Return the record of a run. What most runs have nothing to say about is left out of it."""
    key, output = run.key, result.output
    fields: dict[str, Any] = {
        "id": run.id,
        "namespace": key.namespace,
        "runtime": key.runtime,
        "function": key.function,
        "version": run.label,
        "digest": key.digest,
        "kind": run.kind,
        "executor": executor,
        "started_at": datetime.fromtimestamp(run.received_ns / 1e9, UTC),
        "status": result.status,
        "queue_us": times.queue_us,
        "run_us": times.run_us,
        "cpu_us": result.cpu_us,
        "peak_kib": result.peak_kib,
        "bytes_in": len(run.body),
        "bytes_out": result.streamed_bytes or len(result.body),
        "trace_id": run.traceparent[3:35],
    }
    if times.cold:
        fields |= {"cold": True, "cold_us": times.cold_us}
    if result.code:
        fields |= {"code": result.code, "error": result.error, "error_type": _error_type(result)}
    if output is not NO_OUTPUT:
        fields |= {
            "stdout": output.stdout,
            "stderr": output.stderr,
            "truncated": output.truncated,
            "lines": output.lines,
        }
    return ExecutionRow.of_fields(fields)


def _error_type(result: Result) -> str:
    """Return the class that a guest has put before the message of what its handler raised."""
    if result.code not in (FailureCode.HANDLER_ERROR, FailureCode.LOAD_ERROR):
        return ""
    name = result.error.partition("\n")[0].partition(":")[0]
    return name if all(part.isidentifier() for part in re.split(r"\.|::|\\", name)) else ""


def tell_spans(tracer: Tracing, run: Run, result: Result, times: Stages) -> None:
    """Tell the run's spans: queue, cold start, handler. Their parent is what asked for the run."""
    parent = tracing.parse(run.traceparent)
    if parent is None or not parent.sampled:
        return
    queued_ns = run.received_ns + times.queue_us * 1000
    ready_ns = queued_ns + times.cold_us * 1000
    _span(tracer, parent, "queue", run.received_ns, queued_ns)
    if times.cold:
        _span(tracer, parent, "cold start", queued_ns, ready_ns)
    if run.started_at:
        tracer.tell(
            name="handler",
            context=parent.handler(),
            parent_id=parent.span_id,
            start_ns=ready_ns,
            end_ns=ready_ns + times.run_us * 1000,
            attributes={
                "faas.name": run.key.function,
                "faas.version": run.label,
                "faas.coldstart": times.cold,
                "fnbus.runtime": run.key.runtime,
                "fnbus.namespace": run.key.namespace,
                "fnbus.execution": run.id,
                "http.response.status_code": result.status,
            },
            error=result.message or result.code.value if result.code else "",
        )


def _span(tracer: Tracing, parent: TraceContext, name: str, start_ns: int, end_ns: int) -> None:
    tracer.tell(name=name, context=parent.child(), parent_id=parent.span_id, start_ns=start_ns, end_ns=end_ns)
