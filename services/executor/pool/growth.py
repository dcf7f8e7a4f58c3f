"""When a version gets another worker: what is known of its handlers, and what follows from it. Pure.

At once when a waiting call has no worker of its version. Otherwise when waiting for the present ones is expected to take longer
than a start: handlers that are short share warm workers, slow ones grow at once, and handlers that were seen to wait (for a
database, for a clock) as far as there are calls. A call that waits longer than expected has it looked at again. A version
whose handlers only compute gets no more workers than make use of the cores (`max_computing`): how long they run says nothing
then, since under load they wait for each other. That holds while calls get on: when none was answered for
`PATIENCE_SECONDS`, it is a worker more.
"""

import math

START_SECONDS = 0.025
"""What a start is reckoned to cost."""
LATE_SECONDS = 0.02
"""A head of the queue that has waited this long is looked at again, and so is a call that has run this long."""
PATIENCE_SECONDS = 0.25
"""A head of the queue that has waited this long, while no call was answered, gets a worker more, even if its version's handlers
are known to compute: on a busy machine calls wait as long behind many workers as behind few, as long as they get on."""
RETRY_SECONDS = 0.5
"""Pause after a failed start, while the version has other workers."""

_MISJUDGED = 4
_SMOOTHING = 0.2
_SELDOM = 0.02
"""Share of calls below which a version's handlers are taken never to wait: one of the last ten that did is above it."""
_LONGEST_PAUSE_SECONDS = 60.0


class Growth:
    """What is known of a version's handlers."""

    __slots__ = ("answered_at", "failed_at", "failures", "no_start_before", "rests", "run_seconds", "waits")

    def __init__(self) -> None:
        self.run_seconds = 0.0
        """Smoothed; 0 before the first answer."""
        self.waits = 1.0
        """Smoothed share of the calls whose handler waited for something, rather than compute all the time."""
        self.rests = False
        """Whether the last call that was looked at while it ran was waiting: more of them cost the machine nothing."""
        self.answered_at = 0.0
        """When the last call had its answer."""
        self.no_start_before = 0.0
        self.failed_at = 0.0
        self.failures = 0
        """Starts that failed since the last one that did not."""

    def answered(self, ran: float, now: float, *, waited: bool) -> None:
        """A call has its answer."""
        self.answered_at = now
        self.waits += _SMOOTHING * (waited - self.waits)
        if self.run_seconds == 0.0:
            self.run_seconds = ran
        else:
            self.run_seconds += _SMOOTHING * (ran - self.run_seconds)
        if ran < LATE_SECONDS or not waited:
            self.rests = False

    def seen(self, running: float, *, rests: bool) -> None:
        """A call has been running for some time while others wait for a worker."""
        self.rests = rests
        if rests:
            self.run_seconds = max(self.run_seconds, running)
            self.waits = max(self.waits, _SMOOTHING)

    def failed(self, now: float) -> None:
        """A worker could not be started."""
        self.failures += 1
        self.failed_at = now
        self.no_start_before = now + RETRY_SECONDS

    @property
    def computes(self) -> bool:
        """Whether the version's handlers are taken never to wait for anything."""
        return self.waits < _SELDOM

    def may_start_ahead(self, now: float) -> bool:
        """Return whether a worker may be started that nobody waits for: after starts that failed, ever more seldom."""
        if not self.failures:
            return True
        return now - self.failed_at >= min(RETRY_SECONDS * 2 ** min(self.failures, 10), _LONGEST_PAUSE_SECONDS)

    def wanted(
        self,
        *,
        waiting: int,
        waited: float,
        slots: int,
        starting: int,
        limit: int,
        max_starting: int,
        max_computing: int,
        now: float,
    ) -> int:
        """Return how many workers should be started for the waiting calls.

        Args:
            waiting: calls that wait; at least one.
            waited: how long the first of them has.
            slots: workers of the version.
            starting: those of them that are not ready yet.
            limit: how many there may be.
            max_starting: how many may start at the same time, unless the handlers rest.
            max_computing: how many there may be when handlers only compute.
            now: monotonic seconds.
        """
        most = min(waiting if self.rests else min(waiting, max_starting), limit - slots + starting) - starting
        if self.computes and min(waited, now - self.answered_at) < PATIENCE_SECONDS:
            most = min(most, max_computing - slots)
        if most <= 0:
            return 0
        if slots == 0:
            return 1
        if now < self.no_start_before:
            return 0
        expected = self.run_seconds * waiting / slots
        if expected > START_SECONDS:
            return most if self.rests else min(most, math.ceil(expected / START_SECONDS))
        if waited < LATE_SECONDS:
            return 0
        if expected * _MISJUDGED < waited:
            return most
        # The estimate is right and the calls wait all the same: the machine is short, and a crowd of workers would not help.
        return 0 if starting else 1
