"""What is counted of answers: plain numbers, so that counting costs a call next to nothing. `metrics` reads them when asked."""

import bisect
from typing import NamedTuple

BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histograms, in seconds."""
CLASSES = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")


class Example(NamedTuple):
    """A call that can be looked at in a trace."""

    trace_id: str
    seconds: float
    at: float
    """Epoch seconds."""


class Books:
    """The answers of one version, or of many."""

    __slots__ = ("buckets", "examples", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses = [0] * len(CLASSES)
        """By the first digit of the status."""
        self.buckets = [0] * (len(BOUNDS) + 1)
        """By how long they took; the last one is for those beyond all bounds."""
        self.seconds = 0.0
        """How long they took together."""
        self.examples: dict[int, Example] = {}
        """The newest traced call of each bucket."""

    def count(self, status: int, seconds: float) -> None:
        """Count one answer."""
        self.statuses[status // 100] += 1
        self.buckets[bisect.bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def keep(self, example: Example) -> None:
        """Keep a traced call as the example of its bucket."""
        self.examples[bisect.bisect_left(BOUNDS, example.seconds)] = example

    def add(self, other: "Books") -> None:
        """Add what was counted elsewhere."""
        self.statuses = [mine + theirs for mine, theirs in zip(self.statuses, other.statuses, strict=True)]
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds
        self.examples |= other.examples
