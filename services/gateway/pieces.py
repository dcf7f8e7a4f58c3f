"""A streamed answer on its way from an executor: its pieces in order, at most a window of them, and why it broke off.

The bus side (`calls`) puts pieces in and watches the time; the client's side (`relay`) takes them out as fast as the client
reads. Each piece that was taken grants the executor one more, so that a slow client slows the handler down instead of filling
this process.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable

from libs.messages import calls
from libs.messages.calls import FailureCode

WINDOW = 8
"""Pieces that may wait here: what an executor may send without being granted more."""
LEAST_GAP_SECONDS = 30.0
"""A handler may always think for this long between two pieces."""
MOST_SECONDS = 3600.0
"""No answer is streamed for longer."""


class BrokenOffError(Exception):
    """No more pieces will come although the answer is not complete. Its text says why."""


class Streamed:
    """What came of a call that is being answered piece by piece."""

    def __init__(
        self,
        *,
        reply: calls.Reply,
        budget_ms: int,
        clock: Callable[[], float],
        grant: Callable[[], None],
        stop: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        """Take over from a reply.

        Args:
            reply: status, head and first piece.
            budget_ms: the call's own, from which the pause between two pieces is taken.
            clock: monotonic seconds.
            grant: lets the executor send one more piece.
            stop: tells the executor that no more is wanted; called when that is so before the last piece has come.
            closed: called once, by `close`.
        """
        self.reply = reply
        self._clock = clock
        self._grant = grant
        self._stop = stop
        self._closed = closed
        self._gap = max(budget_ms / 1000, LEAST_GAP_SECONDS)
        self._last = clock() + MOST_SECONDS
        self._due = math.inf
        self._pieces: deque[bytes] = deque()
        self._number = 0
        self._came = asyncio.Event()
        self._broken = ""
        self._open = True
        self.answered = False
        """Whether the client has all that it gets; pieces that still come are of no use to it, and its leaving says nothing."""
        self.complete = False
        """Whether the last piece has come and says that nothing is missing."""

    def put(self, piece: calls.StreamPiece) -> None:
        """Take a piece from the bus."""
        if self.complete or self._broken:
            return
        self._number += 1
        if piece.number != self._number:
            self.break_off(f"piece {piece.number} came instead of {self._number}")
            return
        if piece.data:
            if len(self._pieces) >= WINDOW:
                self.break_off("the executor sent more than it was granted")
                return
            self._pieces.append(piece.data)
        if piece.end and piece.code is FailureCode.NONE:
            self.complete = True
        elif piece.end:
            self._broken = piece.message or piece.code.value
        self._came.set()

    def break_off(self, text: str) -> None:
        """Let no more pieces come; those that are here are still given out."""
        if not self.complete and not self._broken:
            self._broken = text
            self._came.set()
            self._stop()

    def check(self, now: float) -> None:
        """Break off when the executor has let its reader wait for too long."""
        if now >= self._due or now >= self._last:
            self.break_off("the executor sent nothing in time" if now >= self._due else "the answer took too long")

    async def next(self) -> bytes | None:
        """Return the next piece, or None after the last.

        Raises:
            BrokenOffError: there is no next one although there should be.
        """
        while not self._pieces:
            if self._broken:
                raise BrokenOffError(self._broken)
            if self.complete:
                return None
            self._came.clear()
            self._due = self._clock() + self._gap
            await self._came.wait()
            self._due = math.inf
        return self._pieces.popleft()

    def taken(self) -> None:
        """Say that the client has taken the piece that `next` gave."""
        if not self.complete and not self._broken:
            self._grant()

    def close(self) -> None:
        """Want no more of it; the executor is told if it has not finished. Calling it twice does no harm."""
        if self._open:
            self._open = False
            self.break_off("nobody wants the rest")
            self._closed()
