"""`GET /_fn/executions`: what ran, how it ended, and what it wrote."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from libs.messages import executions, logs
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, json_response, millis, number

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 500
_TRUE = frozenset({"1", "true"})
_LONGEST_MOMENT = 14


def listing(plane: Plane) -> Handler:
    """Return the endpoint that lists the newest executions.

    `function` says of which one, `failed` leaves out those that ended well, `since_ms` those before a moment.
    """

    async def endpoint(request: Request) -> Response:
        since = request.query_params.get("since_ms", "")
        ask = executions.ExecutionList(
            function=request.query_params.get("function", ""),
            limit=number(request, "limit", default=_DEFAULT_LIMIT, most=_MAX_LIMIT),
            failed=request.query_params.get("failed", "") in _TRUE,
            since_ms=int(since) if since.isdecimal() and len(since) <= _LONGEST_MOMENT else 0,
        )
        found = await plane.ask_registry("executions", ask, executions.Executions)
        return json_response({"executions": [_shape(each) for each in found.executions]})

    return endpoint


def one(plane: Plane) -> Handler:
    """Return the endpoint that shows one execution by its request id."""

    async def endpoint(request: Request) -> Response:
        ask = executions.ExecutionGet(id=request.path_params["id"])
        return json_response(_shape(await plane.ask_registry("execution", ask, executions.Execution)))

    return endpoint


def _shape(each: executions.Execution) -> dict[str, Any]:
    return {
        "id": each.id,
        "runtime": each.runtime,
        "name": each.function,
        "version": each.version,
        "digest": each.digest,
        "kind": each.kind.value,
        "executor": each.executor,
        "started_at_ms": millis(each.started_at),
        "status": each.status,
        "code": each.code.value or None,
        "error": each.error or None,
        "error_type": each.error_type or None,
        "cold": each.cold,
        "admit_ms": each.admit_us / 1000,
        "queue_ms": each.queue_us / 1000,
        "cold_ms": each.cold_us / 1000,
        "run_ms": each.run_us / 1000,
        "cpu_ms": each.cpu_us / 1000,
        "peak_kib": each.peak_kib,
        "bytes_in": each.bytes_in,
        "bytes_out": each.bytes_out,
        "stdout": each.stdout,
        "stderr": each.stderr,
        "truncated": each.truncated,
        "lines": [
            {"ms": line.ms, "level": logs.level(line.stream), "stream": line.stream, "text": line.text}
            for line in logs.log_lines(each.lines)
        ],
        "trace_id": each.trace_id or None,
    }
