"""`/_fn/function`, `/_fn/function-config`, `/_fn/function-env`, `/_fn/function-code`."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from libs import errors
from libs.messages import jobs
from libs.messages.functions import MAX_CODE_BYTES, Changed, ChangeKind, FunctionDetail, FunctionRef
from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn import health
from services.gateway.dialects.fastfn.console import asking, shown
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.schedules import state_of
from services.gateway.dialects.fastfn.shapes import Handler, json_response

_SCHEDULER_SECONDS = 2.0
_CODE = "code exceeds maximum size"


def detail(plane: Plane) -> Handler:
    """Return the endpoint that shows everything about a version."""

    async def endpoint(request: Request) -> Response:
        code = request.query_params.get("include_code") not in ("0", "false")
        found = await asking.detail(plane, asking.target(request), code=code)
        return asking.answer(await _whole(plane, request, found, code=code), found)

    return endpoint


def create(plane: Plane) -> Handler:
    """Return the endpoint that makes a function, or a version of one."""

    async def endpoint(request: Request) -> Response:
        wanted = asking.target(request, missing=400)
        options = await asking.json_body(request)
        code = options.get("code")
        if code is not None and not isinstance(code, str):
            raise Refusal(400, "code must be a string")
        if isinstance(code, str) and len(code.encode()) > MAX_CODE_BYTES:
            raise Refusal(400, _CODE)
        changed = await asking.change(plane, request, ChangeKind.CREATE, wanted=wanted, body=orjson.dumps(options))
        found = _detail_of(changed)
        return asking.answer(await _whole(plane, request, found, code=True), found, 201)

    return endpoint


def delete(plane: Plane) -> Handler:
    """Return the endpoint that removes a function, or a version of one."""

    async def endpoint(request: Request) -> Response:
        wanted = asking.target(request)
        try:
            await asking.change(plane, request, ChangeKind.DELETE, wanted=wanted)
        except errors.NotFoundError:
            raise Refusal(404, "function not found") from None
        version = {"version": wanted.version} if request.query_params.get("version") else {}
        return json_response({"ok": True, "runtime": wanted.runtime, "name": wanted.name, **version})

    return endpoint


def config(plane: Plane) -> Handler:
    """Return the endpoint that shows a version's policy."""

    async def endpoint(request: Request) -> Response:
        found = await asking.detail(plane, asking.target(request), code=False)
        return asking.answer(shown.summary(found, "policy", "fn_env", base_url=_base_url(request)), found)

    return endpoint


def set_config(plane: Plane) -> Handler:
    """Return the endpoint that changes fields of a version's config."""

    async def endpoint(request: Request) -> Response:
        found = await _set(plane, request, ChangeKind.CONFIG)
        return asking.answer(await _whole(plane, request, found, code=False), found)

    return endpoint


def env(plane: Plane) -> Handler:
    """Return the endpoint that shows a version's environment values, the secret ones masked."""

    async def endpoint(request: Request) -> Response:
        found = await asking.detail(plane, asking.target(request), code=False)
        return asking.answer(shown.summary(found, "fn_env", base_url=_base_url(request)), found)

    return endpoint


def set_env(plane: Plane) -> Handler:
    """Return the endpoint that changes environment values of a version."""

    async def endpoint(request: Request) -> Response:
        found = await _set(plane, request, ChangeKind.ENV)
        return asking.answer(shown.summary(found, "fn_env", base_url=_base_url(request)), found)

    return endpoint


def set_code(plane: Plane) -> Handler:
    """Return the endpoint that replaces a version's handler."""

    async def endpoint(request: Request) -> Response:
        wanted = asking.target(request)
        code = (await asking.json_body(request)).get("code")
        if not isinstance(code, str):
            raise Refusal(400, "code must be a string")
        data = code.encode(errors="surrogatepass")
        if len(data) > MAX_CODE_BYTES:
            raise Refusal(400, _CODE)
        found = _detail_of(await asking.change(plane, request, ChangeKind.CODE, wanted=wanted, body=data))
        return asking.answer(shown.summary(found, "policy", "code", base_url=_base_url(request)), found)

    return endpoint


async def _set(plane: Plane, request: Request, kind: ChangeKind) -> FunctionDetail:
    wanted = asking.target(request)
    body = orjson.dumps(await asking.json_body(request))
    return _detail_of(await asking.change(plane, request, kind, wanted=wanted, body=body))


def _detail_of(changed: Changed) -> FunctionDetail:
    if changed.detail is None:
        raise errors.TemporaryError("the registry did not say what the function is now")
    return changed.detail


async def _whole(plane: Plane, request: Request, found: FunctionDetail, *, code: bool) -> dict[str, Any]:
    runtime = health.runtimes_of(plane.alive()).get(found.entry.runtime) or health.runtime_of(())
    target = FunctionRef(runtime=found.entry.runtime, name=found.entry.name, version=found.version)
    has_schedule = any(version.label == found.version and version.schedule for version in found.entry.versions)
    return shown.detail(
        found,
        base_url=_base_url(request),
        health=runtime["health"],
        schedule_state=await _schedule_state(plane, target) if has_schedule else None,
        code=code,
    )


async def _schedule_state(plane: Plane, target: FunctionRef) -> dict[str, Any] | None:
    """Return what became of a schedule; None while no scheduler says."""
    try:
        views = await plane.ask_scheduler(
            "schedules",
            jobs.ScheduleList(),
            jobs.ScheduleViews,
            seconds=_SCHEDULER_SECONDS,
        )
    except errors.FnbusError:
        return None
    for view in views.schedules:
        if (view.runtime, view.function, view.version) == (target.runtime, target.name, target.version):
            return state_of(view)
    return None


def _base_url(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers.get('host', '127.0.0.1')}"
