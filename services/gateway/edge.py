"""The call path: a raw ASGI application that turns a request into a call and its outcome into an answer.

Steps, in this order: route, host, method, body size, admission, body, bus, answer. Operator endpoints and `/_fn/*` go to the
control plane. This runs for every call: no task, timer or parser of its own that can be avoided (see `calls`, `callee`).
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from libs.messages import calls, heads
from libs.telemetry import tracing
from libs.telemetry.ops import PATHS, Receive, Scope, Send
from services.gateway import answers, requests
from services.gateway.admission import Gate
from services.gateway.answers import Refusal
from services.gateway.callee import Callee
from services.gateway.calls import Caller, Outcome
from services.gateway.connection import send_whole
from services.gateway.metrics import Meter
from services.gateway.routing import paths
from services.gateway.routing.table import Match, Table, Verdict

log = logging.getLogger(__name__)

_CONTROL = "/_fn"
_RETRY_AFTER = (b"retry-after", b"1")
_WARM = (b"x-fastfn-function-state", b"warm")
_COLD = (b"x-fastfn-function-state", b"cold")
_WARMED = (b"x-fastfn-warmed", b"true")
_WARMING = (b"x-fastfn-warming", b"true")
_SERVER_ERROR = 500
_BODILESS = frozenset({204, 205, 304})


class _Exchange:
    """One request and what is known of it so far."""

    __slots__ = (
        "began",
        "began_ns",
        "callee",
        "headers",
        "id",
        "method",
        "parent",
        "path",
        "pattern",
        "receive",
        "scope",
        "send",
        "trace",
        "traceparent",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began = time.perf_counter()
        self.began_ns = 0
        self.scope = scope
        self.receive = receive
        self.send = send
        self.method: str = scope["method"]
        self.headers = requests.headers_of(scope["headers"])
        parent = self.headers.get("traceparent")
        given = tracing.parse(parent) if isinstance(parent, str) else None
        self.trace = given.child() if given else tracing.start()
        self.traceparent = self.trace.header()
        self.parent = given.span_id if given else ""
        self.id = ""
        self.path = ""
        self.pattern = ""
        self.callee: Callee | None = None

    async def gone(self) -> None:
        """Return when the client has gone away, or has been answered."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


class Edge:
    """The gateway's ASGI application."""

    def __init__(
        self,
        *,
        table: Table[Callee],
        caller: Caller,
        control: Any,
        origin: requests.Origin,
        tracer: tracing.Tracing,
        meter: Meter,
        max_in_flight: int,
    ) -> None:
        """Answer calls to what is in `table`; hand `/_fn/*` and operator endpoints to `control` (ASGI)."""
        self._table = table
        self._caller = caller
        self._control = control
        self._origin = origin
        self._tracer = tracer
        self._meter = meter
        self._max_in_flight = max_in_flight
        self._heads = answers.Heads()
        self._given_ids: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path in PATHS or (path.startswith(_CONTROL) and path[4:5] in ("/", "")):
            await self._control(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        if self._tracer.enabled:
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

    async def _answer(self, exchange: _Exchange) -> None:
        try:
            callee, params = self._route(exchange)
            await self._serve(exchange, callee, params)
        except Refusal as refusal:
            await self._refuse(exchange, refusal)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("a call failed in the gateway", extra={"action": "gateway_exception", "request": exchange.id})
            await self._refuse(exchange, Refusal(500, "gateway exception"))

    def _route(self, exchange: _Exchange) -> tuple[Callee, Mapping[str, str]]:
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

    async def _serve(self, exchange: _Exchange, callee: Callee, params: Mapping[str, str]) -> None:
        gate = callee.gate
        length = requests.content_length(exchange.headers)
        if length > callee.max_body_bytes:
            raise Refusal(413, "payload too large")
        # Asked before the body is read, so that a flood is shed early; entered after, so that a slow sender holds no slot.
        if gate.full or self._caller.in_flight >= self._max_in_flight:
            raise self._overflow(gate)
        body = await _read_body(exchange, callee.max_body_bytes) if length else b""
        if not gate.enter():
            raise self._overflow(gate)
        try:
            invocation = self._invocation(exchange, callee, params, body)
            admitted = time.perf_counter()
            outcome = await self._caller.call(callee.subject, invocation, traceparent=exchange.traceparent, gone=exchange.gone)
        finally:
            gate.leave()
        await self._finish(exchange, callee, outcome, admit_ms=(admitted - exchange.began) * 1000)

    def _invocation(self, exchange: _Exchange, callee: Callee, params: Mapping[str, str], body: bytes) -> calls.Invocation:
        scope = exchange.scope
        query: bytes = scope["query_string"]
        raw_path: str = scope["raw_path"].decode("latin-1")
        headers = exchange.headers
        function = callee.function
        return calls.Invocation(
            id=exchange.id,
            namespace=function.namespace,
            function=function.name,
            runtime=function.runtime,
            version=callee.version.label,
            digest=callee.version.digest,
            budget_ms=callee.budget_ms,
            head=heads.encode(
                id=exchange.id,
                method=exchange.method,
                path=exchange.path,
                raw_path=f"{raw_path}?{query.decode('latin-1')}" if query else raw_path,
                query=requests.query_of(query),
                headers=requests.public(headers),
                params=dict(params),
                client={
                    "ip": self._origin.client_ip(scope["client"], headers),
                    "ua": requests.first(headers, "user-agent"),
                },
                context=callee.context,
                traceparent=exchange.trace.handler().header(),
                pinned=callee.pinned,
            ),
            body=body,
        )

    def _overflow(self, gate: Gate) -> Refusal:
        gate.shed += 1
        return Refusal(gate.overflow_status, "worker pool overflow", _RETRY_AFTER)

    async def _finish(self, exchange: _Exchange, callee: Callee, outcome: Outcome, *, admit_ms: float) -> None:
        """Turn what came of the call into an answer."""
        gate = callee.gate
        reply = outcome if isinstance(outcome, calls.Reply) else None
        failed = answers.failure(outcome, overflow_status=gate.overflow_status)
        headers = self._heads.headers(reply) if reply is not None and failed is None else None
        if reply is None or failed is not None or headers is None:
            failed = failed or answers.Failed(502, "invalid runtime response")
            status, body, retry = failed.status, answers.error_body(failed.text, exchange.id), failed.retry
            headers = [answers.JSON]
        else:
            status, body, retry = reply.status, reply.body, False
        if status == answers.CLIENT_GONE:
            self._note(exchange, status, "client closed request")
            return
        cold = reply.cold if reply is not None else not gate.warmed
        headers = [*headers, _COLD if cold else _WARM]
        if status < _SERVER_ERROR and not gate.warmed and reply is not None:
            gate.warmed = True
            headers.append(_WARMED)
        if status >= _SERVER_ERROR and cold:
            headers.append(_WARMING)
            retry = True
        if retry:
            headers.append(_RETRY_AFTER)
        headers.append((b"server-timing", _timing(admit_ms, reply)))
        if callee.debug_headers:
            headers += callee.debug_headers
            headers.append((b"x-fn-request-id", exchange.id.encode()))
            headers.append((b"x-fn-latency-ms", b"%.1f" % ((time.perf_counter() - exchange.began) * 1000)))
        await self._send(exchange, status, headers, body)
        self._note(exchange, status, failed.text if failed else "")

    async def _refuse(self, exchange: _Exchange, refusal: Refusal) -> None:
        if refusal.status in _BODILESS:
            await self._send(exchange, refusal.status, list(refusal.headers), b"")
        else:
            headers = [answers.JSON, *refusal.headers]
            await self._send(exchange, refusal.status, headers, answers.error_body(refusal.text, exchange.id, **refusal.more))
        self._note(exchange, refusal.status, refusal.text)

    async def _send(self, exchange: _Exchange, status: int, headers: answers.AsgiHeaders, body: bytes) -> None:
        headers.append((b"x-request-id", exchange.id.encode()))
        headers.append((b"traceparent", exchange.traceparent.encode()))
        if status in _BODILESS:
            body = b""
        if status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(body)))
        if exchange.method == "HEAD":
            body = b""
        if not send_whole(exchange.send, status, headers, body):
            await exchange.send({"type": "http.response.start", "status": status, "headers": headers})
            await exchange.send({"type": "http.response.body", "body": body})

    def _note(self, exchange: _Exchange, status: int, error: str) -> None:
        """Count the call and tell its span, after the answer has gone."""
        self._meter.count(exchange.callee.gate if exchange.callee else None, status, time.perf_counter() - exchange.began)
        if not self._tracer.enabled:
            return
        client = exchange.scope["client"]
        attributes: dict[str, str | int | float | bool] = {
            "http.request.method": exchange.method,
            "http.response.status_code": status,
            "url.path": exchange.path,
            "client.address": client[0] if client else "",
            "fnbus.request_id": exchange.id,
        }
        if exchange.pattern:
            attributes["http.route"] = exchange.pattern
        if exchange.callee:
            attributes["faas.name"] = exchange.callee.function.name
            attributes["fnbus.runtime"] = exchange.callee.function.runtime
        self._tracer.tell(
            name=f"{exchange.method} {exchange.pattern}" if exchange.pattern else exchange.method,
            context=exchange.trace,
            parent_id=exchange.parent,
            start_ns=exchange.began_ns,
            end_ns=time.time_ns(),
            kind=tracing.SpanKind.SERVER,
            attributes=attributes,
            error=(error or f"status {status}") if status >= _SERVER_ERROR else "",
        )


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


def _timing(admit_ms: float, reply: calls.Reply | None) -> bytes:
    if reply is None:
        return b"admit;dur=%.2f" % admit_ms
    return b"admit;dur=%.2f, queue;dur=%.2f, cold;dur=%.2f, run;dur=%.2f" % (
        admit_ms,
        reply.queue_us / 1000,
        reply.cold_us / 1000,
        reply.run_us / 1000,
    )


async def _read_body(exchange: _Exchange, limit: int) -> bytes:
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
        raise Refusal(answers.CLIENT_GONE, "client closed request")
    if size > limit:
        raise Refusal(413, "payload too large")
    return b"".join(pieces)
