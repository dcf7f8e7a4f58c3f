"""The NATS client underneath the bus: nats-py's, with its hot path replaced.

nats-py wakes a task that reads, parses headers, builds a message object, queues it and wakes a task for each message, and wakes
a flusher task for each publish. Our handlers are plain functions, so here a message goes from the socket straight into its
handler, and commands of one turn of the event loop are written at its end with one system call. Nothing is queued in the
client, hence nothing is dropped there either: a handler that is too slow shows up as back-pressure on the socket.

Everything that relies on nats-py's inner names is in this file and in `jetstream_parser`;
`tests/unit/bus/test_nats_internals.py` fails when they change.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from typing import override

from nats.aio.client import PING_PROTO, Client
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import Error
from nats.protocol.parser import PERMISSIONS_ERR

from libs import errors
from libs.bus.jetstream_parser import MessageParser, install
from libs.bus.port import BusDisconnectedError

log = logging.getLogger(__name__)

type RawHandler = Callable[[str, str, bytes, bytes], None]
"""Called with subject, reply subject, data and raw headers (empty without any)."""

_CRLF = b"\r\n"
_JOIN_BELOW = 32 * 1024
"""Bytes; larger payloads are handed to the socket as they are instead of being copied into one piece with their command."""
_ROUND_TRIP_SECONDS = 10.0
_UNSAFE = re.compile(r"[\s\x00]").search
_REFUSED = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"').search
HEADER_LINE = b"NATS/1.0"
_TRACE = b"NATS/1.0\r\ntraceparent: "


class RefusedError(errors.PermanentError):
    """The server refused a command for want of permission.

    Attributes:
        subject: what was published or subscribed to, in lower case as the client hands it on; empty when not told.
        publishing: whether it was a publish.
    """

    def __init__(self, text: str) -> None:
        super().__init__(f"NATS refused: {text}")
        found = _REFUSED(text)
        self.publishing = found is not None and found[1] == "publish"
        self.subject = found[2] if found else ""


class FastClient(Client):
    """A NATS client that calls plain functions from its read loop."""

    _pongs: list[asyncio.Future[bool]]

    def __init__(self) -> None:
        super().__init__()
        self._handlers: dict[int, RawHandler] = {}
        self._write_scheduled = False
        self._loop = asyncio.get_running_loop()
        self._trips: set[asyncio.Future[bool]] = set()
        self._refused: dict[str, RefusedError] = {}
        self._ps = self._parser = MessageParser(self, self._deliver)

    def send(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        """Put a message among the commands that are written when this turn of the event loop ends.

        Raises:
            ValueError: white space in a subject would break the protocol.
        """
        if not subject or _UNSAFE(subject) or _UNSAFE(reply):
            raise ValueError(f"not a subject to publish on: {subject!r} (reply {reply!r})")
        size = len(data)
        if headers:
            line = f"HPUB {subject} {reply} {len(headers)} {len(headers) + size}\r\n".encode()
        else:
            line = f"PUB {subject} {reply} {size}\r\n".encode()
        if size < _JOIN_BELOW:
            whole = b"".join((line, headers, data, _CRLF))
            self._pending.append(whole)
            self._pending_data_size += len(whole)
        else:
            self._pending += (line, headers, data, _CRLF)
            self._pending_data_size += len(line) + len(headers) + size + 2
        if not self._write_scheduled:
            self._write_scheduled = True
            self._loop.call_soon(self._write_out)

    @property
    def unwritten(self) -> int:
        """Bytes of commands that wait for the end of this turn of the loop."""
        return self._pending_data_size

    async def drain_socket(self) -> None:
        """Write what waits and let the socket's buffer fall below its high-water mark.

        Raises:
            BusDisconnectedError: the connection was lost.
        """
        self._write_out()
        if self._transport is not None:
            try:
                await self._transport.drain()
            except (OSError, RuntimeError) as error:
                raise BusDisconnectedError("the connection to NATS was lost") from error

    async def listen(self, subject: str, queue: str, handler: RawHandler) -> int:
        """Subscribe, and return the subscription's number when the server knows it. It is replayed on reconnect.

        Raises:
            RefusedError: the user may not listen there.
            BusDisconnectedError: the connection is down or was lost meanwhile.
        """
        if _UNSAFE(subject) or not subject or (queue and _UNSAFE(queue)):
            raise ValueError(f"not a subject to subscribe to: {subject!r} (queue {queue!r})")
        self._sid += 1
        sid = self._sid
        subscription = Subscription(self, sid, subject, queue=queue)
        self._subs[sid] = subscription
        self._handlers[sid] = handler
        self._refused.pop(subject.lower(), None)
        try:
            await self._send_subscribe(subscription)
            await self.round_trip()
            self._require_accepted(subject)
        except BaseException:
            self._subs.pop(sid, None)
            self._handlers.pop(sid, None)
            raise
        return sid

    async def end(self, sid: int) -> None:
        """Unsubscribe; messages that the server had sent by then are handled before this returns."""
        if sid not in self._handlers:
            return
        try:
            if self.is_connected:
                await self._send_unsubscribe(sid)
                await self.round_trip()
        except BusDisconnectedError:
            return  # the server forgets it with the connection
        finally:
            self._subs.pop(sid, None)
            self._handlers.pop(sid, None)

    async def end_all(self) -> None:
        """Unsubscribe everywhere; what was sent before has reached the server when this returns.

        Raises:
            BusDisconnectedError: the connection was lost meanwhile.
        """
        for sid in tuple(self._handlers):
            await self._send_unsubscribe(sid)
        await self.round_trip()

    async def round_trip(self) -> None:
        """Return when the server has processed everything that was sent before.

        Raises:
            BusDisconnectedError: it did not say so in time.
        """
        self._write_out()
        if self._transport is None or not self.is_connected:
            raise BusDisconnectedError("not connected to NATS")
        # Not nats-py's `flush`: its PING overtakes commands that wait, and it sits out its timeout when the connection is lost.
        trip: asyncio.Future[bool] = self._loop.create_future()
        self._pongs.append(trip)
        self._trips.add(trip)
        try:
            self._transport.write(PING_PROTO)
            async with asyncio.timeout(_ROUND_TRIP_SECONDS):
                await trip
        except (OSError, RuntimeError) as error:
            raise BusDisconnectedError("no answer from NATS") from error
        finally:
            self._trips.discard(trip)

    def lost(self) -> None:
        """Tell those who wait for a round trip that the connection is gone."""
        for trip in self._trips:
            if not trip.done():
                trip.set_exception(BusDisconnectedError("the connection to NATS was lost"))

    def _require_accepted(self, subject: str) -> None:
        # The server's refusal of a subscription comes before its answer to the ping that follows.
        refusal = self._refused.pop(subject.lower(), None)
        if refusal is not None:
            raise refusal

    def _write_out(self) -> None:
        self._write_scheduled = False
        if not self._pending or self._transport is None or not self.is_connected:
            return
        commands, self._pending = self._pending, []
        self._pending_data_size = 0
        try:
            self._transport.writelines(commands)
        except (OSError, RuntimeError) as error:
            # The read loop sees the same fault and reconnects; messages are at most once.
            log.debug("write failed: %s", error, extra={"action": "nats_write_failed"})

    def _deliver(self, sid: int, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        handler = self._handlers.get(sid)
        if handler is None:
            return
        try:
            handler(subject, reply, data, headers)
        except Exception:
            log.exception("a message handler failed", extra={"action": "handler_failed", "subject": subject})

    @override
    async def _process_connect_init(self) -> None:
        await super()._process_connect_init()
        transport = self._transport
        if isinstance(transport, TcpTransport):
            install(getattr(transport, "_io_writer"), getattr(transport, "_io_reader"), self._parser)  # noqa: B009

    @override
    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self._deliver(sid, subject.decode("utf-8", "replace"), reply.decode("utf-8", "replace"), data, headers or b"")

    @override
    async def _process_pong(self) -> None:
        # nats-py sets the result of a ping that was given up, too, which raises and ends its read loop.
        if self._pongs:
            waiter = self._pongs.pop(0)
            if not waiter.done():
                waiter.set_result(True)
        self._pongs_received += 1
        self._pings_outstanding = 0

    @override
    async def _process_err(self, err_msg: str) -> None:
        # nats-py closes for ever on most errors of the server (`Slow Consumer`, `Maximum Connections Exceeded`); we reconnect.
        if PERMISSIONS_ERR in err_msg:
            refusal = RefusedError(err_msg.strip("'"))
            if not refusal.publishing:
                self._refused[refusal.subject] = refusal
            await self._error_cb(refusal)
            return
        fault = Error(f"nats: {err_msg.strip("'")}")
        await self._error_cb(fault)
        await self._process_op_err(fault)


def headers(fields: dict[str, str]) -> bytes:
    """Return NATS headers as bytes.

    Raises:
        ValueError: a line break in a value would start another header.
    """
    lines = [HEADER_LINE]
    for name, value in fields.items():
        if "\r" in value or "\n" in value:
            raise ValueError(f"line break in header {name}")
        lines.append(f"{name}: {value}".encode())
    return _CRLF.join(lines) + b"\r\n\r\n"


def status(raw: bytes) -> int:
    """Return the status that headers carry (100, 404, 408, 409, 503, …), 0 for an ordinary message."""
    code = raw[9:12]
    return int(code) if raw[8:9] == b" " and code.isdigit() else 0


def header(raw: bytes, name: str) -> str:
    """Return the value of a header, empty when it is not there; `name` is matched as it is written."""
    start = raw.find(f"\r\n{name}:".encode())
    if start < 0:
        return ""
    start += len(name) + 3
    return raw[start : raw.find(_CRLF, start)].strip().decode("utf-8", "replace")


def trace_headers(traceparent: str) -> bytes:
    """Return headers that hold a trace context only, which is what almost every message of ours has.

    Raises:
        ValueError: a line break would start another header.
    """
    if "\r" in traceparent or "\n" in traceparent:
        raise ValueError("line break in traceparent")
    return b"%b%b\r\n\r\n" % (_TRACE, traceparent.encode())


def traceparent_of(raw: bytes) -> str:
    """Return the trace context in headers, empty without one."""
    if raw.startswith(_TRACE) and raw.find(_CRLF, len(_TRACE)) == len(raw) - 4:
        return raw[len(_TRACE) : -4].decode("ascii", "replace")
    return header(raw, "traceparent")
