"""A streamed answer on its way: either relayed piece by piece to whoever takes it so, or collected into one answer.

Pieces are as the guest made them. A reader that is slow holds the handler up (credit), not this executor's memory.
"""

from collections.abc import Callable
from enum import StrEnum

from libs.messages.calls import FailureCode, StreamPiece

type OnPiece = Callable[[str, StreamPiece], None]
"""Sends a piece to where the reply went."""

LEAST_IDLE_SECONDS = 30.0
"""How long a handler may always take between two pieces."""
UNREAD_SECONDS = 60.0
"""How long a reader may take none."""
LONGEST_SECONDS = 3600.0
"""How long a streamed answer may last in all."""
BACKGROUND_SECONDS = 30.0
"""How long a handler may go on after its answer."""


class Late(StrEnum):
    """Whose fault it is that a streamed answer is broken off."""

    HANDLER = "the handler did not go on with its answer in time"
    READER = "the reader of the answer took nothing for too long"
    BOTH = "the answer took too long in all"


class Flow:
    """A streamed answer under way."""

    __slots__ = (
        "_handle",
        "_number",
        "_send",
        "head",
        "idle_seconds",
        "most",
        "moved_at",
        "pieces",
        "size",
        "started_at",
        "status",
    )

    def __init__(
        self, *, handle: str, send: OnPiece | None, status: int, head: bytes, most: int, idle_seconds: float, now: float
    ) -> None:
        """Begin.

        Args:
            handle: where the reply goes.
            send: takes the pieces; None: they are collected.
            status: of the answer.
            head: of the answer.
            most: bytes that it may have in all; 0: any number.
            idle_seconds: how long the handler may take between two pieces.
            now: monotonic seconds.
        """
        self._handle = handle
        self._send = send
        self._number = 0
        self.status = status
        self.head = head
        self.most = most
        self.size = 0
        self.pieces: list[bytes] = []
        self.idle_seconds = max(idle_seconds, LEAST_IDLE_SECONDS)
        self.started_at = now
        self.moved_at = now

    @property
    def relayed(self) -> bool:
        """Whether the pieces leave as they come."""
        return self._send is not None

    def first(self, data: bytes) -> None:
        """Take what came with the head; a relayed one travels with the reply."""
        self.size += len(data)
        if self._send is None:
            self.pieces.append(data)

    def take(self, data: bytes, now: float) -> bool:
        """Take a piece; False when the answer is too large with it, which is then not passed on."""
        self.moved_at = now
        self.size += len(data)
        if self.most and self.size > self.most:
            return False
        if self._send is None:
            self.pieces.append(data)
        else:
            self._number += 1
            self._send(self._handle, StreamPiece(number=self._number, data=data))
        return True

    def end(self, *, code: FailureCode, message: str, run_us: int) -> None:
        """Tell the reader of a relayed answer that it is complete, or broken off when there is a code."""
        if self._send is not None:
            self._number += 1
            piece = StreamPiece(number=self._number, end=True, code=code, message=message, run_us=run_us)
            self._send(self._handle, piece)

    def late(self, now: float, *, has_credit: bool) -> Late | None:
        """Return who took too long; None while nobody has."""
        if now - self.started_at >= LONGEST_SECONDS:
            return Late.BOTH
        still = now - self.moved_at
        if has_credit:
            return Late.HANDLER if still >= self.idle_seconds else None
        return Late.READER if still >= UNREAD_SECONDS else None
