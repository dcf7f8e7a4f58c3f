"""An answer in pieces: START with the first one, CHUNKs as the executor grants room for them, END.

While there is no room the handler stands still: a generator because nobody asks it for more, a coroutine because its
loop turns without it.
"""

from __future__ import annotations

from . import channel as frames  # noqa: TID252  see the package's docstring
from .headers import NAMELESS, InvalidResponseError  # noqa: TID252
from .jsontext import dumps  # noqa: TID252

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterator
    from typing import Any

    from .answers import Flow  # noqa: TID252
    from .eventloop import EventLoop  # noqa: TID252

_TEXT_TYPE = "text/plain; charset=utf-8"
_BINARY_TYPE = "application/octet-stream"


class Stream:
    """One streamed answer, except for the END or ERROR that closes it."""

    def __init__(self, channel: frames.Channel, call: int, flow: Flow) -> None:
        self._channel = channel
        self._call = call
        self._flow = flow
        self._room = frames.WINDOW
        channel.granted()  # what is left of the call before
        self.started = False
        """START has been sent: a failure can only break the answer off."""

    def pump(self, loop: EventLoop) -> None:
        """Send all pieces, then close what they came from, also when something fails.

        Raises:
            InvalidResponseError: a piece is neither text nor bytes.
            OSError: the executor went away.
            BaseException: what the handler raises.
        """
        if hasattr(self._flow.pieces, "__aiter__"):
            loop.run(self._pump_async(self._flow.pieces))
            return
        pieces: Iterator[Any] = self._flow.pieces
        try:
            for piece in pieces:
                for part in self._parts_of(piece):
                    while self._room == 0:
                        self._room += self._channel.credit(self._call)
                    self._send(part)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  a generator, a file
        self._begin(_TEXT_TYPE, b"")

    async def _pump_async(self, pieces: AsyncIterable[Any]) -> None:
        try:
            async for piece in pieces:
                for part in self._parts_of(piece):
                    while self._room == 0:
                        await self._credit()
                    self._send(part)
        finally:
            if hasattr(pieces, "aclose"):
                await pieces.aclose()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  a generator
        self._begin(_TEXT_TYPE, b"")

    async def _credit(self) -> None:
        """Take what has been granted, or one frame from the executor while the loop goes on."""
        from .turns import Turns  # noqa: TID252

        self._room += self._channel.granted()  # it may have come while the request was read
        if not self._room:
            await Turns.of(self._channel, self._call).frame()

    def _parts_of(self, piece: object) -> list[bytes | memoryview]:
        """Return what is left to send of a piece, cut to size; the first piece goes out as far as it fits into START."""
        if isinstance(piece, str):
            data, kind = piece.encode(errors="surrogatepass"), _TEXT_TYPE
        elif isinstance(piece, bytes | bytearray | memoryview):
            data, kind = bytes(piece), _BINARY_TYPE  # pyright: ignore[reportUnknownArgumentType]
        else:
            raise InvalidResponseError(f"a piece of a streamed body must be text or bytes, not {type(piece).__name__}")
        if not self.started:
            self._begin(kind, data[: frames.CHUNK_BYTES])
            data = data[frames.CHUNK_BYTES :]
        if len(data) <= frames.CHUNK_BYTES:
            return [data] if data else []
        view = memoryview(data)
        return [view[start : start + frames.CHUNK_BYTES] for start in range(0, len(view), frames.CHUNK_BYTES)]

    def _begin(self, kind: str, first: bytes) -> None:
        if self.started:
            return
        flow = self._flow
        if not flow.content_type:
            flow.pairs.append(["content-type", kind])
        self._channel.send(frames.START, self._call, flow.status, dumps(flow.pairs) if flow.pairs else NAMELESS, first)
        self.started = True

    def _send(self, part: bytes | memoryview) -> None:
        self._channel.send(frames.CHUNK, self._call, 0, b"", part)
        self._room -= 1
