"""How many jobs wait, and since when the one that has waited longest: what tells that there are too few executors."""

from libs.clock import Clock
from services.scheduler.store import JobStore

_LOOKED_AT = 200
"""Of the oldest queued jobs; some of them may be in the pause before their next attempt."""


class Backlog:
    """Looks into the store now and then, for the figures."""

    def __init__(self, *, store: JobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.queued = 0
        """Jobs that are queued, those in a pause included."""
        self.oldest_seconds = 0.0
        """How long the one that could run and has waited longest has waited; 0: there is none."""

    async def look(self) -> None:
        """Bring the figures up to date.

        Raises:
            errors.UnavailableError: the store cannot be reached.
        """
        self.queued = await self._store.queued()
        now = self._clock.now()
        since = [
            max(job.updated_at, job.next_run_at or job.updated_at)
            for job in (await self._store.oldest_queued(limit=_LOOKED_AT) if self.queued else ())
            if not job.after
        ]
        self.oldest_seconds = max(((now - each).total_seconds() for each in since if each <= now), default=0.0)
