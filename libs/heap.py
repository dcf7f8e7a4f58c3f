"""What lives as long as the process is taken out of the garbage collector's sight: walking it costs every full collection.

A service's start makes 40 ms worth of such objects, a catalogue of thousands of functions several times as many.
"""

import asyncio
import gc
from collections.abc import Callable


def settle() -> None:
    """Collect what is garbage now, and never look at the rest again; what goes later goes by its count of references."""
    gc.collect()
    gc.freeze()


class Settling:
    """Settles the heap again when much has been added to it and nothing more comes."""

    def __init__(self, *, after: int = 1000, quiet_seconds: float = 2.0, then: Callable[[], None] = settle) -> None:
        """Make it.

        Args:
            after: how many additions are much.
            quiet_seconds: how long nothing has come.
            then: what is done; settling.
        """
        self._after = after
        self._quiet_seconds = quiet_seconds
        self._then = then
        self._added = 0
        self._timer: asyncio.TimerHandle | None = None

    def note(self) -> None:
        """Note that something that stays was added."""
        self._added += 1
        if self._added < self._after:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._quiet_seconds, self._settle)

    def stop(self) -> None:
        """Do nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _settle(self) -> None:
        self._added, self._timer = 0, None
        self._then()
