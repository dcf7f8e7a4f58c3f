"""The control plane as an application: operator endpoints and the dialects' routes behind one guard.

FastAPI carries it. The endpoints are plain ones that read their own bodies: the framework's own parsing would answer bad
input with its texts instead of the contract's, and accepting a job would cost several times as much.
"""

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from libs import errors
from libs.telemetry.ops import PATHS, OpsApp, Receive, Scope, Send
from services.gateway import requests
from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn import executions, health, invoke, jobs, schedules
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, error_response, refusal_response
from services.gateway.requests import Origin
from services.gateway.trust import Trust

_UNGUARDED = frozenset({"/_fn/health"})
_DEFAULT_RETRY_SECONDS = 1


def create_app(*, plane: Plane, ops: OpsApp, origin: Origin, admin_token: str) -> "ControlPlane":
    """Return the control plane.

    Args:
        plane: what the endpoints work with.
        ops: answers the operator endpoints.
        origin: tells where a request comes from.
        admin_token: opens the control plane to clients that are not on loopback; empty: nobody else.
    """
    routes: list[BaseRoute] = [
        *_endpoints("/_fn/health", GET=health.health(plane)),
        *_endpoints("/_fn/catalog", GET=health.catalog(plane)),
        *_endpoints("/_fn/schedules", GET=schedules.listing(plane)),
        *_endpoints("/_fn/executions", GET=executions.listing(plane)),
        *_endpoints("/_fn/executions/{id}", GET=executions.one(plane)),
        *_endpoints("/_fn/dead-letters", GET=jobs.dead_letters(plane)),
        *_endpoints("/_fn/invoke", POST=invoke.invoke(plane)),
    ]
    if plane.jobs_enabled:
        routes += [
            *_endpoints("/_fn/jobs", POST=jobs.submit(plane), GET=jobs.listing(plane)),
            *_endpoints("/_fn/jobs/{id}", GET=jobs.one(plane), DELETE=jobs.cancel(plane)),
            *_endpoints("/_fn/jobs/{id}/result", GET=jobs.result(plane)),
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
        if path not in _UNGUARDED:
            try:
                headers = requests.headers_of(scope["headers"])
                self._trust.check(method=scope["method"], peer=scope["client"], headers=headers)
            except Refusal as refusal:
                await refusal_response(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)


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


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return error_response(status, "not found" if status == 404 else "method not allowed" if status == 405 else "bad request")


async def _refusal(_: Request, error: Exception) -> Response:
    return refusal_response(error) if isinstance(error, Refusal) else error_response(500, "gateway exception")


async def _temporary(_: Request, error: Exception) -> Response:
    """A service that answers for this is away, or too busy."""
    wait = error.retry_after if isinstance(error, errors.TemporaryError) else None
    after = str(max(1, round(wait))) if wait else str(_DEFAULT_RETRY_SECONDS)
    return error_response(503, "service unavailable", headers={"retry-after": after}, detail=str(error))


async def _permanent(_: Request, error: Exception) -> Response:
    if isinstance(error, errors.NotFoundError):
        return error_response(404, str(error))
    if isinstance(error, errors.ConflictError):
        return error_response(409, str(error))
    return error_response(400, str(error))
