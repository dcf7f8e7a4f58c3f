"""Jobs whose time has come, from the store onto the queue: retries, ticks that waited, and what the queue has lost."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from libs.clock import Clock
from libs.messages.jobs import TERMINAL, JobState
from libs.storage import port
from services.scheduler import jobs
from services.scheduler.catalogue import Catalogue
from services.scheduler.dead_letters import letter_of
from services.scheduler.jobs import Job
from services.scheduler.publishing import Publisher
from services.scheduler.store import JobStore, StoredJob

log = logging.getLogger(__name__)

_BATCH = 500
_UNBEGUN_HOLD = timedelta(seconds=30)
"""How long a tick waits behind one that has not begun."""
_HOLD_POLL = timedelta(milliseconds=250)
_BACKLOG_GRACE = timedelta(minutes=10)
"""As `jobs.PUBLISH_GRACE`, for a job that waits for long: the queue is behind rather than broken."""


class DueJobs:
    """Publishes what is due; every replica does, and the queue counts an event once."""

    def __init__(
        self,
        *,
        store: JobStore,
        catalogue: Catalogue,
        publisher: Publisher,
        clock: Clock,
        keep: timedelta,
        replica: str,
        on_ended: Callable[[Job], None],
    ) -> None:
        """Look into `store`; `keep` is how long an ended job is remembered, `on_ended` told of one that can never run."""
        self._store = store
        self._catalogue = catalogue
        self._publisher = publisher
        self._clock = clock
        self._keep = keep
        self._replica = replica
        self._on_ended = on_ended

    async def publish(self) -> int:
        """Publish the events of all jobs that are due; return how many were looked at."""
        due = await self._store.due(self._clock.now(), limit=_BATCH)
        for found in due:
            try:
                await self._publish_one(found)
            except port.RevisionConflictError:
                continue
        return len(due)

    async def _publish_one(self, found: StoredJob) -> None:
        job, revision, now = found.job, found.revision, self._clock.now()
        if job.after:
            job = await self._after(job, now)
            # Written before the event goes out: a claim that finds the job still waiting would be refused.
            revision = await self._store.save(job, revision=revision)
            if job.after or job.state in TERMINAL:
                return
        known = self._catalogue.version(job.request)
        if known is None:
            if self._catalogue.complete.is_set():
                ending = jobs.give_up(job, reason="unknown function or version", now=now, keep=self._keep)
                await self._store.save_ending(ending, revision=revision, letter=letter_of(ending, b"", source=self._replica))
                self._on_ended(ending.job)
            return
        if job.state is JobState.RUNNING:
            log.warning("job %s runs again: its executor was lost", job.id, extra={"action": "job_requeued", "job": job.id})
        await self._publisher.publish(job, known)
        seen_before = now - job.created_at > jobs.PUBLISH_GRACE
        due = now + (_BACKLOG_GRACE if seen_before else jobs.PUBLISH_GRACE)
        await self._store.save(replace(job, due_at=jobs.stored(due)), revision=revision)

    async def _after(self, job: Job, now: datetime) -> Job:
        """Return a waiting job: free when the earlier run has ended, skipped when it waited long enough."""
        earlier = await self._store.get(job.after)
        while earlier is not None and earlier.job.state is JobState.CANCELED and earlier.job.after:
            # It never ran; what it waited for may go on.
            job = replace(job, after=earlier.job.after)
            earlier = await self._store.get(job.after)
        if earlier is None or earlier.job.state in TERMINAL:
            return replace(job, after="", hold_until=None)
        begun = earlier.job.state is JobState.RUNNING
        patience = job.hold_until if begun else job.created_at + _UNBEGUN_HOLD
        if patience is not None and now >= patience:
            return jobs.cancel(job, now=now, keep=self._keep, reason="skipped: the previous run was still going")
        return replace(job, due_at=jobs.stored(now + _HOLD_POLL))
