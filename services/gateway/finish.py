"""What came of a request as status, headers and body: everything between an outcome and the connection. No I/O."""

import time
from typing import NamedTuple

from libs.messages import calls
from services.gateway import answers, coding, requests
from services.gateway.answers import AsgiHeaders, Forward, Heads, Refusal
from services.gateway.callee import Callee
from services.gateway.exchange import Exchange
from services.gateway.outcomes import Failed, Outcome
from services.gateway.pieces import Streamed

_RETRY_AFTER = (b"retry-after", b"1")
_WARM = (b"x-fastfn-function-state", b"warm")
_COLD = (b"x-fastfn-function-state", b"cold")
_WARMED = (b"x-fastfn-warmed", b"true")
_WARMING = (b"x-fastfn-warming", b"true")
_QUEUED = (b"x-fastfn-queued", b"true")
_SERVER_ERROR = 500
_BODILESS = frozenset({204, 205, 304})
_LENGTHLESS = (204, 304)


class Answer(NamedTuple):
    """An answer, ready to be sent but for the headers that frame it."""

    status: int
    headers: AsgiHeaders
    body: bytes
    error: str = ""
    """What failed, for counts and traces."""
    bodiless: bool = False
    """Whether no body may follow the head."""
    coding: str = ""
    """What the body is to be coded with before it is sent, and its length told (`coded`): it is large."""


class Finish:
    """Makes answers."""

    def __init__(self) -> None:
        self._heads = Heads()

    def answer(self, exchange: Exchange, callee: Callee, outcome: Outcome | Failed) -> Answer:
        """Return what a call's caller gets; of a streamed one, what it gets first.

        Raises:
            Forward: that has to be fetched first.
        """
        gate = callee.gate
        reply = outcome.reply if type(outcome) is Streamed else outcome if type(outcome) is calls.Reply else None
        if reply is not None:
            failed = answers.failure_of(reply, overflow_status=gate.overflow_status)
            headers = self._heads.headers(reply) if failed is None else None
            if headers is None and failed is None and reply.head == calls.PROXY_HEAD:
                raise Forward(reply)
        else:
            failed, headers = answers.failure(outcome, overflow_status=gate.overflow_status), None
        if reply is None or failed is not None or headers is None:
            failed = failed or Failed(502, "invalid runtime response")
            status, error, retry = failed.status, failed.text, failed.retry
            body = answers.error_body(failed.text, exchange.id, **({"code": failed.code} if failed.code else {}))
            headers = [answers.JSON]
        else:
            status, body, error, retry = reply.status, reply.body, "", 0
        cold = reply.cold if reply is not None else not gate.warmed
        headers = [*headers, _COLD if cold else _WARM]
        if status < _SERVER_ERROR and not gate.warmed and reply is not None:
            gate.warmed = True
            headers.append(_WARMED)
        if status >= _SERVER_ERROR and cold:
            headers.append(_WARMING)
            retry = retry or 1
        if retry:
            headers.append(_RETRY_AFTER if retry == 1 else (b"retry-after", b"%d" % retry))
        headers.append((b"server-timing", _timing(exchange, reply)))
        if callee.debug_headers:
            headers += callee.debug_headers
            headers.append((b"x-fn-request-id", exchange.id.encode()))
            headers.append((b"x-fn-latency-ms", b"%.1f" % ((time.perf_counter() - exchange.began) * 1000)))
        if callee.sharing is not None:
            headers += callee.sharing.answer(requests.first(exchange.headers, "origin"), headers)
        return _framed(exchange, status, headers, body, error, streamed=type(outcome) is Streamed and not error)


def refused(exchange: Exchange, refusal: Refusal) -> Answer:
    """Return the answer to a request for which no function runs."""
    status = refusal.status
    if status in _BODILESS:
        return _framed(exchange, status, list(refusal.headers), b"", refusal.text)
    headers = [answers.JSON, *refusal.headers]
    if exchange.callee is not None and exchange.callee.sharing is not None:
        headers += exchange.callee.sharing.answer(requests.first(exchange.headers, "origin"), headers)
    return _framed(exchange, status, headers, answers.error_body(refusal.text, exchange.id, **refusal.more), refusal.text)


def page(exchange: Exchange, status: int, headers: AsgiHeaders, body: bytes) -> Answer:
    """Return an answer of the gateway's own that is no error."""
    return _framed(exchange, status, list(headers), body, "")


def _framed(
    exchange: Exchange, status: int, headers: AsgiHeaders, body: bytes, error: str, *, streamed: bool = False
) -> Answer:
    """Add what all answers have."""
    if exchange.queued:
        headers.append(_QUEUED)
    headers.append((b"x-request-id", exchange.id.encode()))
    headers.append((b"traceparent", exchange.traceparent.encode()))
    if status in _BODILESS:
        body = b""
    head_only = exchange.method == "HEAD"
    if len(body) >= coding.LEAST_BYTES and not streamed and coding.is_text(headers, status):
        chosen = coding.choose(requests.joined(exchange.headers, "accept-encoding"))
        if not chosen or head_only or len(body) > coding.MOST_BYTES:
            headers = coding.said(headers, "")
        elif len(body) > coding.AT_ONCE_BYTES:
            return Answer(status, headers, body, error, coding=chosen)
        else:
            headers, body = coding.said(headers, chosen), coding.encode(chosen, body)
    if status not in _LENGTHLESS and (not streamed or status in _BODILESS):
        headers.append((b"content-length", b"%d" % len(body)))
    return Answer(status, headers, b"" if head_only else body, error, head_only or status in _BODILESS)


def coded(answer: Answer) -> Answer:
    """Return an answer with its body coded; for a thread."""
    body = coding.encode(answer.coding, answer.body)
    headers = coding.said(answer.headers, answer.coding)
    headers.append((b"content-length", b"%d" % len(body)))
    return answer._replace(headers=headers, body=body, coding="")


def _timing(exchange: Exchange, reply: calls.Reply | None) -> bytes:
    if reply is None:
        if exchange.queued:
            return b"admit;dur=%.2f, queue;dur=%.2f" % (exchange.admit_ms, exchange.waited_ms)
        return b"admit;dur=%.2f" % exchange.admit_ms
    return b"admit;dur=%.2f, queue;dur=%.2f, cold;dur=%.2f, run;dur=%.2f" % (
        exchange.admit_ms,
        reply.queue_us / 1000 + exchange.waited_ms,
        reply.cold_us / 1000,
        reply.run_us / 1000,
    )
