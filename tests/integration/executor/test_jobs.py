"""Attempts of jobs through an executor: claim, run, outcome, and how each delivery is settled."""

import asyncio
import os
from pathlib import Path

from libs.messages import codec, subjects
from libs.messages.calls import FailureCode
from libs.messages.catalog import Policy
from libs.messages.executions import ExecutionKind
from libs.messages.jobs import CancelJob, DeadLetter
from libs.testing.buses import Net
from libs.testing.wait import eventually
from services.executor.jobs.policy import Settle
from tests.integration.executor.harness import PATIENCE, Platform


def settled(platform: Platform, how: Settle) -> int:
    """Return how many deliveries were settled in a way."""
    return platform.executor.jobs.settled[how.value]


async def test_job_runs_and_is_acknowledged_when_its_outcome_is_stored(platform: Platform) -> None:
    await platform.deploy()
    await platform.submit("job-1", b"hello")
    outcome = await platform.outcome("job-1")
    assert (outcome.attempt, outcome.status, outcome.body, outcome.code) == (1, 200, b"hello", FailureCode.NONE)
    assert not outcome.rejected
    await eventually(lambda: settled(platform, Settle.ACK) == 1, within=PATIENCE)
    told = await platform.execution("job-1@1")
    assert told.kind is ExecutionKind.JOB


async def test_job_that_crashes_its_worker_has_that_as_its_outcome(platform: Platform) -> None:
    await platform.deploy()
    await platform.submit("job-1", b"exit 9")
    outcome = await platform.outcome("job-1")
    assert (outcome.code, outcome.message) == (FailureCode.CRASH, "worker ended with exit code 9")


async def test_job_that_is_declined_is_acknowledged_and_not_run(platform: Platform) -> None:
    await platform.deploy()
    platform.scheduler.run = False
    await platform.submit("job-1")
    await eventually(lambda: settled(platform, Settle.ACK) == 1, within=PATIENCE)
    assert platform.scheduler.outcomes == []


async def test_job_of_an_unknown_version_fails_and_says_so(platform: Platform) -> None:
    await platform.submit("job-1")
    assert (await platform.outcome("job-1")).code is FailureCode.UNKNOWN_VERSION


async def test_job_that_cannot_be_parsed_becomes_a_dead_letter_with_its_bytes(platform: Platform) -> None:
    letters: list[DeadLetter] = []
    await platform.bus.subscribe(subjects.DEAD_LETTER, lambda message: letters.append(codec.decode(DeadLetter, message.data)))
    await platform.queue(b"\xc1 nonsense")
    await eventually(lambda: letters and settled(platform, Settle.DEAD_LETTER), within=PATIENCE)
    assert (letters[0].data, letters[0].source) == (b"\xc1 nonsense", "executor-1")
    await platform.deploy()
    await platform.submit("job-1")
    await platform.outcome("job-1")


async def test_cancel_kills_the_worker_of_a_running_job(platform: Platform) -> None:
    await platform.deploy()
    await platform.submit("job-1", b"hang")
    await eventually(lambda: platform.executor.dispatch.pool.busy, within=PATIENCE)
    await platform.bus.publish(subjects.CANCEL_JOB, codec.encode(CancelJob(job_id="job-1")))
    assert (await platform.outcome("job-1")).code is FailureCode.CANCELED


async def test_job_over_its_time_is_dead_when_the_outcome_is_told(platform: Platform, tmp_path: Path) -> None:
    await platform.deploy()
    written = tmp_path / "written"
    await platform.submit("job-1", b"write-later 2 " + bytes(written), timeout_ms=500)
    assert (await platform.outcome("job-1")).code is FailureCode.TIMEOUT
    assert not written.exists()


async def test_time_that_a_job_waits_is_not_taken_from_its_handler(platform: Platform) -> None:
    await platform.deploy(policy=Policy(max_concurrency=1))
    for number in range(3):
        await platform.submit(f"job-{number}", b"sleep 1", timeout_ms=2000)
    assert [(await platform.outcome(f"job-{number}")).status for number in range(3)] == [200, 200, 200]


async def test_many_jobs_all_have_one_outcome(platform: Platform) -> None:
    await platform.deploy(policy=Policy(max_concurrency=3))
    for number in range(100):
        await platform.submit(f"job-{number}", f"{number}".encode())
    await eventually(lambda: settled(platform, Settle.ACK) == 100, within=PATIENCE)
    assert sorted(outcome.job_id for outcome in platform.scheduler.outcomes) == sorted(f"job-{number}" for number in range(100))


async def test_large_outcome_travels_by_reference(platform: Platform) -> None:
    await platform.deploy()
    store = await platform.bus.objects(subjects.BODY_STORE, ttl_seconds=3600)
    body = os.urandom(500_000)
    await store.put("a-body", body)
    await platform.submit("job-1", body_ref="a-body")
    outcome = await platform.outcome("job-1")
    assert await store.get(outcome.body_ref) == body


async def test_running_job_is_handed_back_when_the_executor_stops(net: Net, tmp_path: Path) -> None:
    first = Platform(net, tmp_path / "first")
    async with first.running(drain_seconds=0.2):
        await first.deploy()
        await first.submit("job-1", b"sleep 1.5")
        await eventually(lambda: first.executor.dispatch.pool.busy, within=PATIENCE)
    assert first.scheduler.outcomes == []
    assert first.heartbeats[-1].stopping
    second = Platform(net, tmp_path / "second")
    async with second.running():
        assert (await second.outcome("job-1")).status == 200


async def test_running_calls_finish_when_the_executor_stops(net: Net, tmp_path: Path) -> None:
    platform = Platform(net, tmp_path)
    async with platform.running():
        version = await platform.deploy()
        call = asyncio.create_task(platform.call(version, b"sleep 0.5"))
        await eventually(lambda: platform.executor.dispatch.pool.busy, within=PATIENCE)
    assert (await call).status == 200
