"""How far ahead of its worker a version may be: calls that lie in the worker's socket while the one before them runs. Pure.

One wake of the worker answers several calls then, and one wake of the executor takes several answers: for a handler that takes
a twentieth of a millisecond, waking is most of what a call costs. But a call that lies there cannot be taken back, so it is
done only where the wait is known to be short: for handlers that compute, whose last calls were all short and printed nothing.
"""

LONG_SECONDS = 0.005
"""A call that takes this long is not short."""
PAUSE_SECONDS = 5.0
"""How long none is sent ahead after a call that was long, streamed, printed, went on after its answer, or lost its worker."""
WAIT_SECONDS = 0.001
"""What the calls ahead of the last one in a worker's socket are reckoned to take, at most."""
SHORT_SECONDS = 0.0005
"""Calls of versions that take longer than this are not sent ahead: what waking costs is little beside it."""

_SMOOTHING = 0.2


class Pace:
    """How short a version's calls are."""

    __slots__ = ("alone_until", "took_seconds")

    def __init__(self) -> None:
        self.took_seconds = 0.0
        """Smoothed; 0 before the first answer."""
        self.alone_until = 0.0

    def answered(self, took: float, now: float) -> None:
        """A call has its answer; `took` is the processor's time when it did nothing but compute, else the clock's."""
        if took >= LONG_SECONDS:
            self.alone(now)
        self.took_seconds += (_SMOOTHING if self.took_seconds else 1.0) * (took - self.took_seconds)

    def alone(self, now: float) -> None:
        """Send none ahead for some time."""
        self.alone_until = now + PAUSE_SECONDS

    def depth(self, most: int, now: float) -> int:
        """Return how many calls may wait in a worker's socket, at most `most`."""
        took = self.took_seconds
        if not most or now < self.alone_until or not 0.0 < took < SHORT_SECONDS:
            return 0
        return min(most, int(WAIT_SECONDS / took))
