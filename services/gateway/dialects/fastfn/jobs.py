"""`/_fn/jobs` and `/_fn/dead-letters`: HTTP in front of the scheduler's requests."""

import base64
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from libs import errors
from libs.bus import port
from libs.messages import jobs
from libs.telemetry import tracing
from services.gateway import answers
from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn import submission, targets
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, error_response, json_response, millis, number, read_body
from services.gateway.routing.index import DEFAULT_LABEL

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 200
_JSON_OVERHEAD = 2
"""A body may be this many times larger as JSON text."""


def submit(plane: Plane) -> Handler:
    """Return the endpoint that accepts a job."""

    async def endpoint(request: Request) -> Response:
        began_ns = time.time_ns()
        given = tracing.parse(request.headers.get("traceparent", ""))
        trace = given.child() if given else tracing.start()
        wanted = submission.parse(await read_body(request, limit=plane.max_body_bytes * _JSON_OVERHEAD))
        place = targets.resolve(plane.catalogue.table, wanted)
        try:
            view = await plane.ask_scheduler(
                "submit",
                _submit(wanted, place, trace.header()),
                jobs.JobView,
                traceparent=trace.header(),
            )
        except port.PayloadTooLargeError:
            raise Refusal(413, "payload too large") from None
        finally:
            plane.tracer.tell(
                name="POST /_fn/jobs",
                context=trace,
                parent_id=given.span_id if given else "",
                start_ns=began_ns,
                end_ns=time.time_ns(),
                kind=tracing.SpanKind.SERVER,
                attributes={"http.request.method": "POST", "http.route": "/_fn/jobs", "faas.name": place.callee.function.name},
            )
        return json_response(meta(view), 201, {"traceparent": trace.header()})

    return endpoint


def listing(plane: Plane) -> Handler:
    """Return the endpoint that lists the newest jobs."""

    async def endpoint(request: Request) -> Response:
        ask = jobs.JobList(
            limit=number(request, "limit", default=_DEFAULT_LIMIT, most=_MAX_LIMIT), state=request.query_params.get("state", "")
        )
        views = await plane.ask_scheduler("list", ask, jobs.JobViews)
        return json_response({"jobs": [meta(view) for view in views.jobs]})

    return endpoint


def one(plane: Plane) -> Handler:
    """Return the endpoint that shows a job."""

    async def endpoint(request: Request) -> Response:
        ask = jobs.JobGet(id=request.path_params["id"])
        return json_response(meta(await _of_one(plane, "get", ask, jobs.JobView)))

    return endpoint


def cancel(plane: Plane) -> Handler:
    """Return the endpoint that cancels a job that has not ended."""
    return _changing(plane, "cancel", jobs.JobCancel, otherwise="job is not queued")


def retry(plane: Plane) -> Handler:
    """Return the endpoint that has a job tried anew that was given up."""
    return _changing(plane, "retry", jobs.JobRetry, otherwise="job has not failed")


def result(plane: Plane) -> Handler:
    """Return the endpoint that gives a job's answer once it has ended."""

    async def endpoint(request: Request) -> Response:
        ask = jobs.JobResultGet(id=request.path_params["id"])
        found = await _of_one(plane, "result", ask, jobs.JobResult)
        job = found.job
        if not found.ready and job.state in jobs.TERMINAL:
            return error_response(404, "result not found", id=job.id, status=job.state.value)
        if not found.ready:
            return error_response(
                202,
                "result not ready",
                id=job.id,
                status=job.state.value,
                attempt=job.attempt,
                max_attempts=job.max_attempts,
                retry_delay_ms=job.retry_delay_ms,
            )
        body = await plane.caller.bodies.get(found.body_ref) if found.body_ref else found.body
        return json_response(
            {"id": job.id, "status": found.status, "headers": head_of(found.head), "latency_ms": found.latency_ms}
            | text_or_base64(body)
        )

    return endpoint


def dead_letters(plane: Plane) -> Handler:
    """Return the endpoint that lists what was given up, with the reason."""

    async def endpoint(request: Request) -> Response:
        ask = jobs.DeadLetterList(limit=number(request, "limit", default=_DEFAULT_LIMIT, most=_MAX_LIMIT))
        found = await plane.ask_scheduler("dead-letters", ask, jobs.DeadLetters)
        letters = [
            {
                "at_ms": millis(letter.at),
                "reason": letter.reason,
                "subject": letter.subject,
                "source": letter.source,
                "job_id": letter.job_id or None,
                "data_base64": base64.b64encode(letter.data).decode(),
            }
            for letter in found.letters
        ]
        return json_response({"dead_letters": letters})

    return endpoint


def meta(view: jobs.JobView) -> dict[str, Any]:
    """Return a job in FastFN's form."""
    request = view.request
    shown: dict[str, Any] = {
        "id": view.id,
        "status": view.state.value,
        "created_at_ms": millis(view.created_at),
        "updated_at_ms": millis(view.updated_at),
        "runtime": request.runtime,
        "name": request.function,
        "method": request.method,
        "route": request.route,
        "route_template": request.route_template,
        "attempt": view.attempt,
        "max_attempts": view.max_attempts,
        "retry_delay_ms": view.retry_delay_ms,
        "runs": view.runs,
    }
    if request.version != DEFAULT_LABEL:
        shown["version"] = request.version
    if view.result_status:
        shown["result_status"] = view.result_status
    if view.last_error:
        shown["last_error"] = view.last_error
    if view.next_run_at is not None:
        shown["next_run_at_ms"] = millis(view.next_run_at)
    if view.trace_id:
        shown["trace_id"] = view.trace_id
    return shown


def head_of(head: bytes) -> dict[str, str | list[str]]:
    """Return an answer's head as a map; a repeated header has a list."""
    headers: dict[str, str | list[str]] = {}
    for name_bytes, value_bytes in answers.parse_head(head) or []:
        name, value = name_bytes.decode("latin-1"), value_bytes.decode("latin-1")
        known = headers.get(name)
        headers[name] = value if known is None else [*(known if isinstance(known, list) else [known]), value]
    return headers


def text_or_base64(body: bytes) -> dict[str, Any]:
    """Return a body as text when it is UTF-8, else as base64."""
    try:
        return {"body": body.decode(), "is_base64": False}
    except UnicodeDecodeError:
        return {"is_base64": True, "body_base64": base64.b64encode(body).decode()}


def _submit(wanted: submission.Submission, place: targets.Place, traceparent: str) -> jobs.SubmitJob:
    function = place.callee.function
    return jobs.SubmitJob(
        request=jobs.JobRequest(
            namespace=function.namespace,
            runtime=function.runtime,
            function=function.name,
            version=place.callee.version.label,
            method=wanted.method,
            route=place.route,
            route_template=place.template,
            params=place.params,
            query=wanted.query,
            headers=wanted.headers,
            body=wanted.body,
            user_context=wanted.context,
        ),
        max_attempts=wanted.max_attempts,
        retry_delay_ms=wanted.retry_delay_ms,
        traceparent=traceparent,
    )


def _changing(plane: Plane, operation: str, kind: type[jobs.JobCancel | jobs.JobRetry], *, otherwise: str) -> Handler:
    """Return the endpoint that changes a job, unless it is in a state in which that cannot be: 409 says `otherwise` then."""

    async def endpoint(request: Request) -> Response:
        try:
            view = await _of_one(plane, operation, kind(id=request.path_params["id"]), jobs.JobView)
        except errors.ConflictError as error:
            raise Refusal(409, otherwise, detail=str(error)) from None
        return json_response(meta(view))

    return endpoint


async def _of_one[T](
    plane: Plane, operation: str, ask: jobs.JobGet | jobs.JobCancel | jobs.JobRetry | jobs.JobResultGet, kind: type[T]
) -> T:
    """Ask the scheduler about one job.

    Raises:
        Refusal: there is none, or its function is gone.
    """
    try:
        return await plane.ask_scheduler(operation, ask, kind)
    except errors.NotFoundError as error:
        raise Refusal(404, str(error)) from None
