"""NATS's protocol, read fast: whole messages are taken here, everything else is left to nats-py's own parser.

nats-py has a task that reads from a stream and is woken for each piece that the socket gives, and it tries one regular
expression after the other on a growing buffer. Almost all that a service reads is messages, and almost always they arrive
whole, so these are cut straight out of what the socket gives, while it gives it (`Shortcut`). Anything else (a message in
pieces, PING, INFO, errors, nonsense) goes through nats-py's stream and parser and comes out the same; until that is done, so
does what comes behind it.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, override

from nats.aio.client import Client
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

type Deliver = Callable[[int, str, str, bytes, bytes], None]
"""Called with subscription number, subject, reply subject, data and raw headers (empty without any)."""


class _Shape(NamedTuple):
    """What the control line of a message holds."""

    words: int
    """How many, without a reply subject."""
    headed: bool
    """Whether the size of the headers is among them."""


_SHAPES = {b"MSG ": _Shape(4, headed=False), b"HMSG": _Shape(5, headed=True)}


class MessageParser(Parser):
    """A parser that hands whole messages to a plain function."""

    def __init__(self, client: Client, deliver: Deliver) -> None:
        super().__init__(client)  # pyright: ignore[reportUnknownMemberType]  untyped parameter
        self._deliver = deliver
        self._in_stream = 0
        """Bytes that lie in nats-py's stream."""

    def fed(self, size: int) -> None:
        """Know of bytes that were put into nats-py's stream and will come to `parse`."""
        self._in_stream += size

    def take(self, data: bytes) -> int:
        """Deliver the whole messages that `data` begins with, if its turn has come; return where the rest starts."""
        if self._in_stream or self.buf or self.state != AWAITING_CONTROL_LINE:
            return 0
        return self._take(data)

    @override
    def reset(self) -> None:
        """Begin anew, on a new connection."""
        super().reset()  # pyright: ignore[reportUnknownMemberType]  untyped
        self._in_stream = 0

    @override
    async def parse(self, data: bytes = b"") -> None:
        """Take what nats-py has read from its stream."""
        self._in_stream = max(0, self._in_stream - len(data))
        if self.buf or self.state != AWAITING_CONTROL_LINE:
            data = await self._complete(data)
        if data:
            rest = self._take(data)
            if rest < len(data):
                await super().parse(data[rest:])

    async def _complete(self, data: bytes) -> bytes:
        """Finish what nats-py's parser has begun; return what lies behind it."""
        if self.state == AWAITING_CONTROL_LINE:
            data = bytes(self.buf) + data  # a part of one line, hence short
            self.buf.clear()
            return data
        missing = self.needed + 2 - len(self.buf)
        await super().parse(data[:missing])
        return data[missing:]

    def _take(self, data: bytes) -> int:
        """Deliver the whole messages that `data` begins with; return where the rest starts."""
        at, available = 0, len(data)
        while (shape := _SHAPES.get(data[at : at + 4])) is not None and (end := data.find(b"\r\n", at)) > 0:
            try:
                words = data[at:end].decode().split(" ")
                sid, size = int(words[2]), int(words[-1])
                headed = int(words[-2]) if shape.headed else 0
            except (ValueError, IndexError):
                break
            start = end + 2
            stop = start + size
            replied = len(words) - shape.words
            if replied not in (0, 1) or not 0 <= headed <= size or stop + 2 > available:
                break
            at = stop + 2
            body = start + headed
            self._deliver(sid, words[1], words[3] if replied else "", data[body:stop], data[start:body])
        return at


class Shortcut(asyncio.Protocol):
    """Stands between the socket and nats-py's stream, and hands what it can straight to the parser."""

    def __init__(self, stream: asyncio.StreamReaderProtocol, parser: MessageParser) -> None:
        """Take the place of `stream` as the transport's protocol; it still hears of all but the messages."""
        self._stream = stream
        self._parser = parser

    def data_received(self, data: bytes) -> None:
        """Take what the socket gives."""
        rest = self._parser.take(data)
        if rest < len(data):
            self._parser.fed(len(data) - rest)
            self._stream.data_received(data[rest:] if rest else data)

    def eof_received(self) -> bool | None:
        """Tell the stream."""
        return self._stream.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the stream."""
        self._stream.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tell the stream."""
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        """Tell the stream."""
        self._stream.resume_writing()


def install(writer: asyncio.StreamWriter, reader: asyncio.StreamReader, parser: MessageParser) -> None:
    """Have what comes for `reader` from now on go by a `Shortcut`."""
    stream = writer.transport.get_protocol()
    if isinstance(stream, asyncio.StreamReaderProtocol):
        parser.fed(len(getattr(reader, "_buffer")))  # noqa: B009  what was read behind the handshake
        writer.transport.set_protocol(Shortcut(stream, parser))
