"""The HTTP connection: uvicorn's own protocol, with limits on heads, errors in our form, and answers in one write.

What is refused here never becomes a request: it is not HTTP, its target is not ASCII, or its head is too large.
"""

from collections.abc import Iterable

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from libs.telemetry.ops import Send

MAX_HEADERS = 200
MAX_HEAD_BYTES = 64 * 1024


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
    pieces = [STATUS_LINE[status]]
    for name, value in cycle.default_headers:
        pieces += (name, b": ", value, b"\r\n")
    for name, value in headers:
        pieces += (name, b": ", value, b"\r\n")
    pieces += (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body)
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join(pieces))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


class Connection(HttpToolsProtocol):
    """One client connection."""

    _head_bytes = 0

    def on_message_begin(self) -> None:
        """Count a new head from nothing."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request's target."""
        self._spend(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._spend(len(name) + len(value))
        if len(self.headers) >= MAX_HEADERS:
            raise HeadTooLargeError
        super().on_header(name, value)

    def send_400_response(self, msg: str) -> None:
        """Say that this is no request we can read, and close."""
        text = "invalid http request: malformed, target not ASCII, or head too large"
        body = orjson.dumps({"error": text, "detail": msg})
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()

    def _spend(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > MAX_HEAD_BYTES:
            raise HeadTooLargeError
