"""The control plane as an application: operator endpoints and the dialects' routes behind one guard.

One table holds the endpoints. A request that one of them is for goes straight to it, for the framework's layers and its walk
over the routes cost more than accepting a job does; FastAPI knows the same endpoints and answers everything else. They are
plain ones that read their own bodies: the framework's own parsing would answer bad input with its texts instead of FastFN's.
"""

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libs import errors
from libs.messages import heads
from libs.telemetry.ops import PATHS, OpsApp, Receive, Scope, Send
from services.gateway import requests
from services.gateway.actors import REQUEST_ID
from services.gateway.answers import Refusal
from services.gateway.connection import send_whole
from services.gateway.dialects.fastfn import (
    audit,
    dashboard,
    executions,
    health,
    invoke,
    jobs,
    login,
    logs,
    schedules,
    secrets,
    steering,
    ui_state,
)
from services.gateway.dialects.fastfn.console import endpoints as console
from services.gateway.dialects.fastfn.docs import Docs
from services.gateway.dialects.fastfn.login import Logins
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, error_response, refusal_response
from services.gateway.dialects.fastfn.tails import PATH as LIVE_LOGS
from services.gateway.dialects.fastfn.tails import Tails
from services.gateway.guard.gate import CALLER, Guard

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1
_NOT_FOUND = 404
_ID_AT = 3
"""Which part of a path is the `{id}` of its template."""

type Endpoints = dict[str, dict[str, Handler]]
"""Path template, then method."""


def create_app(*, plane: Plane, tails: Tails, docs: Docs, ops: OpsApp, guard: Guard, logins: Logins) -> "ControlPlane":
    """Return the control plane.

    Args:
        plane: what the endpoints work with.
        tails: the endpoint that is followed.
        docs: what is served to readers.
        ops: answers the operator endpoints.
        guard: says who may.
        logins: what logging in works with.
    """
    endpoints: Endpoints = {}
    if plane.jobs_enabled:
        endpoints |= {
            "/_fn/jobs": {"POST": jobs.submit(plane), "GET": jobs.listing(plane)},
            "/_fn/jobs/{id}": {"GET": jobs.one(plane), "DELETE": jobs.cancel(plane)},
            "/_fn/jobs/{id}/result": {"GET": jobs.result(plane)},
            "/_fn/jobs/{id}/retry": {"POST": jobs.retry(plane)},
        }
    endpoints |= {
        "/_fn/health": {"GET": health.health(plane)},
        "/system/metrics": {"GET": health.health(plane)},
        "/openapi.json": {"GET": docs.openapi()},
        "/_fn/openapi.json": {"GET": docs.openapi()},
        "/docs": {"GET": docs.page(files="_fn/docs/", document="_fn/openapi.json")},
        "/_fn/docs": {"GET": docs.page(files="docs/", document="openapi.json")},
        "/_fn/docs/{id}": {"GET": docs.file()},
        "/_fn/catalog": {"GET": health.catalog(plane)},
        "/_fn/schedules": {"GET": schedules.listing(plane)},
        "/_fn/dashboard": {"GET": dashboard.dashboard(plane)},
        "/_fn/logs": {"GET": logs.tail(plane)},
        "/_fn/executions": {"GET": executions.listing(plane)},
        "/_fn/executions/{id}": {"GET": executions.one(plane)},
        "/_fn/versions": {"GET": steering.listing(plane)},
        "/_fn/rollback": {"POST": steering.rollback(plane), "DELETE": steering.unpin(plane)},
        "/_fn/aliases": {
            "GET": steering.aliases(plane),
            "PUT": steering.set_alias(plane),
            "DELETE": steering.remove_alias(plane),
        },
        "/_fn/audit": {"GET": audit.listing(plane)},
        "/_fn/dead-letters": {"GET": jobs.dead_letters(plane)},
        "/_fn/invoke": {"POST": invoke.invoke(plane)},
        "/_fn/login": {"POST": login.login(logins)},
        "/_fn/logout": {"POST": login.logout(logins)},
        "/_fn/secrets/rotate": {"POST": secrets.rotate(plane)},
        "/_fn/secrets": {"GET": secrets.listing(plane), "POST": secrets.put(plane), "DELETE": secrets.remove(plane)},
        "/_fn/ui-state": {
            "GET": ui_state.show(logins.board),
            **dict.fromkeys(("POST", "PUT", "PATCH"), ui_state.change(logins.board)),
            "DELETE": ui_state.reset(logins.board),
        },
    }
    endpoints |= console.endpoints(plane)
    docs.tell([*endpoints.items(), (LIVE_LOGS, ("GET",))])
    app = FastAPI(
        title="fnbus",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        routes=[*tails.routes, *(route for path, handlers in endpoints.items() for route in _routes(path, handlers))],
        exception_handlers={HTTPException: _failed, Refusal: _failed, errors.FnbusError: _failed, Exception: _failed},
    )
    return ControlPlane(endpoints=endpoints, app=app, ops=ops, guard=guard)


class ControlPlane:
    """The guard in front of the endpoints (ASGI)."""

    def __init__(self, *, endpoints: Endpoints, app: FastAPI, ops: OpsApp, guard: Guard) -> None:
        self._endpoints = endpoints
        self._app = app
        self._ops = ops
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        if path in PATHS:
            await self._ops(scope, receive, send)
            return
        headers = requests.headers_of(scope["headers"])
        request_id = scope[REQUEST_ID] = requests.sane_request_id(headers) or heads.request_id()

        async def send_with_id(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            scope[CALLER] = await self._guard.check(path=path, method=scope["method"], peer=scope["client"], headers=headers)
        except Refusal as refusal:
            await refusal_response(refusal, request_id=request_id)(scope, receive, send_with_id)
            return
        handler = self._find(scope)
        if handler is None:
            await self._app(scope, receive, send_with_id)
            return
        request = Request(scope, receive)
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001  whatever it is, there is an answer to it
            response = await _failed(request, error)
        whole = [*response.raw_headers, (b"x-request-id", request_id.encode())]
        if not send_whole(send, response.status_code, whole, bytes(response.body)):
            await response(scope, receive, send_with_id)

    def _find(self, scope: Scope) -> Handler | None:
        """Return the endpoint that a request is for, having put the path's id into the scope."""
        path: str = scope["path"]
        parts = path.split("/")
        if len(parts) > _ID_AT and parts[_ID_AT]:
            scope["path_params"] = {"id": parts[_ID_AT]}
            parts[_ID_AT] = "{id}"
            path = "/".join(parts)
        return self._endpoints.get(path, {}).get(scope["method"])


def _routes(path: str, handlers: Mapping[str, Handler]) -> list[Route]:
    """Return routes for the methods of a path, and one that refuses the others."""
    allow = ", ".join(handlers).encode()

    async def refuse(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"allow": allow.decode()})
        raise Refusal(405, "method not allowed", (b"allow", allow))

    return [*(Route(path, handler, methods=[method]) for method, handler in handlers.items()), _any_method(path, refuse)]


def _any_method(path: str, handler: Handler) -> Route:
    route = Route(path, handler)
    route.methods = None
    return route


async def _failed(request: Request, error: Exception) -> Response:
    """Return the answer to what an endpoint raised."""
    request_id = str(request.scope.get(REQUEST_ID, ""))
    match error:
        case Refusal():
            return refusal_response(error, request_id=request_id)
        case HTTPException():
            status = error.status_code
            return error_response(status, "not found" if status == _NOT_FOUND else "bad request", request_id=request_id)
        case errors.TemporaryError():
            # A service that answers for this is away, or too busy.
            after = str(max(1, round(error.retry_after or _RETRY_SECONDS)))
            return error_response(
                503, "service unavailable", headers={"retry-after": after}, request_id=request_id, detail=str(error)
            )
        case errors.PermanentError():
            status = 404 if isinstance(error, errors.NotFoundError) else 409 if isinstance(error, errors.ConflictError) else 400
            return error_response(status, str(error), request_id=request_id)
        case _:
            log.error("the control plane failed", exc_info=error, extra={"action": "control_exception", "request": request_id})
            return error_response(500, "gateway exception", request_id=request_id)
