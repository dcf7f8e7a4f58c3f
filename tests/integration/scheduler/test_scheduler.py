"""Jobs and ticks through a whole scheduler: requests in, events out, outcomes recorded once."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from libs import errors
from libs.bus import rpc, streams
from libs.bus.memory import MemoryBus
from libs.messages import codec, subjects
from libs.messages.calls import FailureCode
from libs.messages.catalog import KeepWarm, Policy, Retry, Schedule, VersionEntry
from libs.messages.jobs import (
    Claim,
    ClaimJobs,
    DeadLetterList,
    DeadLetters,
    JobCancel,
    JobEvent,
    JobGet,
    JobResult,
    JobResultGet,
    JobRetry,
    JobState,
    JobView,
    Outcome,
    ScheduleList,
    ScheduleViews,
)
from libs.testing.wait import eventually
from services.scheduler import jobs
from tests.integration.scheduler.scripted import Platform, Replica, submission


def ok(event: JobEvent) -> Outcome:
    return Outcome(job_id=event.job_id, attempt=event.attempt, sequence=0, status=200, head=b"[]", body=b"fine")


async def ask[T](platform: Platform, operation: str, request: codec.Record, reply: type[T]) -> T:
    return await rpc.call(MemoryBus(platform.broker), subjects.rpc("scheduler", operation), request, reply)


async def ended(platform: Platform, job_id: str) -> JobView:
    async def check() -> JobView | None:
        view = await ask(platform, "get", JobGet(id=job_id), JobView)
        return view if view.state not in (JobState.QUEUED, JobState.RUNNING) else None

    found = await eventually(check)
    assert found is not None
    return found


async def test_job_runs_once_and_its_result_is_kept(platform: Platform) -> None:
    await platform.scheduler()
    executor = await platform.executor(ok)
    view = await ask(platform, "submit", submission(body=b"\x00\xff"), JobView)
    assert (view.state, view.attempt) == (JobState.QUEUED, 0)
    assert (await ended(platform, view.id)).state is JobState.DONE
    result = await ask(platform, "result", JobResultGet(id=view.id), JobResult)
    assert (result.ready, result.status, result.body) == (True, 200, b"fine")
    assert [event.body for event in executor.runs] == [b"\x00\xff"]
    head = orjson.loads(executor.runs[0].head)
    assert head["client"] == {"ip": "127.0.0.1", "ua": "fastfn-jobs"}


async def test_job_is_refused_when_its_function_is_unknown(platform: Platform) -> None:
    await platform.scheduler()
    with pytest.raises(errors.NotFoundError):
        await ask(platform, "submit", submission("nobody"), JobView)


async def test_job_is_tried_again_and_dead_lettered_when_attempts_are_used_up(platform: Platform) -> None:
    await platform.scheduler()

    def fail(event: JobEvent) -> Outcome:
        return Outcome(job_id=event.job_id, attempt=event.attempt, sequence=0, status=500, body=b'{"error":"boom"}')

    executor = await platform.executor(fail)
    view = await ask(platform, "submit", submission(max_attempts=3), JobView)
    final = await ended(platform, view.id)
    assert (final.state, final.attempt, final.runs, final.last_error) == (JobState.FAILED, 3, 3, "boom")
    assert [event.attempt for event in executor.runs] == [1, 2, 3]
    letters = await ask(platform, "dead-letters", DeadLetterList(), DeadLetters)
    assert [letter.job_id for letter in letters.letters] == [view.id]
    assert "boom" in letters.letters[0].reason


async def test_job_that_was_given_up_is_tried_anew_once_when_two_ask_at_once(platform: Platform) -> None:
    await platform.scheduler()
    await platform.scheduler()
    broken = True

    def fail(event: JobEvent) -> Outcome:
        return replace(ok(event), status=500, body=b'{"error":"boom"}') if broken else ok(event)

    executor = await platform.executor(fail)
    view = await ask(platform, "submit", submission(max_attempts=2), JobView)
    assert (await ended(platform, view.id)).state is JobState.FAILED
    broken = False
    answers = await asyncio.gather(
        *(ask(platform, "retry", JobRetry(id=view.id), JobView) for _ in range(10)), return_exceptions=True
    )
    queued = [each for each in answers if isinstance(each, JobView)]
    assert [(each.state, each.attempt, each.max_attempts, each.result_status) for each in queued] == [
        (JobState.QUEUED, 2, 4, 0)
    ]
    assert all(isinstance(each, errors.ConflictError) for each in answers if not isinstance(each, JobView))
    assert (await ended(platform, view.id)).state is JobState.DONE
    assert [event.attempt for event in executor.runs] == [1, 2, 3]
    assert (await ask(platform, "dead-letters", DeadLetterList(), DeadLetters)).letters == ()
    with pytest.raises(errors.ConflictError):
        await ask(platform, "retry", JobRetry(id=view.id), JobView)
    with pytest.raises(errors.NotFoundError):
        await ask(platform, "retry", JobRetry(id="job-nobody"), JobView)


async def test_job_that_fails_again_has_as_many_attempts_as_at_first(platform: Platform) -> None:
    await platform.scheduler()

    def fail(event: JobEvent) -> Outcome:
        return replace(ok(event), status=500, body=b'{"error":"boom"}')

    executor = await platform.executor(fail)
    view = await ask(platform, "submit", submission(max_attempts=2), JobView)
    for last in (2, 4, 6):
        final = await ended(platform, view.id)
        assert (final.state, final.attempt) == (JobState.FAILED, last)
        letters = (await ask(platform, "dead-letters", DeadLetterList(), DeadLetters)).letters
        assert [letter.reason for letter in letters] == [f"attempt {last} of {last}: boom"]
        if last < 6:
            await ask(platform, "retry", JobRetry(id=view.id), JobView)
    assert [event.attempt for event in executor.runs] == [1, 2, 3, 4, 5, 6]


async def test_job_waits_without_losing_an_attempt_when_no_executor_has_room(platform: Platform) -> None:
    await platform.scheduler()
    rejections = 2

    def reject_twice(event: JobEvent) -> Outcome:
        nonlocal rejections
        if rejections:
            rejections -= 1
            return Outcome(job_id=event.job_id, attempt=event.attempt, sequence=0, rejected=True, message="busy")
        return ok(event)

    await platform.executor(reject_twice)
    view = await ask(platform, "submit", submission(), JobView)
    final = await ended(platform, view.id)
    assert (final.state, final.attempt, final.runs) == (JobState.DONE, 1, 1)


async def test_canceled_job_is_never_run(platform: Platform) -> None:
    await platform.scheduler()
    view = await ask(platform, "submit", submission(), JobView)
    canceled = await ask(platform, "cancel", JobCancel(id=view.id), JobView)
    assert canceled.state is JobState.CANCELED
    executor = await platform.executor(ok)
    await eventually(lambda: executor.dropped == 1)
    assert executor.runs == []
    with pytest.raises(errors.ConflictError):
        await ask(platform, "cancel", JobCancel(id=view.id), JobView)
    with pytest.raises(errors.NotFoundError):
        await ask(platform, "cancel", JobCancel(id="job-nobody"), JobView)


async def test_large_result_is_readable(platform: Platform) -> None:
    await platform.scheduler()
    body = bytes(range(256)) * 1000

    def large(event: JobEvent) -> Outcome:
        return Outcome(job_id=event.job_id, attempt=event.attempt, sequence=0, status=200, body=body)

    await platform.executor(large)
    view = await ask(platform, "submit", submission(), JobView)
    await ended(platform, view.id)
    assert (await ask(platform, "result", JobResultGet(id=view.id), JobResult)).body == body


async def test_crash_counts_as_a_failed_attempt(platform: Platform) -> None:
    await platform.scheduler()

    def crash(event: JobEvent) -> Outcome:
        return Outcome(
            job_id=event.job_id, attempt=event.attempt, sequence=0, code=FailureCode.CRASH, message="worker ended with signal 9"
        )

    await platform.executor(crash)
    view = await ask(platform, "submit", submission(), JobView)
    final = await ended(platform, view.id)
    assert (final.state, final.last_error) == (JobState.FAILED, "worker ended with signal 9")


async def test_event_is_published_again_when_the_queue_lost_it(platform: Platform) -> None:
    """A crash between the document and the queue: the job is there, its event is not."""
    replica = await platform.scheduler()
    view = await ask(platform, "submit", submission(), JobView)
    platform.broker.streams.clear()
    for stream in (streams.JOBS, streams.EVENTS):
        await replica.bus.ensure_stream(stream)
    await replica.store.update(view.id, lambda job: replace(job, due_at=job.created_at))
    executor = await platform.executor(ok)
    await ended(platform, view.id)
    assert len(executor.runs) == 1


async def test_tick_fires_once_between_three_replicas(platform: Platform) -> None:
    replicas = [await platform.scheduler() for _ in range(3)]
    executor = await platform.executor(ok)
    await platform.deploy("tick", schedule=Schedule(every_seconds=1))
    await eventually(lambda: len(executor.runs) >= 4)
    replicas[0].kill()
    await eventually(lambda: len(executor.runs) >= 7)
    counts = Counter(event.job_id for event in executor.runs)
    assert set(counts.values()) == {1}
    seconds = sorted(int(job_id.split("-")[1]) // 1000 for job_id in counts)
    assert seconds == list(range(seconds[0], seconds[0] + len(seconds)))
    trigger = orjson.loads(executor.runs[0].head)["trigger"]
    assert trigger == {"type": "schedule", "every_seconds": 1, "timezone": "UTC", "attempt": 1, "max_attempts": 1}
    views = (await ask(platform, "schedules", ScheduleList(), ScheduleViews)).schedules
    assert [(each.function, each.last_status) for each in views] == [("tick", 200)]
    assert views[0].next_at is not None


async def test_schedules_are_shown_and_do_not_fire_when_that_is_switched_off(platform: Platform) -> None:
    """A job beside it that ends shows that the scheduler works."""
    replica = await platform.scheduler(enabled=False)
    executor = await platform.executor(ok)
    await platform.deploy("tick", schedule=Schedule(every_seconds=1))
    views = (await ask(platform, "schedules", ScheduleList(), ScheduleViews)).schedules
    assert [(each.function, each.next_at) for each in views] == [("tick", None)]
    await ended(platform, (await ask(platform, "submit", submission(), JobView)).id)
    assert len(executor.runs) == 1
    assert replica.ticks.fired == 0


async def test_function_that_is_kept_warm_is_called_every_so_often(platform: Platform) -> None:
    await platform.scheduler()
    executor = await platform.executor(ok)
    keep = KeepWarm(enabled=True, min_warm=2, ping_every_seconds=1)
    await platform.deploy("warm", keep_warm=keep, schedule=Schedule(every_seconds=3600))
    await eventually(lambda: len(executor.runs) >= 2)
    head = orjson.loads(executor.runs[0].head)
    assert (head["method"], head["query"]) == ("GET", {"__fastfn_keep_warm": "1"})
    assert head["headers"]["x-fastfn-trigger"] == "keep_warm"
    assert head["trigger"]["type"] == "keep_warm"
    views = (await ask(platform, "schedules", ScheduleList(), ScheduleViews)).schedules
    assert [each.keep_warm and each.keep_warm["min_warm"] for each in views] == [None, 2]


async def test_tick_is_tried_again_by_its_schedule_s_own_rule(platform: Platform) -> None:
    await platform.scheduler()
    tries = Counter[str]()

    def fail_first(event: JobEvent) -> Outcome:
        tries[event.job_id] += 1
        status = 503 if tries[event.job_id] == 1 else 200
        return Outcome(job_id=event.job_id, attempt=event.attempt, sequence=0, status=status)

    executor = await platform.executor(fail_first)
    retry = Retry(max_attempts=2, base_delay_seconds=0.01, max_delay_seconds=0.01)
    await platform.deploy("tick", schedule=Schedule(every_seconds=1, retry=retry))
    await eventually(lambda: any(event.attempt == 2 for event in executor.runs))


async def fire(replica: Replica, nominal: datetime) -> None:
    """Fire the nominal time of a schedule `tick`."""
    version = VersionEntry(label="default", digest="d", bundle="b", entrypoint="handler.py", policy=Policy())
    await replica.dispatch.tick(
        key="tick",
        nominal=nominal,
        request=submission().request,
        version=version,
        retry=None,
        trigger={},
        hold=timedelta(seconds=1),
    )


async def test_no_tick_is_missed_when_the_event_of_one_was_lost(platform: Platform) -> None:
    """A scheduler dies between a tick's document and its event: the tick comes late, and the next ones after it."""
    replica = await platform.scheduler()
    times = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=each) for each in range(3)]
    await fire(replica, times[0])
    platform.broker.streams.clear()
    for stream in (streams.JOBS, streams.EVENTS):
        await replica.bus.ensure_stream(stream)
    for nominal in times[1:]:
        await fire(replica, nominal)
    executor = await platform.executor(ok)
    await eventually(lambda: len(executor.runs) == 3)
    assert [event.job_id for event in executor.runs] == [jobs.tick_id("tick", nominal) for nominal in times]


async def test_tick_waits_for_the_run_that_goes_on_when_the_one_between_was_skipped(platform: Platform) -> None:
    replica = await platform.scheduler()
    replica.kill()  # what is due is looked at by hand
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = [start + timedelta(seconds=each) for each in range(3)]
    going_on, skipped, waiting = (jobs.tick_id("tick", nominal) for nominal in times)
    for nominal in times:
        await fire(replica, nominal)
        claims = (Claim(job_id=going_on, attempt=1, sequence=1),)
        await replica.dispatch.claim(ClaimJobs(executor="e", claims=claims))
    await replica.store.update(skipped, lambda job: replace(job, hold_until=job.created_at))

    async def now_waits_for() -> str | None:
        await replica.due.publish()
        found = await replica.store.get(waiting)
        return found.job.after if found and found.job.after != skipped else None

    assert await eventually(now_waits_for) == going_on
    found = await replica.store.get(skipped)
    assert found is not None
    assert (found.job.state, found.job.last_error) == (JobState.CANCELED, "skipped: the previous run was still going")


async def test_schedule_stops_when_its_function_is_removed(platform: Platform) -> None:
    replica = await platform.scheduler()
    executor = await platform.executor(ok)
    await platform.deploy("tick", schedule=Schedule(every_seconds=1))
    await eventually(lambda: executor.runs)
    bucket = await MemoryBus(platform.broker).bucket(subjects.CATALOG_BUCKET)
    await bucket.delete(subjects.catalog_key(namespace="default", runtime="python", function="tick"))

    async def gone() -> bool:
        return await replica.ticks.views() == ()

    await eventually(gone)


async def test_garbage_is_refused_and_harms_nobody(platform: Platform) -> None:
    await platform.scheduler()
    bus = MemoryBus(platform.broker)
    for data in (b"", b"\xc1", b"\x80", codec.encode(JobGet(id="x"))):
        answer = await bus.request(subjects.rpc("scheduler", "submit"), data, timeout=5)
        assert codec.decode(rpc.RpcReply, answer.data).error == "permanent"
    await bus.append(subjects.DEAD_LETTER, b"not a dead letter")

    async def kept() -> bool:
        letters = await ask(platform, "dead-letters", DeadLetterList(), DeadLetters)
        return [letter.data for letter in letters.letters] == [b"not a dead letter"]

    await eventually(kept)


async def test_many_jobs_at_once_end_once_each(platform: Platform) -> None:
    await platform.scheduler()
    await platform.scheduler()
    executor = await platform.executor(ok)
    views = await asyncio.gather(*(ask(platform, "submit", submission(), JobView) for _ in range(300)))
    for view in views:
        assert (await ended(platform, view.id)).state is JobState.DONE
    assert Counter(event.job_id for event in executor.runs) == {view.id: 1 for view in views}


async def test_each_step_of_a_job_may_be_another_replica_s(platform: Platform) -> None:
    first, second = (await platform.scheduler()).dispatch, (await platform.scheduler()).dispatch
    job = await first.submit(submission(max_attempts=2, retry_delay_ms=0), "")

    def claims(attempt: int) -> ClaimJobs:
        return ClaimJobs(executor="e", claims=(Claim(job_id=job.id, attempt=attempt, sequence=attempt),))

    def outcome(attempt: int, status: int) -> Outcome:
        return Outcome(job_id=job.id, attempt=attempt, sequence=attempt, status=status)

    # Whoever is asked remembers the job as it was before the other one's step.
    assert await second.claim(claims(1)) == (True,)
    assert await first.record([outcome(1, 500)]) == (True,)
    assert await second.claim(claims(2)) == (True,)
    assert await first.claim(ClaimJobs(executor="e", claims=(Claim(job_id=job.id, attempt=2, sequence=9),))) == (False,)
    assert await first.record([outcome(2, 200)]) == (True,)
    assert await second.record([outcome(2, 500)]) == (False,)
    assert (await ended(platform, job.id)).state is JobState.DONE
