"""What others are told of a run that has ended: its caller, the history, the trace. Pure, but for the tracer."""

import re
from datetime import UTC, datetime
from typing import Any

from libs.messages.calls import FailureCode, Reply
from libs.messages.executions import ExecutionRow
from libs.telemetry import tracing
from libs.telemetry.tracing import TraceContext, Tracing
from services.executor.calls.runs import Result, Run, Stages
from services.executor.workers.output import NO_OUTPUT


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
        "bytes_in": len(run.body) if run.intake is None else run.intake.size,
        "bytes_out": result.streamed_bytes or len(result.body),
        "trace_id": run.traceparent[3:35],
    }
    if run.admit_us:
        fields["admit_us"] = run.admit_us
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
