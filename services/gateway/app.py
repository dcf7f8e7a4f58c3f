"""The control plane as an application: operator endpoints and the dialects' routes behind one guard.

FastAPI carries it. The endpoints are plain ones that read their own bodies: the framework's own parsing would answer bad
input with its texts instead of the contract's, and accepting a job would cost several times as much.
"""

import logging
from collections.abc import MutableMapping
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from libs import errors
from libs.messages import heads
from libs.telemetry.ops import PATHS, OpsApp, Receive, Scope, Send
from services.gateway import requests
from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn import executions, health, invoke, jobs, schedules
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, error_response, refusal_response
from services.gateway.requests import Origin
from services.gateway.trust import Trust

log = logging.getLogger(__name__)

_UNGUARDED = frozenset({"/_fn/health"})
_RETRY_SECONDS = "1"
_NOT_FOUND = 404
_REQUEST_ID = "fnbus.request_id"


def create_app(*, plane: Plane, ops: OpsApp, origin: Origin, admin_token: str) -> "ControlPlane":
    """Return the control plane.

    Args:
        plane: what the endpoints work with.
        ops: answers the operator endpoints.
        origin: tells where a request comes from.
        admin_token: opens the control plane to clients that are not on loopback; empty: nobody else.
    """
    routes: list[BaseRoute] = []
    if plane.jobs_enabled:
        # First, for routes are tried in order and jobs are what comes in numbers.
        routes += [
            *_endpoints("/_fn/jobs", POST=jobs.submit(plane), GET=jobs.listing(plane)),
            *_endpoints("/_fn/jobs/{id}", GET=jobs.one(plane), DELETE=jobs.cancel(plane)),
            *_endpoints("/_fn/jobs/{id}/result", GET=jobs.result(plane)),
        ]
    routes += [
        *_endpoints("/_fn/health", GET=health.health(plane)),
        *_endpoints("/_fn/catalog", GET=health.catalog(plane)),
        *_endpoints("/_fn/schedules", GET=schedules.listing(plane)),
        *_endpoints("/_fn/executions", GET=executions.listing(plane)),
        *_endpoints("/_fn/executions/{id}", GET=executions.one(plane)),
        *_endpoints("/_fn/dead-letters", GET=jobs.dead_letters(plane)),
        *_endpoints("/_fn/invoke", POST=invoke.invoke(plane)),
    ]
    app = FastAPI(
        title="fnbus",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        routes=routes,
        exception_handlers={
            HTTPException: _http_error,
            Refusal: _refusal,
            errors.TemporaryError: _temporary,
            errors.PermanentError: _permanent,
            Exception: _defect,
        },
    )
    return ControlPlane(app=app, ops=ops, trust=Trust(origin=origin, admin_token=admin_token))


class ControlPlane:
    """The guard in front of the endpoints (ASGI)."""

    def __init__(self, *, app: FastAPI, ops: OpsApp, trust: Trust) -> None:
        self._app = app
        self._ops = ops
        self._trust = trust

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        if path in PATHS:
            await self._ops(scope, receive, send)
            return
        headers = requests.headers_of(scope["headers"])
        request_id = scope[_REQUEST_ID] = requests.sane_request_id(headers) or heads.request_id()

        async def send_with_id(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        if path not in _UNGUARDED:
            try:
                self._trust.check(method=scope["method"], peer=scope["client"], headers=headers)
            except Refusal as refusal:
                await refusal_response(refusal, request_id=request_id)(scope, receive, send_with_id)
                return
        await self._app(scope, receive, send_with_id)


def _endpoints(path: str, **handlers: Handler) -> list[Route]:
    """Return routes for the methods of a path, and one that refuses the others."""
    allow = ", ".join(handlers).encode()

    async def refuse(_: Request) -> Response:
        raise Refusal(405, "method not allowed", (b"allow", allow))

    return [*(Route(path, handler, methods=[method]) for method, handler in handlers.items()), _any_method(path, refuse)]


def _any_method(path: str, handler: Handler) -> Route:
    route = Route(path, handler)
    route.methods = None
    return route


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return error_response(status, "not found" if status == _NOT_FOUND else "bad request", request_id=_id(request))


async def _refusal(request: Request, error: Exception) -> Response:
    refusal = error if isinstance(error, Refusal) else Refusal(500, "gateway exception")
    return refusal_response(refusal, request_id=_id(request))


async def _temporary(request: Request, error: Exception) -> Response:
    """A service that answers for this is away, or too busy."""
    wait = error.retry_after if isinstance(error, errors.TemporaryError) else None
    after = str(max(1, round(wait))) if wait else _RETRY_SECONDS
    return error_response(
        503, "service unavailable", headers={"retry-after": after}, request_id=_id(request), detail=str(error)
    )


async def _permanent(request: Request, error: Exception) -> Response:
    status = 404 if isinstance(error, errors.NotFoundError) else 409 if isinstance(error, errors.ConflictError) else 400
    return error_response(status, str(error), request_id=_id(request))


async def _defect(request: Request, error: Exception) -> Response:
    log.error("the control plane failed", exc_info=error, extra={"action": "control_exception", "request": _id(request)})
    return error_response(500, "gateway exception", request_id=_id(request))


def _id(request: Request) -> str:
    return str(request.scope.get(_REQUEST_ID, ""))
