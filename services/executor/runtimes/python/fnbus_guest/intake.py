"""The body of a request that the handler reads by and by: asked for as it is read, a window of pieces ahead."""

from __future__ import annotations

from io import RawIOBase

from . import channel as frames  # noqa: TID252  see the package's docstring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .turns import Turns  # noqa: TID252


class Intake:
    """One body. Nothing of it is asked for before somebody reads."""

    def __init__(self, channel: frames.Channel, call: int) -> None:
        """Take what comes for `call` on the channel."""
        self._channel = channel
        self._call = call
        self._pieces: list[bytes] = []
        self._asked = False
        self._complete = False
        self.closed = False
        """Nobody may read any more: the call has been answered."""
        self._turns: Turns | None = None
        channel.intake = self

    def take(self, data: bytes, *, last: bool) -> None:
        """Take a piece from the executor."""
        if data:
            self._pieces.append(data)
        self._complete = last

    def close(self) -> None:
        """Ask for nothing more, and let nobody wait."""
        self.closed = True
        self._pieces.clear()
        if self._turns is not None:
            self._turns.wake()

    def read(self) -> bytes:
        """Wait for a piece and return it; an empty one at the end.

        Raises:
            OSError: the executor went away.
        """
        while self._waits():
            self._channel.pull(self._call)
        return self._next()

    async def next(self) -> tuple[bytes, bool]:
        """As `read`, while the event loop goes on; also return whether there is more to come."""
        if self._turns is None:
            from .turns import Turns  # noqa: TID252

            self._turns = Turns.of(self._channel, self._call)
        while self._waits():
            await self._turns.frame()
        return self._next(), bool(self._pieces or not self._complete) and not self.closed

    def _waits(self) -> bool:
        """Return whether a piece is still to come; have it come, too."""
        if self._pieces or self._complete or self.closed:
            return False
        if not self._asked:
            self._asked = True
            self._grant(frames.WINDOW)
        return True

    def _next(self) -> bytes:
        if not self._pieces:
            return b""
        if not self._complete:
            self._grant(1)
        return self._pieces.pop(0)

    def _grant(self, pieces: int) -> None:
        self._channel.send(frames.CREDIT, self._call, pieces, b"")


class Input(RawIOBase):
    """A body as a file; who reads from it waits for the client."""

    def __init__(self, intake: Intake) -> None:
        """Read from a body."""
        self._intake = intake
        self._rest = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  no other buffer is used
        """Fill a buffer with what there is; 0 at the end."""
        data = self._rest or self._intake.read()
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        self._rest = data[size:]
        return size
