"""Bodies that are still being sent when their call begins: from the client to the executor whose handler reads them.

No piece leaves before an executor has asked for it, so that a call whose body nobody has asked for can be given to another one.
While nobody asks, nothing is read from the client either, and TCP stops it from sending. What a piece is for the guest, and how
much of the body it may be granted, is the executor's.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from functools import partial

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from libs import errors
from libs.bus import port
from libs.messages import calls, codec, subjects
from libs.telemetry.ops import Receive
from services.gateway.outcomes import CLIENT_LEFT, Trouble

PIECE_BYTES = 64 * 1024
LEAST_BYTES = 64 * 1024
"""A body that is said to have no more than this is read as a whole."""
WINDOW = 8
"""Pieces that an executor may have asked for and not got."""
TOO_LARGE = "the request's body is larger than it may be"
_LOOK_SECONDS = 0.1
_TCP_CLOSE, _TCP_CLOSE_WAIT = 7, 8
"""States of a connection whose other end has closed it."""

type Fail = Callable[[Trouble, str], None]
"""Ends a call: what that is for its caller when nothing was answered yet, and in words when something was."""


class Upload:
    """One body that is still being sent."""

    def __init__(self, cycle: RequestResponseCycle, *, most: int) -> None:
        """Read from a connection, `most` bytes in all."""
        self._cycle = cycle
        self._most = most
        self._executor = ""
        self._room = 0
        self._asked = asyncio.Event()
        self._open = True
        self.reader: asyncio.Task[None] | None = None
        self.forget: Callable[[], object] | None = None

    async def gone(self) -> None:
        """Return when the client has gone away, or the call is over.

        The connection itself tells of that only while it is read, and what is read here has to go to the executor.
        """
        while self._open and not self._cycle.response_complete and not self._left():  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(_LOOK_SECONDS)
        if self._open and not self._cycle.response_complete:
            self._cycle.transport.abort()  # it is not read, and would not find out by itself

    def grant(self, credit: calls.BodyCredit) -> bool:
        """Let an executor have more; False when it is not the one that has begun to read."""
        if not self._open or self._executor not in ("", credit.executor):
            return False
        self._executor = credit.executor
        self._room = min(self._room + max(credit.pieces, 0), WINDOW)
        self._asked.set()
        return True

    async def relay(self, send: Callable[[str, int, bytes, bool], None], fail: Fail) -> None:
        """Send what comes, as it is asked for, until the body is complete or the call has to end.

        Args:
            send: takes the executor, a piece's number, its bytes, and whether it is the last.
            fail: is called when the body will never be complete.
        """
        number = size = 0
        more = True
        while more:
            await self._wanted()
            message = await self._cycle.receive()
            if message["type"] != "http.request":
                if not self._cycle.response_complete:
                    fail(Trouble.CLIENT_GONE, CLIENT_LEFT)
                return
            data, more = message.get("body", b""), message.get("more_body", False)
            size += len(data)
            if size > self._most:
                fail(Trouble.TOO_LARGE, TOO_LARGE)
                return
            for start in range(0, len(data), PIECE_BYTES):
                await self._wanted()
                number += 1
                self._room -= 1
                send(self._executor, number, data[start : start + PIECE_BYTES], not more and start + PIECE_BYTES >= len(data))
            if not more and not data:
                send(self._executor, number + 1, b"", True)  # noqa: FBT003  as `calls.BodyPiece.end`

    def close(self) -> None:
        """Read no more. Calling it twice does no harm."""
        self._open = False
        if self.reader is not None:
            self.reader.cancel()
        if self.forget is not None:
            self.forget()

    async def _wanted(self) -> None:
        while not self._room:
            self._asked.clear()
            await self._asked.wait()

    def _left(self) -> bool:
        if self._cycle.disconnected:
            return True
        found = self._cycle.transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            return found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in (_TCP_CLOSE, _TCP_CLOSE_WAIT)
        return False


def of(receive: Receive, *, announced: int, most: int) -> Upload | None:
    """Return the body that an ASGI `receive` belongs to, if it is a large one, or one of any size, that has not come whole."""
    cycle = getattr(receive, "__self__", None)
    if type(cycle) is not RequestResponseCycle or not cycle.more_body or 0 <= announced <= LEAST_BYTES:
        return None
    return Upload(cycle, most=most)


class Uploads:
    """The bodies under way in this gateway."""

    def __init__(self, bus: port.Bus, tasks: asyncio.TaskGroup, *, inbox: str) -> None:
        """Have pieces asked for at subjects that begin with `inbox`; whoever listens there calls `take`."""
        self._bus = bus
        self._tasks = tasks
        self._inbox = inbox
        self._known: dict[str, tuple[Upload, str, Fail]] = {}

    def open(self, upload: Upload, *, token: str, reply: str, fail: Fail) -> str:
        """Have a call's body asked for, and return where.

        Args:
            upload: the body.
            token: of the call.
            reply: where its reply goes.
            fail: ends the call.
        """
        name = f"body-{token}"
        self._known[name] = (upload, reply, fail)
        upload.forget = partial(self._known.pop, name, None)
        return self._inbox + name

    def take(self, name: str, data: bytes) -> bool:
        """Take what has come to a subject that ends with `name`; False when no body is asked for there."""
        found = self._known.get(name)
        if found is None:
            return False
        upload, reply, fail = found
        try:
            credit = codec.decode(calls.BodyCredit, data)
        except codec.MalformedMessageError:
            fail(Trouble.MALFORMED, "an executor's wish for more of the body could not be read")
            return True
        if upload.grant(credit) and upload.reader is None:
            upload.reader = self._tasks.create_task(self._read(upload, reply, fail), name=f"body for {name}")
        return True

    async def _read(self, upload: Upload, reply: str, fail: Fail) -> None:
        def send(executor: str, number: int, data: bytes, end: bool) -> None:  # noqa: FBT001  as `calls.BodyPiece.end`
            piece = calls.BodyPiece(reply=reply, number=number, data=data, end=end)
            self._bus.post(subjects.body_pieces(executor), codec.encode(piece))

        try:
            await upload.relay(send, fail)
        except errors.FnbusError as error:
            fail(Trouble.DISCONNECTED, f"a piece of the request's body could not be sent: {error}")
