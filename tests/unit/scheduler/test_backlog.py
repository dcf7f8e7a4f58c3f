"""How long jobs wait, as the figures tell it: not those in a pause, and not those that run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from libs.clock import ManualClock
from libs.messages.catalog import Retry
from libs.messages.jobs import Claim, JobRequest, JobState
from libs.storage.memory import MemoryStore
from services.scheduler import jobs
from services.scheduler.backlog import Backlog
from services.scheduler.jobs import Job
from services.scheduler.store import JobStore

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def job(number: int, *, ago: float) -> Job:
    handed_in = NOON - timedelta(seconds=ago)
    return Job(
        id=f"job-{number}",
        state=JobState.QUEUED,
        request=JobRequest(namespace="default", runtime="python", function="hello"),
        created_at=handed_in,
        updated_at=handed_in,
        due_at=handed_in,
        retry=Retry(),
    )


@pytest.fixture
async def store() -> JobStore:
    made = JobStore(MemoryStore())
    await made.prepare()
    return made


async def told(store: JobStore) -> tuple[int, float]:
    backlog = Backlog(store=store, clock=ManualClock(NOON))
    await backlog.look()
    return backlog.queued, backlog.oldest_seconds


async def test_nothing_waits_when_there_are_no_jobs(store: JobStore) -> None:
    assert await told(store) == (0, 0.0)


async def test_oldest_is_the_one_that_has_waited_longest(store: JobStore) -> None:
    for number, ago in enumerate((5, 40, 20)):
        await store.add(job(number, ago=ago))
    assert await told(store) == (3, 40.0)


async def test_job_that_runs_or_has_ended_waits_no_more(store: JobStore) -> None:
    running = jobs.claim(job(0, ago=90), Claim(job_id="job-0", attempt=1, sequence=1), executor="e", now=NOON)
    assert running is not None
    await store.add(running)
    await store.add(replace(job(1, ago=80), state=JobState.FAILED))
    await store.add(job(2, ago=7))
    assert await told(store) == (1, 7.0)


async def test_job_waits_from_the_end_of_its_pause_and_from_its_retry_by_hand(store: JobStore) -> None:
    await store.add(replace(job(0, ago=900), next_run_at=NOON + timedelta(seconds=30)))
    await store.add(replace(job(1, ago=800), next_run_at=NOON - timedelta(seconds=3)))
    await store.add(replace(job(2, ago=700), updated_at=NOON - timedelta(seconds=9)))
    await store.add(replace(job(3, ago=600), after="job-0"))
    assert await told(store) == (4, 9.0)
