"""What a worker that was killed leaves unread in its socket: it tells how many of the calls sent ahead had begun.

The last frame of a call tells that the next one had begun. A call of which that cannot be told counts as begun, so that none
runs twice.
"""

from collections.abc import Sequence

from services.executor.workers import frames
from services.executor.workers.frames import BACKGROUND, LAST_TYPES, Decoder, Frame, FrameTooLargeError


class Remains:
    """Frames and bytes that nobody has looked at."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._bytes = bytearray()
        self._owed = 0
        """Bytes of a frame that is too large, which have not come."""
        self._garbled = False
        """Whether what comes is not to be understood."""

    def leave(self, came: Sequence[Frame]) -> None:
        """Keep frames that came before the worker was killed."""
        self._frames.extend(came)

    def breaks_off(self, error: frames.FrameError, *, pending: int) -> None:
        """Know that the worker is ended for what it sent, of which `pending` bytes have come."""
        if isinstance(error, FrameTooLargeError):
            self._owed = max(error.length - pending, 0)
        self._garbled = not self._owed

    def garble(self) -> None:
        """Know that the worker is ended for a frame that nobody asked for."""
        self._garbled = True

    def keep(self, data: bytes) -> None:
        """Keep bytes that came once the worker was killed."""
        if self._owed:
            self._owed = max(self._owed - len(data), 0)
            self._garbled = not self._owed
        elif not self._garbled:
            self._bytes += data

    def begun(self, call: int, ahead: Sequence[int], decoder: Decoder) -> int:
        """Return how many of the calls `ahead` had begun, behind `call`, which ran.

        Args:
            call: the one that ran when the worker was killed.
            ahead: those that were sent ahead, in their order.
            decoder: has the beginning of a frame whose rest may have come since.
        """
        left = self._frames
        try:
            left.extend(decoder.feed(bytes(self._bytes)) if self._bytes else ())
        except frames.FrameError:
            self._garbled = True
        begun = 0
        for each in left:
            if self._garbled or begun == len(ahead):
                break
            before = ahead[begun - 1] if begun else call
            begun += each.call == before and each.type in LAST_TYPES and not each.flags & BACKGROUND
        return len(ahead) if self._garbled else begun
