"""`POST /_fn/invoke`: run a function by name; what a public call enforces is enforced here too."""

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from libs.messages import calls, heads
from libs.telemetry import tracing
from services.gateway import answers, turn
from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn import jobs, submission, targets
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, error_response, json_response, read_body

_AGENT = "fastfn-console-invoke"
_JSON_OVERHEAD = 2
_MISSING = "missing required path params"
_WRONG_RUNTIME = "runtime must be a non-empty string"


def invoke(plane: Plane) -> Handler:
    """Return the endpoint that runs a function and answers with an envelope."""

    async def endpoint(request: Request) -> Response:
        began = time.perf_counter()

        async def gone() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass

        body = await read_body(request, limit=plane.max_body_bytes * _JSON_OVERHEAD)
        wanted = submission.parse(body, wrong_runtime=_WRONG_RUNTIME)
        place = _place(plane, wanted)
        given = tracing.parse(request.headers.get("traceparent", ""))
        trace = given.child() if given else tracing.start()
        callee = place.callee
        gate = callee.gate
        waited_ms = 0.0
        if queued := not gate.enter():
            waited_ms = await turn.wait(gate, budget_ms=callee.budget_ms, gone=gone)
        try:
            invocation = _invocation(
                wanted, place, trace, client=request.client.host if request.client else "", waited_ms=waited_ms
            )
            outcome = await plane.caller.call(callee.subject, invocation, traceparent=trace.header(), gone=gone)
            if isinstance(outcome, calls.Reply) and outcome.head == calls.PROXY_HEAD:
                outcome = await plane.forwarding.resolve(callee, outcome, began=began)
        finally:
            gate.leave()
        latency = round((time.perf_counter() - began) * 1000, 3)
        headers = {"x-fastfn-queued": "true"} if queued else {}
        failed = answers.failure(outcome, overflow_status=gate.overflow_status)
        if failed is not None or not isinstance(outcome, calls.Reply):
            failed = failed or answers.Failed(502, "invalid runtime response")
            if failed.retry:
                headers["retry-after"] = str(failed.retry)
            return error_response(failed.status, failed.text, headers=headers, latency_ms=latency)
        return json_response(_envelope(outcome, place, latency), headers=headers | {"traceparent": trace.header()})

    return endpoint


def _place(plane: Plane, wanted: submission.Submission) -> targets.Place:
    """Return what is meant.

    Raises:
        Refusal: nothing is; parameters that are missing are named beside the text here, and in it for jobs.
    """
    try:
        return targets.resolve(plane.catalogue.table, wanted, without_route=True)
    except Refusal as refusal:
        if "missing_params" in refusal.more:
            raise Refusal(refusal.status, _MISSING, *refusal.headers, **refusal.more) from None
        raise


def _envelope(reply: calls.Reply, place: targets.Place, latency_ms: float) -> dict[str, Any]:
    return {
        "status": reply.status,
        "latency_ms": latency_ms,
        "route": place.route,
        "route_template": place.template,
        "headers": jobs.head_of(reply.head),
    } | jobs.text_or_base64(reply.body)


def _invocation(
    wanted: submission.Submission, place: targets.Place, trace: tracing.TraceContext, *, client: str, waited_ms: float
) -> calls.Invocation:
    callee = place.callee
    function = callee.function
    request_id = heads.request_id("invoke")
    return calls.Invocation(
        id=request_id,
        namespace=function.namespace,
        function=function.name,
        runtime=function.runtime,
        version=callee.version.label,
        digest=callee.version.digest,
        budget_ms=max(1, callee.budget_ms - int(waited_ms)),
        head=heads.encode(
            id=request_id,
            method=wanted.method,
            path=place.route,
            raw_path=place.route,
            query=wanted.query,
            headers=wanted.headers,
            params=place.params,
            client={"ip": client, "ua": _AGENT},
            context=callee.context,
            traceparent=trace.handler().header(),
            pinned=callee.pinned,
            user=wanted.context,
        ),
        body=wanted.body,
        admit_us=round(waited_ms * 1000),
    )
