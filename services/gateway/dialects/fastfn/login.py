"""`POST /_fn/login` and `/_fn/logout`: a session's cookie, for a name and a password."""

import logging
import math
from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import requests
from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn.shapes import Handler, json_response, read_object
from services.gateway.guard.board import Board
from services.gateway.guard.credentials import Verifier
from services.gateway.guard.gate import caller_of
from services.gateway.guard.rates import Rate
from services.gateway.requests import Origin

log = logging.getLogger(__name__)

_MOST_BYTES = 128 * 1024
_LONGEST = 1024
"""Bytes of a password; nobody has a longer one, and hashing takes time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """What logging in and out works with."""

    board: Board
    verifier: Verifier
    failures: Rate
    origin: Origin
    seconds: int
    """How long a session lasts."""

    def cookie(self, request: Request, token: str) -> str:
        """Return the header that sets a session's cookie, or that takes it away when there is no token."""
        scope = request.scope
        secure = self.origin.scheme(scope["client"], requests.headers_of(scope["headers"]), scope["scheme"]) == "https"
        age = self.seconds if token else 0
        return f"{requests.SESSION_COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{'; Secure' if secure else ''}"


def login(logins: Logins) -> Handler:
    """Return the endpoint that begins a session."""

    async def endpoint(request: Request) -> Response:
        flags = logins.board.flags
        if not (flags.login_enabled or flags.login_api_enabled):
            raise Refusal(404, "login disabled")
        if not logins.verifier.complete:
            log.error("a login is asked for, and there is no name and password", extra={"action": "login_unconfigured"})
            raise Refusal(500, "login credentials are not configured")
        given = await read_object(request, limit=_MOST_BYTES)
        username, password = given.get("username"), given.get("password")
        if not (isinstance(username, str) and isinstance(password, str) and username and password):
            raise Refusal(400, "username and password are required")
        address = caller_of(request.scope).address
        # Counted before it is known to have failed: many at the same time are as many tries.
        wait = logins.failures.take(address)
        if wait:
            raise Refusal(429, "too many login attempts, try again later", (b"retry-after", str(math.ceil(wait)).encode()))
        if len(password.encode("utf-8", "replace")) > _LONGEST or not await logins.verifier.fits(username, password):
            log.warning("a login failed", extra={"action": "login_failed", "client": address})
            raise Refusal(401, "invalid credentials")
        logins.failures.give_back(address)
        token = await logins.board.begin(username, seconds=logins.seconds)
        log.info("%s has logged in", username, extra={"action": "login", "user": username, "client": address})
        headers = {"set-cookie": logins.cookie(request, token), "cache-control": "no-store"}
        return json_response({"ok": True, "user": username}, headers=headers)

    return endpoint


def logout(logins: Logins) -> Handler:
    """Return the endpoint that ends a session, at every gateway."""

    async def endpoint(request: Request) -> Response:
        token = requests.session_token(requests.headers_of(request.scope["headers"]))
        if token:
            await logins.board.end(token)
        headers = {"set-cookie": logins.cookie(request, ""), "cache-control": "no-store"}
        return Response(orjson.dumps({"ok": True}), 200, headers, "application/json")

    return endpoint
