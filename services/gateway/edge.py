"""The gateway's ASGI application: operator endpoints and `/_fn/*` go to the control plane, everything else is a call.

Steps of a call, in this order: route, host, method, body size, admission, body, bus, answer. This is the long way, which waits
where there is something to wait for (a body, a slot, a client); plain calls are taken out by `fastpath` before they get here.

A large body that is still being sent is offered to the handler first (`uploads`): if that reads by and by, the call begins
before the body is here. Otherwise an executor says so, and the body is read before the call, from then on for this version.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from libs.messages.calls import Reply, ReplyKind
from libs.telemetry.ops import Receive, Scope, Send
from services.gateway import answers, requests, turn, uploads
from services.gateway.answers import Refusal
from services.gateway.callee import Callee
from services.gateway.desk import Desk, is_control
from services.gateway.exchange import Exchange
from services.gateway.fastpath import FastPath
from services.gateway.outcomes import CLIENT_LEFT
from services.gateway.pieces import Streamed
from services.gateway.uploads import Upload


class Edge:
    """The gateway's ASGI application."""

    def __init__(self, *, desk: Desk, fast: FastPath | None, control: Any) -> None:
        """Answer calls with what is at the desk; hand `/_fn/*` and operator endpoints to `control` (ASGI)."""
        self._desk = desk
        self._fast = fast
        self._control = control

    def take(self, cycle: RequestResponseCycle) -> bool:
        """Take a request whose body is complete, if it can be answered without a task; otherwise it comes to `__call__`."""
        return self._fast is not None and self._fast.take(cycle)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        if is_control(scope["path"]):
            await self._control(scope, receive, send)
            return
        desk = self._desk
        exchange = desk.open(scope, receive, send)
        try:
            callee, params = desk.route(exchange)
            await self._serve(exchange, callee, params)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, there is an answer to it
            if desk.is_page(exchange, error):
                if not await desk.show(exchange):
                    await self._control(scope, receive, send)
                return
            await desk.send(exchange, desk.failed(exchange, error))
        finally:
            desk.close(exchange)

    async def _serve(self, exchange: Exchange, callee: Callee, params: Mapping[str, str]) -> None:
        desk, gate = self._desk, callee.gate
        length = requests.content_length(exchange.headers)
        if length > callee.max_body_bytes:
            raise Refusal(413, "payload too large")
        # Asked before the body is read, so that a flood is shed early; entered after, so that a slow sender holds no slot.
        desk.require_room(gate)
        if length and callee.checks is None and not callee.learned.reads_whole:
            upload = uploads.of(exchange.receive, announced=length, most=callee.max_body_bytes)
            if upload is not None:
                try:
                    if await self._call(exchange, callee, params, b"", upload):
                        return
                finally:
                    upload.close()
                callee.learned.reads_whole = True
        body = await _read_body(exchange, callee.max_body_bytes) if length else b""
        if callee.checks is not None:
            exchange.check(callee.checks, body)
        await self._call(exchange, callee, params, body)

    async def _call(
        self, exchange: Exchange, callee: Callee, params: Mapping[str, str], body: bytes, upload: Upload | None = None
    ) -> bool:
        """Run the handler and answer; return False, and nothing was run, when it wants the body of an upload as a whole."""
        desk, gate = self._desk, callee.gate
        gone = exchange.gone if upload is None else upload.gone
        if not gate.enter():
            exchange.waited_ms = await turn.wait(gate, budget_ms=callee.budget_ms, gone=gone)
            exchange.queued = True
        try:
            invocation = exchange.invocation(callee, params, body, origin=desk.origin)
            exchange.admit_ms = (time.perf_counter() - exchange.began) * 1000 - exchange.waited_ms
            outcome = await desk.caller.call(
                callee.subject, invocation, traceparent=exchange.traceparent, gone=gone, upload=upload
            )
            if isinstance(outcome, Streamed):
                await desk.stream(exchange, callee, outcome)
                return True
            if upload is not None and isinstance(outcome, Reply) and outcome.kind is ReplyKind.WHOLE:
                return False
            answer = await desk.answer(exchange, callee, outcome)
        finally:
            gate.leave()
        await desk.send(exchange, answer)
        return True


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
