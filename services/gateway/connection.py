"""The HTTP connection: uvicorn's own protocol, with limits on heads and errors in our form.

What is refused here never becomes a request: it is not HTTP, its target is not ASCII, or its head is too large.
"""

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADERS = 200
MAX_HEAD_BYTES = 64 * 1024


class HeadTooLargeError(Exception):
    """A request's head is over the limits; ends the connection with 400."""


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
