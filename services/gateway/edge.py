"""The call path: a raw ASGI application that turns a request into a call and its outcome into an answer.

Steps, in this order: route, host, method, body size, admission, body, bus, answer. Operator endpoints and `/_fn/*` go to the
control plane. This runs for every call: no task, timer or parser of its own that can be avoided (see `calls`, `callee`).
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from libs.messages import heads
from libs.telemetry.ops import PATHS, Receive, Scope, Send
from services.gateway import answers, requests, turn
from services.gateway.answers import Refusal
from services.gateway.callee import Callee
from services.gateway.calls import Caller
from services.gateway.connection import send_whole
from services.gateway.exchange import Exchange
from services.gateway.finish import Answer, Finish, refused
from services.gateway.ledger import Ledger
from services.gateway.outcomes import CLIENT_LEFT
from services.gateway.outflow import Outflow
from services.gateway.pieces import Streamed
from services.gateway.relay import discard, relay
from services.gateway.routing import paths
from services.gateway.routing.table import Match, Table, Verdict

log = logging.getLogger(__name__)

_CONTROL = "/_fn"


class Edge:
    """The gateway's ASGI application."""

    def __init__(
        self,
        *,
        table: Table[Callee],
        caller: Caller,
        control: Any,
        origin: requests.Origin,
        ledger: Ledger,
        max_in_flight: int,
    ) -> None:
        """Answer calls to what is in `table`; hand `/_fn/*` and operator endpoints to `control` (ASGI)."""
        self._table = table
        self._caller = caller
        self._control = control
        self._origin = origin
        self._ledger = ledger
        self._max_in_flight = max_in_flight
        self._finish = Finish()
        self._given_ids: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path in PATHS or (path.startswith(_CONTROL) and path[4:5] in ("/", "")):
            await self._control(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        if self._ledger.traced:
            exchange.began_ns = time.time_ns()
        given = requests.sane_request_id(exchange.headers)
        # An id names a call to the executors, so one that is in use here cannot be taken for a second call.
        exchange.id = given if given and given not in self._given_ids else heads.request_id()
        if given:
            self._given_ids.add(exchange.id)
        try:
            await self._answer(exchange)
        finally:
            if given:
                self._given_ids.discard(exchange.id)

    async def _answer(self, exchange: Exchange) -> None:
        try:
            callee, params = self._route(exchange)
            await self._serve(exchange, callee, params)
        except Refusal as refusal:
            await self._send(exchange, refused(exchange, refusal))
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("a call failed in the gateway", extra={"action": "gateway_exception", "request": exchange.id})
            await self._send(exchange, refused(exchange, Refusal(500, "gateway exception")))

    def _route(self, exchange: Exchange) -> tuple[Callee, Mapping[str, str]]:
        """Find who is called.

        Raises:
            Refusal: nobody, or not like this.
        """
        scope = exchange.scope
        try:
            exchange.path = paths.canonical(scope["raw_path"])
        except paths.BadPathError as error:
            raise Refusal(error.status, error.text) from None
        match = self._table.match(exchange.path, exchange.method, self._origin.host(scope["client"], exchange.headers))
        if match.verdict is not Verdict.FOUND or match.target is None:
            raise _unmatched(match)
        exchange.pattern = match.target.pattern
        exchange.callee = callee = match.target.owner
        return callee, match.params

    async def _serve(self, exchange: Exchange, callee: Callee, params: Mapping[str, str]) -> None:
        gate = callee.gate
        length = requests.content_length(exchange.headers)
        if length > callee.max_body_bytes:
            raise Refusal(413, "payload too large")
        # Asked before the body is read, so that a flood is shed early; entered after, so that a slow sender holds no slot.
        if gate.full or self._caller.in_flight >= self._max_in_flight:
            raise turn.overflow(gate)
        body = await _read_body(exchange, callee.max_body_bytes) if length else b""
        if not gate.enter():
            exchange.waited_ms = await turn.wait(gate, budget_ms=callee.budget_ms, gone=exchange.gone)
            exchange.queued = True
        try:
            invocation = exchange.invocation(callee, params, body, origin=self._origin)
            exchange.admit_ms = (time.perf_counter() - exchange.began) * 1000 - exchange.waited_ms
            outcome = await self._caller.call(callee.subject, invocation, traceparent=exchange.traceparent, gone=exchange.gone)
            if isinstance(outcome, Streamed):
                await self._stream(exchange, callee, outcome)
                return
        finally:
            gate.leave()
        await self._send(exchange, self._finish.answer(exchange, callee, outcome))

    async def _stream(self, exchange: Exchange, callee: Callee, stream: Streamed) -> None:
        """Answer piece by piece."""
        try:
            answer = self._finish.answer(exchange, callee, stream)
            if answer.error:
                await self._send(exchange, answer)
                return
            outflow = Outflow(exchange.send)
            if answer.bodiless:
                stream.answered = True
            outflow.begin(answer.status, answer.headers, answer.body, bodiless=answer.bodiless)
            self._ledger.count(exchange, answer.status)
            broken = await (discard(stream) if answer.bodiless else relay(stream, outflow))
        finally:
            stream.close()
        if broken:
            log.info("a streamed answer broke off: %s", broken, extra={"action": "stream_broken", "request": exchange.id})
        self._ledger.streamed(exchange, answer.status, broken)

    async def _send(self, exchange: Exchange, answer: Answer) -> None:
        status, headers, body = answer.status, answer.headers, answer.body
        if status != answers.CLIENT_GONE and not send_whole(exchange.send, status, headers, body):
            await exchange.send({"type": "http.response.start", "status": status, "headers": headers})
            await exchange.send({"type": "http.response.body", "body": body})
        self._ledger.note(exchange, status, answer.error)


def _unmatched(match: Match[Callee]) -> Refusal:
    match match.verdict:
        case Verdict.CONFLICT:
            return Refusal(409, "ambiguous function")
        case Verdict.WRONG_HOST:
            return Refusal(421, "host not allowed")
        case Verdict.WRONG_METHOD:
            return Refusal(405, "method not allowed", (b"allow", ", ".join(match.allow).encode()))
        case Verdict.OPTIONS:
            return Refusal(204, "", (b"allow", ", ".join(match.allow).encode()))
        case _:
            return Refusal(404, "not found")


async def _read_body(exchange: Exchange, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        Refusal: it is larger than `limit`, or the client left before it was complete.
    """
    message: Mapping[str, Any] = await exchange.receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body") and message["type"] == "http.request" and len(body) <= limit:
        return body
    pieces, size = [body], len(body)
    while message["type"] == "http.request" and size <= limit and message.get("more_body"):
        message = await exchange.receive()
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
    if message["type"] != "http.request":
        raise Refusal(answers.CLIENT_GONE, CLIENT_LEFT)
    if size > limit:
        raise Refusal(413, "payload too large")
    return b"".join(pieces)
