"""The books of the call path: each request is counted, and told to the collector as a span, once it is over."""

import time

from libs.telemetry import tracing
from services.gateway.books import Example
from services.gateway.exchange import Exchange
from services.gateway.journal import Journal, Note
from services.gateway.metrics import Meter

_SERVER_ERROR = 500


class Ledger:
    """Where requests that are over are written down."""

    def __init__(self, *, meter: Meter, tracer: tracing.Tracing, journal: Journal) -> None:
        self._meter = meter
        self._tracer = tracer
        self._journal = journal
        self.traced = tracer.enabled
        """Whether spans are told at all."""

    def note(self, exchange: Exchange, status: int, error: str) -> None:
        """Count a request and tell its span, after the answer has gone."""
        self.count(exchange, status)
        if error:
            self._remember(exchange, status, error)
        if self.traced:
            self.tell(exchange, status, error if status >= _SERVER_ERROR else "")

    def count(self, exchange: Exchange, status: int) -> None:
        """Count an answer; of a streamed one the beginning, for its length is the handler's choice."""
        callee = exchange.callee
        books = callee.gate.books if callee else self._meter.unrouted
        seconds = time.perf_counter() - exchange.began
        books.count(status, seconds)
        if self.traced:
            books.keep(Example(exchange.trace.trace_id, seconds, time.time()))

    def streamed(self, exchange: Exchange, status: int, broken: str) -> None:
        """Write down that a streamed answer, which `count` has counted, is over."""
        self._meter.streams += 1
        self._meter.broken += bool(broken)
        if self.traced:
            self.tell(exchange, status, broken)

    def _remember(self, exchange: Exchange, status: int, error: str) -> None:
        callee = exchange.callee
        self._journal.add(
            Note(
                ms=time.time_ns() // 1_000_000,
                id=exchange.id,
                method=exchange.method,
                path=exchange.scope["raw_path"].decode("latin-1"),  # still encoded, hence one line
                status=status,
                error=" ".join(error.split()),
                runtime=callee.function.runtime if callee else "",
                function=callee.function.name if callee else "",
                version=callee.version.label if callee else "",
            )
        )

    def tell(self, exchange: Exchange, status: int, error: str) -> None:
        """Tell a request's span."""
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
            error=(error or f"status {status}") if error or status >= _SERVER_ERROR else "",
        )
