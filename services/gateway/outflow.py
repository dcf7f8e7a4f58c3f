"""A streamed answer on its way to the client: head and pieces onto the connection, as fast as the client reads.

uvicorn's own `send` would do, but for clients of HTTP/1.0 (to whom it sends chunks) and for answers that break off (which it
reports as faults of ours).
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from libs.telemetry.ops import Send

SLOW_SECONDS = 60.0
"""A client that reads nothing for this long has lost interest."""
_CLOSE_SECONDS = 10.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ClientGoneError(Exception):
    """The client has closed the connection, or reads no more."""


class Outflow:
    """One answer. `begin` first, then `write` for each piece, then `end` or `break_off`."""

    def __init__(self, send: Send) -> None:
        """Write to the connection that an ASGI `send` belongs to."""
        cycle = getattr(send, "__self__", None)
        if not isinstance(cycle, RequestResponseCycle):
            raise TypeError("answers are streamed to connections of this gateway only")
        self._cycle = cycle
        self._chunked = cycle.scope["http_version"] != "1.0"

    def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]], first: bytes, *, bodiless: bool) -> None:
        """Send the head and the first piece at once; an answer without body (`bodiless`) ends with that."""
        cycle = self._cycle
        if cycle.disconnected:
            return
        cycle.keep_alive = cycle.keep_alive and (self._chunked or bodiless)
        pieces = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            pieces += (name, b": ", value, b"\r\n")
        if self._chunked and status not in (204, 205, 304):
            pieces.append(b"transfer-encoding: chunked\r\n")
        pieces.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        if first and not bodiless:
            pieces += self._framed(first)
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"".join(pieces))
        if bodiless:
            self._complete()

    async def write(self, piece: bytes) -> None:
        """Send a piece, and return when the connection takes more.

        Raises:
            ClientGoneError: nobody reads any more.
        """
        if not self._cycle.disconnected:
            self._cycle.transport.write(b"".join(self._framed(piece)))
        await self.writable()

    async def writable(self) -> None:
        """Return when the connection takes more.

        Raises:
            ClientGoneError: nobody reads any more.
        """
        cycle = self._cycle
        while cycle.flow.write_paused and not cycle.disconnected:
            waiting = cycle.transport.get_write_buffer_size()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SLOW_SECONDS):
                    await cycle.flow.drain()
            if cycle.flow.write_paused and cycle.transport.get_write_buffer_size() >= waiting:
                raise ClientGoneError("the client reads no more")
        if cycle.disconnected:
            raise ClientGoneError("client closed request")

    def end(self) -> None:
        """Say that the answer is complete."""
        if self._cycle.disconnected:
            return
        if self._chunked:
            self._cycle.transport.write(b"0\r\n\r\n")
        self._complete()

    def break_off(self) -> None:
        """Close the connection in such a way that the client can tell: no final chunk, or a reset where there are no chunks."""
        cycle = self._cycle
        if cycle.disconnected or cycle.response_complete:
            return
        cycle.response_complete = True
        cycle.message_event.set()
        transport = cycle.transport
        if cycle.flow.write_paused:
            transport.abort()
        elif not self._chunked:
            found = transport.get_extra_info("socket")
            if found is not None:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()
        else:
            transport.close()
            # What is written already still goes out, but not for ever to somebody who does not read it.
            asyncio.get_running_loop().call_later(_CLOSE_SECONDS, transport.abort)

    def _framed(self, piece: bytes) -> tuple[bytes, ...]:
        return (b"%x\r\n" % len(piece), piece, b"\r\n") if self._chunked else (piece,)

    def _complete(self) -> None:
        cycle = self._cycle
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
