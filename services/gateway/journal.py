"""What this gateway did not pass on, or got no answer to: the newest such requests, for whoever looks for a fault.

Executions are the registry's; a request that was refused has none. Only failures are noted, so that a plain call costs nothing.
"""

from collections import deque
from typing import NamedTuple

ROOM = 2000
_LONGEST = 500
"""Characters of a path."""


class Note(NamedTuple):
    """One request."""

    ms: int
    """Epoch milliseconds at which it was answered."""
    id: str
    method: str
    path: str
    status: int
    error: str
    runtime: str
    """Of the function that it was for, as far as there was one; so are its name and version."""
    function: str
    version: str


class Journal:
    """Remembers the newest."""

    def __init__(self) -> None:
        self._notes: deque[Note] = deque(maxlen=ROOM)

    def add(self, note: Note) -> None:
        """Take a request."""
        self._notes.append(note._replace(path=note.path[:_LONGEST]))

    def notes(self) -> list[Note]:
        """Return them, the oldest first."""
        return list(self._notes)
