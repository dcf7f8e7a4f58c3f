"""What the calls of one worker use, by the kernel's word and not the guest's.

Of calls that were sent ahead it is what the worker has spent since the last answer was read: the sum over the calls is right,
but one whose work was done by then counts for its predecessor. Calls whose answers come together share the time.
"""

from services.executor.sandbox.base import Cell

_CROWDING_US = 2000
"""A call that computed for less has not started as many processes as it may, which takes longer than this to look at, too."""
_MEASURE_US = 500
"""Processor time between two looks at the memory: it takes time to fill, and looking costs as much as a short call."""


class Account:
    """Follows a worker's use from call to call."""

    __slots__ = (
        "_cell",
        "_together",
        "_together_us",
        "_unmeasured_us",
        "crowded",
        "memory_kib",
        "peak_kib",
        "started_us",
        "used_us",
    )

    def __init__(self) -> None:
        self._cell: Cell | None = None
        self._together = 1
        """Answers that came together with the present one and are not settled yet, itself included."""
        self._together_us = 0
        self._unmeasured_us = 0
        self.started_us = 0
        """What the worker had used when its call began."""
        self.used_us = 0
        """Processor time that the last call used."""
        self.memory_kib = 0
        """Memory of its own that the worker had after the last call."""
        self.peak_kib = 0
        """The most memory of its own that it was seen to have."""
        self.crowded = False
        """Whether its last call left so many processes that it is ended instead of getting another."""

    def open(self, cell: Cell) -> None:
        """Begin, once the worker can be seen from outside; before that nothing is counted."""
        self._cell = cell

    def begin(self) -> None:
        """A call begins."""
        if self._cell is not None:
            self.started_us = self._cell.cpu_us()

    def begin_next(self) -> None:
        """A call that was sent ahead begins where the one before it was settled."""
        self.started_us += self.used_us

    def share(self, answers: int) -> None:
        """Let so many calls, whose answers came together, have the same part of what was used."""
        if answers > 1 and self._cell is not None:
            self._together, self._together_us = answers, self._cell.cpu_us()

    def shared(self) -> None:
        """Go back to one answer at a time."""
        self._together, self._together_us = 1, 0

    def settle(self) -> None:
        """Take down what the call has used that ends now."""
        cell = self._cell
        if cell is None:
            return
        used = max((self._together_us or cell.cpu_us()) - self.started_us, 0)
        if self._together > 1:
            used //= self._together
            self._together -= 1
        self.used_us = used
        self._unmeasured_us += used
        if self._unmeasured_us >= _MEASURE_US or not self.memory_kib:
            self._unmeasured_us = 0
            self.memory_kib = cell.memory_kib()
            self.peak_kib = max(self.peak_kib, self.memory_kib)
        if used >= _CROWDING_US:
            self.crowded = cell.crowded()
