"""The body of a request that its handler reads by and by: what may be sent to the guest, and whether everything has come. Pure.

Nothing is kept here: what the guest has room for is asked of the gateway, and what comes is handed on. So a handler that does
not read holds its client up, and not this executor's memory.
"""

from collections.abc import Callable

from libs.messages.calls import BodyPiece
from services.executor.workers.frames import WINDOW


class Intake:
    """One body on its way in."""

    __slots__ = ("_ask", "_complete", "_number", "_room", "call", "size")

    def __init__(self, ask: Callable[[int], None]) -> None:
        """Have more pieces sent by `ask`, with their number."""
        self._ask = ask
        self._number = 0
        self._room = 0
        self._complete = False
        self.call = 0
        """The call that its worker knows it by; 0 before."""
        self.size = 0
        """Bytes that have come."""

    def open(self, call: int) -> None:
        """Take wishes of the guest that runs `call`."""
        self.call = call

    def grant(self, pieces: int) -> bool:
        """Take the guest's word that it has room for more; False when it has granted more than a window, or nothing."""
        self._room += pieces
        if not pieces or self._room > WINDOW:
            return False
        if not self._complete:
            self._ask(pieces)
        return True

    def take(self, piece: BodyPiece) -> str:
        """Take a piece; return why the call cannot go on with it, empty when it can."""
        self._number += 1
        if piece.number != self._number:
            return f"a piece of the request's body was lost: {piece.number} came instead of {self._number}"
        if self._complete:
            return "the request's body went on after its end"
        if piece.data or not piece.end:
            self._room -= 1
        if self._room < 0:
            return "more of the request's body came than was asked for"
        self._complete = piece.end
        self.size += len(piece.data)
        return ""
