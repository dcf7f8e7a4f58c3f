"""Two replicas' stores over one database: what one remembers of a job is never trusted over what the other has written."""

from datetime import UTC, datetime, timedelta

import pytest

from libs.messages.catalog import Retry
from libs.messages.jobs import Claim, JobRequest, JobState
from libs.storage.memory import MemoryStore
from libs.storage.port import RevisionConflictError
from services.scheduler import jobs
from services.scheduler.jobs import Job
from services.scheduler.store import JobStore

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _job(job_id: str = "job-1", *, body: bytes = b"{}") -> Job:
    return Job(
        id=job_id,
        state=JobState.QUEUED,
        request=JobRequest(namespace="default", runtime="python", function="hello", query={"a": ["1", "2"]}, body=body),
        created_at=_NOW,
        updated_at=_NOW,
        due_at=_NOW + timedelta(minutes=1),
        retry=Retry(),
    )


def _claimed(job: Job) -> Job:
    running = jobs.claim(job, Claim(job_id=job.id, attempt=1, sequence=7), executor="executor", now=_NOW)
    assert running is not None
    return running


@pytest.fixture
async def replicas() -> tuple[JobStore, JobStore]:
    database = MemoryStore()
    pair = JobStore(database), JobStore(database)
    for each in pair:
        await each.prepare()
    return pair


@pytest.mark.parametrize("body", [b"{}", b"x" * 100_000])
async def test_a_job_comes_back_as_it_was_added(replicas: tuple[JobStore, JobStore], body: bytes) -> None:
    job = _job(body=body)
    await replicas[0].add(job)
    for each in replicas:
        assert await each.recall([job.id, "job-unknown"]) == {job.id: (job, 1)}
        assert await each.get(job.id) == (job, 1)


async def test_a_save_on_what_is_remembered_conflicts_when_another_replica_wrote_it(
    replicas: tuple[JobStore, JobStore],
) -> None:
    mine, theirs = replicas
    await mine.add(_job())
    known = (await theirs.recall(["job-1"]))["job-1"]
    await theirs.save(_claimed(known.job), revision=known.revision)
    stale = (await mine.recall(["job-1"]))["job-1"]
    assert stale.job.state is JobState.QUEUED
    with pytest.raises(RevisionConflictError):
        await mine.save(_claimed(stale.job), revision=stale.revision)
    # The conflict has taught it.
    assert (await mine.recall(["job-1"]))["job-1"] == (_claimed(_job()), 2)


async def test_an_update_and_a_get_see_what_another_replica_wrote(replicas: tuple[JobStore, JobStore]) -> None:
    mine, theirs = replicas
    await mine.add(_job())
    await theirs.update("job-1", _claimed)
    found = await mine.get("job-1")
    assert found is not None
    assert found.job.state is JobState.RUNNING
    canceled = await mine.update("job-1", lambda job: jobs.cancel(job, now=_NOW, keep=timedelta(hours=1)))
    assert canceled is not None
    assert canceled.attempt == 1
