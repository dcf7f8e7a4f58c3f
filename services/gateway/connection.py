"""The HTTP connection: uvicorn's own protocol, with limits on heads, errors in our form, answers in one write, and few timers.

What is refused here never becomes a request: it is not HTTP, its target is not ASCII, or its head is too large.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import cast

import orjson
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from libs.telemetry.ops import Send

MAX_HEADERS = 200
MAX_HEAD_BYTES = 64 * 1024
MAX_HELD_BYTES = 64 * 1024
"""Bodies up to this size are read before anything else is done; it is what uvicorn reads before it lets a client wait."""
MAX_DROPPED_BYTES = 128 * 1024 * 1024
"""How much of a body may still come, and be dropped, when its request has been answered: many a client reads the answer only
after it has sent everything. Beyond it the connection is closed."""
DROP_SECONDS = 30.0
"""And for how long."""
_BODY_HEADERS = frozenset({b"expect", b"content-length", b"transfer-encoding"})
_LINE = b"\r\n"
_FIELD = b": "
_END = b"\r\n\r\n"
_END_AND_CLOSE = b"\r\nconnection: close\r\n\r\n"

type Take = Callable[[RequestResponseCycle], bool]
"""What an application may have besides ASGI, as `take`: answers a request whose body is complete, now or later; False leaves it
to the ASGI application."""


class HeadTooLargeError(Exception):
    """A request's head is over the limits; ends the connection with 400."""


def send_whole(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
    """Send an answer with one system call, where the connection allows it; return whether it was sent.

    uvicorn's own `send` writes head and body apart, which wakes the client twice, and looks at each header with regular
    expressions: together a fifth of what a call costs the gateway. The caller vouches that headers are lower case, hold no
    line ends, and have a content length where one belongs.
    """
    cycle = getattr(send, "__self__", None)
    if type(cycle) is not RequestResponseCycle or cycle.response_started or cycle.flow.write_paused:
        return False
    if cycle.disconnected:
        return True
    head = _LINE.join([_FIELD.join(field) for field in (*cycle.default_headers, *headers)])
    rest = _END if cycle.keep_alive else _END_AND_CLOSE
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join((STATUS_LINE[status], head, rest, body)))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


class Connection(HttpToolsProtocol):
    """One client connection.

    A request with a small body, or none, is offered to the application's `take` when it is complete, instead of getting a task
    as soon as its head is there.

    uvicorn arms a timer after each answer and cancels it with the next request, which costs a warm call as much as the bus's
    parser does. Here one timer runs on while requests come and go, and when it fires, looks how long the connection was idle.
    """

    _head_bytes = 0
    _idle_since: float | None = None
    """Since when nothing is asked; None while something is."""
    _take: Take | None = None
    _whole = False
    """Whether the request that is being read can be taken when it is complete."""
    _held: tuple[RequestResponseCycle, ASGI3Application] | None = None
    """The request that will be."""
    _dropped = 0
    """Bytes of a body that came after its request was answered."""
    _dropping: asyncio.TimerHandle | None = None
    """Ends the connection when such a body goes on for too long."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  as uvicorn has it
        """Find out whether the application takes requests."""
        super().connection_made(transport)
        self._take = getattr(cast("object", self.app), "take", None)

    def on_message_begin(self) -> None:
        """Count a new head from nothing."""
        self._head_bytes = 0
        self._whole = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request's target."""
        self._head_bytes += len(url)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise HeadTooLargeError
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEADERS:
            raise HeadTooLargeError
        # As uvicorn's own, which is not called: there are ten of these to a call.
        name = name.lower()
        if name in _BODY_HEADERS:
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            if name != b"content-length" or not value.isdigit() or int(value) > MAX_HELD_BYTES:
                self._whole = False
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body; one that nobody wants any more is dropped, within bounds."""
        super().on_body(body)
        if self.cycle.response_complete:
            self._dropped += len(body)
            if self._dropped > MAX_DROPPED_BYTES:
                self.transport.close()

    def on_message_complete(self) -> None:
        """Start with a request that was to be complete first."""
        super().on_message_complete()
        held = self._held
        if held is not None:
            self._held = None
            self._start(*held)
        elif self._dropping is not None:
            self._stop_dropping()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if not cycle.more_body:
            self._start(cycle, app)
        elif self._whole and cycle is self.cycle:
            self._held = (cycle, app)
        else:
            super()._start_asgi_task(cycle, app)

    def _start(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if self._take is None or not self._take(cycle):
            super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on with a request that waits, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        if self.cycle.more_body:
            self._dropped = 0
            self._dropping = self.loop.call_later(DROP_SECONDS, self.transport.close)
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wait_idle(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the timer as well."""
        super().connection_lost(exc)
        self._stop_dropping()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection when it has been idle for long enough; otherwise look again when it could be."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # the next answer starts the timer again
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._wait_idle(left)
        elif not self.transport.is_closing():
            self.transport.close()

    def _stop_dropping(self) -> None:
        if self._dropping is not None:
            self._dropping.cancel()
            self._dropping = None

    def _wait_idle(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        """Note that something is asked (uvicorn calls this with each piece of data)."""
        self._idle_since = None

    def send_400_response(self, msg: str) -> None:
        """Say that this is no request we can read, and close."""
        text = "invalid http request: malformed, target not ASCII, or head too large"
        body = orjson.dumps({"error": text, "detail": msg})
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()
