"""Who asks for a write, for the registry's audit trail."""

from starlette.requests import Request

from libs.messages.audit import Actor
from services.gateway.guard.gate import CALLER, NOBODY
from services.gateway.guard.rules import Caller

REQUEST_ID = "fnbus.request_id"
"""Key of an ASGI scope: the request's id."""


def actor_of(request: Request) -> Actor:
    """Return who sent a request that the guard has let in."""
    caller: Caller = request.scope.get(CALLER, NOBODY)
    return Actor(principal=caller.name, ip=caller.address, request_id=str(request.scope.get(REQUEST_ID, "")))
