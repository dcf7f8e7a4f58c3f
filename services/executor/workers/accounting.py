"""What the calls of one worker use, by the kernel's word and not the guest's.

Of calls that were sent ahead it is what the worker has spent since the last answer was read: the sum over the calls is right,
but one whose work was done by then counts for its predecessor. Calls whose answers come together share the time.

Of a call whose worker ends what was seen last counts: the watchdog looks ten times a second, and whoever ends a worker looks
before. The processes that a short call starts are counted once it has computed for a moment itself.
"""

from libs.messages.calls import FailureCode
from libs.messages.catalog import Limits
from services.executor.sandbox.base import Cell, Usage

_CROWDING_US = 2000
"""A call that computed for less has not started as many processes as it may, which takes longer than this to look at, too."""
_KIB = 1024
_MEASURE_US = 500
"""Processor time between two looks at the memory: it takes time to fill, and looking costs as much as a short call."""


class Account:
    """Follows a worker's use from call to call."""

    __slots__ = (
        "_cell",
        "_children_us",
        "_own_us",
        "_seen_call",
        "_seen_us",
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
        self._own_us = 0
        """What the guest's process had of `used_us`."""
        self._children_us = 0
        """What processes that the guest had started had used when the last call ended for which that was asked."""
        self._seen_call = -1
        """`started_us` of the call that was last looked at while it ran."""
        self._seen_us = 0
        """What that call had used by then."""
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
        self.started_us += self._own_us

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
        self.used_us = self._own_us = used
        self._unmeasured_us += used
        if self._unmeasured_us >= _MEASURE_US or not self.memory_kib:
            self._unmeasured_us = 0
            self.memory_kib = cell.memory_kib()
            self.peak_kib = max(self.peak_kib, self.memory_kib)
        took_long = used >= _CROWDING_US
        if took_long:
            self.crowded = cell.crowded()
        if took_long or self._seen_call == self.started_us:
            self.peak_kib = max(self.peak_kib, cell.most_kib())
            ended_us = cell.ended_us()
            self.used_us += max(ended_us - self._children_us, 0)
            self._children_us = ended_us

    def glance(self) -> None:
        """Take down what is cheap to know while a call goes on after its answer."""
        if self._cell is not None:
            self.see(Usage(memory_bytes=self._cell.memory_kib() * _KIB, processes=0, children_us=self._children_us))

    def see(self, usage: Usage) -> None:
        """Take down what the worker uses while a call runs."""
        if self._cell is None:
            return
        own = self._cell.cpu_us()
        self.peak_kib = max(self.peak_kib, usage.memory_bytes // _KIB)
        used = max(own - self.started_us, 0) + max(usage.children_us - self._children_us, 0)
        self._seen_us = max(used, self._seen_us) if self._seen_call == self.started_us else used
        self._seen_call = self.started_us

    def lose(self, code: FailureCode, limits: Limits) -> None:
        """The worker has ended, for that reason, with a call that was not answered."""
        self.used_us = self._seen_us if self._seen_call == self.started_us else 0
        if code is FailureCode.MEMORY_LIMIT:
            self.peak_kib = max(self.peak_kib, limits.memory_mb * _KIB)
