"""NATS's protocol, read fast: whole messages are taken here, everything else is left to nats-py's own parser.

nats-py tries one regular expression after the other on a growing buffer and copies each message out of it. Almost all that
a service reads is messages, and almost always they arrive whole, so these are cut straight out of what the socket gave.
Anything else (a message in pieces, PING, INFO, errors, nonsense) goes through nats-py's parser and comes out the same.
"""

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

    @override
    async def parse(self, data: bytes = b"") -> None:
        """Take what the socket gave."""
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
