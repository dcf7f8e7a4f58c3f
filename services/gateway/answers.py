"""What goes out: a reply, a failure or a refusal as status, headers and body. Pure."""

import re
from typing import Any, cast

import orjson

from libs.messages import calls
from libs.messages.calls import FailureCode, ReplyKind
from services.gateway import requests
from services.gateway.outcomes import Failed, Outcome, Trouble
from services.gateway.pieces import Streamed

type AsgiHeaders = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
_TEXT = (b"content-type", b"text/plain")
_FRAMING = ("content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "date", "server")
_OURS = ("x-request-id", "traceparent", "x-fastfn-function-state", "x-fastfn-warmed", "x-fastfn-warming")
_DROPPED = frozenset((*_FRAMING, *_OURS))
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_SESSION = re.compile(rf"[\s=]*{requests.SESSION_COOKIE}\s*(?:[=;]|\Z)")
"""A cookie that the control plane would take for its own; browsers send one without a name as its value alone."""
_CACHED_HEAD_BYTES = 512
_CACHED_HEADS = 512
_DEPENDENCIES = "dependencies"
"""What an executor's message begins with when a version waits for its dependencies."""
_MIN_STATUS = 200
_MAX_STATUS = 599

CLIENT_GONE = 499
"""For counts and traces only: nobody is there to read it."""


class Refusal(Exception):  # noqa: N818  not a fault of ours
    """A request is answered without running the function.

    Attributes:
        status: HTTP status.
        text: the error, as FastFN words it.
        headers: further response headers.
        more: further keys of the error's body.
    """

    def __init__(self, status: int, text: str, *headers: tuple[bytes, bytes], **more: Any) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers
        self.more = more


class Forward(Exception):  # noqa: N818  not a fault
    """A reply is no answer yet: what it asks for has to be fetched first (`forwarding`).

    Attributes:
        reply: the reply.
    """

    def __init__(self, reply: calls.Reply) -> None:
        super().__init__("to be fetched")
        self.reply = reply


_TROUBLES = {
    Trouble.NO_RESPONDERS: Failed(503, "runtime unavailable", retry=1),
    Trouble.DISCONNECTED: Failed(503, "runtime unavailable", retry=1),
    Trouble.TIMEOUT: Failed(504, "runtime timeout"),
    Trouble.CLIENT_GONE: Failed(CLIENT_GONE, "client closed request"),
    Trouble.MALFORMED: Failed(502, "invalid runtime response"),
    Trouble.TOO_LARGE: Failed(413, "payload too large"),
}


def failure(outcome: Outcome | Failed, *, overflow_status: int) -> Failed | None:
    """Return how a call failed, or None when the guest answered."""
    if isinstance(outcome, Failed):
        return outcome
    if isinstance(outcome, Trouble):
        return _TROUBLES[outcome]
    return failure_of(outcome.reply if isinstance(outcome, Streamed) else outcome, overflow_status=overflow_status)


def failure_of(reply: calls.Reply, *, overflow_status: int) -> Failed | None:
    """Return how a call failed to which there is a reply, or None when the guest answered."""
    kind = reply.kind
    if kind is ReplyKind.ANSWER or kind is ReplyKind.STREAM:
        return None if _MIN_STATUS <= reply.status <= _MAX_STATUS else Failed(502, "invalid runtime response")
    if kind is ReplyKind.BUSY:
        return Failed(overflow_status, "worker pool overflow", retry=1)
    return _without_answer(reply)


def _without_answer(reply: calls.Reply) -> Failed:
    match reply.code:
        case FailureCode.TIMEOUT:
            return Failed(504, "runtime timeout")
        case FailureCode.INVALID_RESPONSE:
            return Failed(502, "invalid runtime response")
        case FailureCode.TOO_LARGE:
            return Failed(502, "runtime error: response too large")
        case FailureCode.UNAVAILABLE if reply.message.startswith(_DEPENDENCIES):
            return Failed(503, reply.message, retry=2, code="dependencies")
        case FailureCode.UNKNOWN_VERSION | FailureCode.UNAVAILABLE:
            return Failed(503, "runtime unavailable", retry=1)
        case FailureCode.MEMORY_LIMIT | FailureCode.CPU_LIMIT | FailureCode.PROCESS_LIMIT:
            return Failed(502, f"runtime error: {reply.message or reply.code.value}", code=reply.code.value)
        case _:
            return Failed(502, f"runtime error: {reply.message or reply.code.value or 'unknown'}")


def error_body(text: str, request_id: str, **more: Any) -> bytes:
    """Return the JSON body that all errors have."""
    return orjson.dumps({"error": text, "request_id": request_id} | more)


class Heads:
    """Answer heads to response headers; short heads are remembered, for most answers of a function have the same."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[AsgiHeaders, bool]] = {}

    def headers(self, reply: calls.Reply) -> AsgiHeaders | None:
        """Return the response headers of an answer, or None when its head is not a list of [name, value]."""
        head = reply.head
        known = self._known.get(head)
        if known is None:
            headers = parse_head(head)
            if headers is None:
                return None
            known = headers, any(name == _TEXT[0] for name, _ in headers)
            if len(head) <= _CACHED_HEAD_BYTES:
                if len(self._known) >= _CACHED_HEADS:
                    self._known.clear()
                self._known[head] = known
        headers, typed = known
        if not typed and (reply.body or reply.kind is ReplyKind.STREAM):
            return [*headers, _TEXT]
        return headers


def parse_head(head: bytes) -> AsgiHeaders | None:
    """Return an answer's head as headers without those the server itself decides; None when it is not a head.

    Nobody but the control plane sets its cookie: a function could log a visitor in as somebody else.
    """
    try:
        loaded: object = orjson.loads(head) if head else []
    except orjson.JSONDecodeError:
        return None
    if not isinstance(loaded, list):
        return None
    headers: AsgiHeaders = []
    for pair in cast("list[object]", loaded):
        match pair:
            case [str(name), str(value)] if _NAME.fullmatch(name) and _VALUE.fullmatch(value):
                name = name.lower()
                if name not in _DROPPED and not (name == "set-cookie" and _SESSION.match(value)):
                    headers.append((name.encode("ascii"), _encode(value)))
            case _:
                return None
    return headers


def _encode(value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
