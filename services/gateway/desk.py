"""What both ways through the gateway do alike: take a request in, find who is called, answer, write it down.

`edge` is the long way, a coroutine for whatever a request may be; `fastpath` the short one, for the plain call.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

from libs.messages import heads
from libs.telemetry.ops import PATHS, Receive, Scope, Send
from services.gateway import answers, cors, requests, turn
from services.gateway.admission import Gate
from services.gateway.answers import Forward, Refusal
from services.gateway.callee import Callee
from services.gateway.calls import Caller
from services.gateway.connection import send_whole
from services.gateway.exchange import Exchange
from services.gateway.finish import Answer, Finish, coded, refused
from services.gateway.forwarding import Forwarding
from services.gateway.front.front import Front
from services.gateway.front.site import READS
from services.gateway.ledger import Ledger
from services.gateway.outcomes import Outcome
from services.gateway.outflow import Outflow
from services.gateway.pieces import Streamed
from services.gateway.relay import discard, relay
from services.gateway.routing import paths
from services.gateway.routing.table import METHODS, Match, Table, Target, Verdict

log = logging.getLogger(__name__)

_CONTROL = ("/_fn", "/console")
_CONTROL_BELOW = ("/_fn/", "/console/")
_PAGES = frozenset({"/openapi.json", "/docs", "/system/metrics"})
"""The platform's own pages outside of that: a function of the same path goes before them."""


class NotMapped(Refusal):
    """No route leads anywhere."""

    def __init__(self) -> None:
        super().__init__(404, "not found")


def is_control(path: str) -> bool:
    """Whether a path is the control plane's or an operator's, hence no function's."""
    return path in PATHS or (path.startswith(_CONTROL) and (path in _CONTROL or path.startswith(_CONTROL_BELOW)))


class Desk:
    """Everything that a call needs on its way through."""

    def __init__(
        self,
        *,
        table: Table[Callee],
        caller: Caller,
        origin: requests.Origin,
        ledger: Ledger,
        forwarding: Forwarding,
        front: Front,
        max_in_flight: int,
    ) -> None:
        """Answer calls to what is in `table`."""
        self.caller = caller
        self.origin = origin
        self.finish = Finish()
        self._table = table
        self._ledger = ledger
        self._forwarding = forwarding
        self._front = front
        self._max_in_flight = max_in_flight
        self._given_ids: set[str] = set()

    def open(self, scope: Scope, receive: Receive, send: Send) -> Exchange:
        """Take a request in; each is followed by exactly one `close`."""
        exchange = Exchange(scope, receive, send)
        if self._ledger.traced:
            exchange.began_ns = time.time_ns()
        given = requests.sane_request_id(exchange.headers)
        # An id names a call to the executors, so one that is in use here cannot be taken for a second call.
        if given and given not in self._given_ids:
            exchange.id = exchange.given_id = given
            self._given_ids.add(given)
        else:
            exchange.id = heads.request_id()
        return exchange

    def close(self, exchange: Exchange) -> None:
        """Let a request go."""
        if exchange.given_id:
            self._given_ids.discard(exchange.given_id)

    def route(self, exchange: Exchange) -> tuple[Callee, Mapping[str, str]]:
        """Find who is called.

        Raises:
            Refusal: nobody, or not like this.
        """
        scope = exchange.scope
        try:
            exchange.path = paths.canonical(scope["raw_path"])
        except paths.BadPathError as error:
            raise Refusal(error.status, error.text) from None
        files = self._front.site.first
        if files and exchange.path in files and exchange.method in READS:
            raise NotMapped
        host = self.origin.host(scope["client"], exchange.headers)
        match = self._table.match(exchange.path, exchange.method, host)
        if match.verdict is Verdict.NOT_FOUND:
            match = self._at_home(exchange, host) or match
        if match.verdict is not Verdict.FOUND or match.target is None:
            raise _unmatched(match, exchange.headers)
        exchange.pattern = match.target.pattern
        callee = match.target.owner
        if callee.split is not None:
            callee = callee.split.pick()
        exchange.callee = callee
        return callee, match.params

    def _at_home(self, exchange: Exchange, host: str) -> Match[Callee] | None:
        """Return where the home of a folder leads, when its URL was asked for; None when there is none, or it is a redirect."""
        for home in self._front.site.homes.get(exchange.path, ()):
            target = home.target
            if not target:
                break
            match = self._table.match(target if target.startswith("/") else f"/{target}", exchange.method, host)
            if match.verdict is not Verdict.NOT_FOUND:
                return match
            named = self._table.names.find(target)
            if named is not None and not any(route.hosts for route in named.function.routes):
                methods = frozenset(named.version.policy.methods)
                if exchange.method in methods or (exchange.method == "HEAD" and "GET" in methods):
                    return Match(Verdict.FOUND, Target(named.owner, exchange.path, methods, ()))
        return None

    def require_room(self, gate: Gate) -> None:
        """Do nothing while one more call is not too many.

        Raises:
            Refusal: it is.
        """
        if gate.full or self.caller.in_flight >= self._max_in_flight:
            raise turn.overflow(gate)

    async def answer(self, exchange: Exchange, callee: Callee, outcome: Outcome) -> Answer:
        """Return what a call's caller gets, fetched from elsewhere if the handler says so."""
        try:
            return self.finish.answer(exchange, callee, outcome)
        except Forward as asked:
            fetched = await self._forwarding.resolve(callee, asked.reply, began=exchange.began)
        return self.finish.answer(exchange, callee, fetched)

    async def stream(self, exchange: Exchange, callee: Callee, stream: Streamed) -> None:
        """Answer piece by piece."""
        try:
            answer = self.finish.answer(exchange, callee, stream)
            if answer.error:
                await self.send(exchange, answer)
                return
            outflow = Outflow(exchange.send)
            stream.answered = answer.bodiless
            outflow.begin(answer.status, answer.headers, answer.body, bodiless=answer.bodiless)
            self._ledger.count(exchange, answer.status)
            broken = await (discard(stream) if answer.bodiless else relay(stream, outflow))
        finally:
            stream.close()
        if broken:
            log.info("a streamed answer broke off: %s", broken, extra={"action": "stream_broken", "request": exchange.id})
        self._ledger.streamed(exchange, answer.status, broken)

    async def send(self, exchange: Exchange, answer: Answer) -> None:
        """Answer whole."""
        if answer.coding:
            answer = await asyncio.to_thread(coded, answer)
        if not self.send_now(exchange, answer):
            await exchange.send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            await exchange.send({"type": "http.response.body", "body": answer.body})
            self._ledger.note(exchange, answer.status, answer.error)

    def send_now(self, exchange: Exchange, answer: Answer) -> bool:
        """Answer whole, unless that means to wait; return whether it was done."""
        status = answer.status
        if answer.coding:
            return False
        if status != answers.CLIENT_GONE and not send_whole(exchange.send, status, answer.headers, answer.body):
            return False
        self._ledger.note(exchange, status, answer.error)
        return True

    def is_page(self, exchange: Exchange, error: Exception) -> bool:
        """Whether a request that was refused is for a page, or a file: no function has its path."""
        return isinstance(error, NotMapped) and (exchange.scope["path"] in _PAGES or self._front.serves(exchange))

    async def show(self, exchange: Exchange) -> bool:
        """Answer with a home page or a static file; False when the request is for a page of the platform."""
        path: str = exchange.scope["path"]
        if path in _PAGES and self._front.site.find(path, exchange.scope["raw_path"]) is None:
            return False
        try:
            answer = await self._front.answer(exchange)
        except Refusal as refusal:
            answer = refused(exchange, refusal)
        await self.send(exchange, answer)
        return True

    def failed(self, exchange: Exchange, error: Exception) -> Answer:
        """Return the answer to a request that was refused, or that failed here."""
        if not isinstance(error, Refusal):
            extra = {"action": "gateway_exception", "request": exchange.id}
            log.error("a call failed in the gateway", exc_info=error, extra=extra)
            error = Refusal(500, "gateway exception")
        return refused(exchange, error)


def _unmatched(match: Match[Callee], headers: requests.Headers) -> Refusal:
    match match.verdict:
        case Verdict.CONFLICT:
            return Refusal(409, "ambiguous function")
        case Verdict.WRONG_HOST:
            return Refusal(421, "host not allowed")
        case Verdict.WRONG_METHOD:
            return Refusal(405, "method not allowed", (b"allow", ", ".join(match.allow).encode()))
        case Verdict.OPTIONS:
            return Refusal(204, "", (b"allow", ", ".join(match.allow).encode()), *_preflight(match.offers, headers))
        case _:
            return NotMapped()


def _preflight(offers: Sequence[Target[Callee]], headers: requests.Headers) -> cors.Headers:
    """Return the headers by which a browser learns whether its page may call; none when that is not what was asked."""
    wanted = requests.first(headers, "access-control-request-method")
    for target in offers:
        sharing = target.owner.sharing
        if sharing is not None and wanted in target.methods:
            origin = requests.first(headers, "origin")
            methods = [method for method in METHODS if method in target.methods]
            return sharing.preflight(origin, requests.joined(headers, "access-control-request-headers"), methods)
    return []
