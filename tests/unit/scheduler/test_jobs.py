"""The job state machine: every way a job can go, and the ways it must not go."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import errors
from libs.messages import codec
from libs.messages.calls import FailureCode
from libs.messages.catalog import Retry
from libs.messages.jobs import TERMINAL, Claim, JobRequest, JobState, Outcome
from services.scheduler import jobs
from services.scheduler.jobs import Ending, Job

NOW = datetime(2026, 3, 1, 12, 0, 0, 123000, UTC)
KEEP = timedelta(hours=1)
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def queued(*, max_attempts: int = 1, retry: Retry | None = None) -> Job:
    return Job(
        id="job-1",
        state=JobState.QUEUED,
        request=JobRequest(namespace="default", runtime="python", function="hello"),
        created_at=NOW,
        updated_at=NOW,
        due_at=NOW,
        max_attempts=max_attempts,
        retry=retry or Retry(max_attempts=max_attempts),
        timeout_ms=2000,
    )


def running(job: Job, *, sequence: int = 7) -> Job:
    claimed = jobs.claim(job, Claim(job_id=job.id, attempt=job.attempt + 1, sequence=sequence), executor="e1", now=NOW)
    assert claimed is not None
    return claimed


def finish(job: Job, outcome: Outcome) -> Ending | None:
    return jobs.finish(job, outcome, now=NOW, keep=KEEP, chance=random.Random(1), trace=TRACE)


def outcome(
    job: Job, *, status: int = 200, body: bytes = b"", head: bytes = b"", code: FailureCode = FailureCode.NONE
) -> Outcome:
    return Outcome(job_id=job.id, attempt=job.attempt, sequence=job.sequence, status=status, body=body, head=head, code=code)


def must(ending: Ending | None) -> Ending:
    assert ending is not None
    return ending


def test_job_survives_the_store_when_every_field_is_set() -> None:
    job = replace(running(queued()), trigger={"type": "schedule"}, result_body=b"\x00\xff", hold_until=NOW)
    assert codec.from_document(Job, codec.to_document(job)) == job


def test_revived_job_has_the_attempts_and_the_pauses_that_it_had_at_first() -> None:
    job = running(queued(max_attempts=1, retry=Retry(base_delay_seconds=10, max_delay_seconds=1000, jitter=0)))
    dead = must(finish(job, outcome(job, status=500, body=b"x" * 100_000))).job
    assert dead.state is JobState.FAILED
    again = jobs.revive(replace(dead, max_attempts=3), now=NOW, trace=TRACE)
    assert (again.state, again.attempt, again.spent, again.max_attempts) == (JobState.QUEUED, 1, 1, 4)
    assert (again.result_status, again.result_ref, again.expires_at) == (0, "", jobs.FOREVER)
    assert again.last_error
    assert jobs.message_id(again) == "job-1@2"
    assert jobs.claim(again, Claim(job_id="job-1", attempt=1, sequence=7), executor="e1", now=NOW) is None
    second = running(again, sequence=8)
    assert must(finish(second, outcome(second, status=500))).job.next_run_at == NOW + timedelta(seconds=10)


def test_job_that_the_same_asker_has_revived_is_as_it_should_be() -> None:
    again = jobs.revive(replace(queued(), state=JobState.FAILED, attempt=1), now=NOW, trace=TRACE.replace("a", "c"))
    assert jobs.revive(again, now=NOW, trace=again.attempt_trace) == again
    with pytest.raises(errors.ConflictError):
        jobs.revive(again, now=NOW, trace=TRACE)


@pytest.mark.parametrize("state", [each for each in JobState if each is not JobState.FAILED])
def test_job_that_was_not_given_up_is_not_revived(state: JobState) -> None:
    with pytest.raises(errors.ConflictError):
        jobs.revive(replace(queued(), state=state), now=NOW, trace=TRACE)


def test_claim_starts_the_first_attempt_when_the_job_is_queued() -> None:
    job = running(queued())
    assert (job.state, job.attempt, job.runs, job.executor) == (JobState.RUNNING, 1, 1, "e1")
    assert job.due_at == NOW + timedelta(seconds=2) + jobs.LEASE_GRACE


def test_claim_allows_a_second_run_when_the_same_event_is_redelivered() -> None:
    again = jobs.claim(running(queued()), Claim(job_id="job-1", attempt=1, sequence=7), executor="e2", now=NOW)
    assert again is not None
    assert (again.attempt, again.runs, again.executor) == (1, 2, "e2")


def test_claim_refuses_a_duplicate_event_while_the_lease_holds() -> None:
    job = running(queued())
    assert jobs.claim(job, Claim(job_id="job-1", attempt=1, sequence=8), executor="e2", now=NOW) is None
    late = jobs.claim(job, Claim(job_id="job-1", attempt=1, sequence=8), executor="e2", now=job.due_at)
    assert late is not None


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_claim_refuses_a_job_that_has_ended(state: JobState) -> None:
    job = replace(queued(), state=state)
    assert jobs.claim(job, Claim(job_id="job-1", attempt=1, sequence=1), executor="e", now=NOW) is None


def test_claim_refuses_a_job_that_waits_for_an_earlier_run() -> None:
    job = replace(queued(), after="job-0")
    assert jobs.claim(job, Claim(job_id="job-1", attempt=1, sequence=1), executor="e", now=NOW) is None


@pytest.mark.parametrize("status", [200, 204, 302, 404, 429, 499])
def test_job_is_done_when_the_answer_is_below_500(status: int) -> None:
    job = running(queued())
    ending = must(finish(job, outcome(job, status=status, body=b"hi")))
    assert (ending.job.state, ending.job.result_status, ending.job.result_body) == (JobState.DONE, status, b"hi")
    assert ending.dead == ""
    assert ending.job.expires_at == NOW + KEEP


def test_job_waits_longer_each_time_when_attempts_fail() -> None:
    job = queued(max_attempts=4, retry=Retry(max_attempts=4, base_delay_seconds=2, max_delay_seconds=100, jitter=0))
    waits: list[float] = []
    for _ in range(3):
        job = running(job)
        job = must(finish(job, outcome(job, status=503))).job
        assert job.state is JobState.QUEUED
        assert job.next_run_at is not None
        waits.append((job.next_run_at - NOW).total_seconds())
    assert waits == [2, 4, 8]
    job = running(job)
    ending = must(finish(job, outcome(job, status=500, body=b'{"error":"boom"}')))
    assert (ending.job.state, ending.job.last_error, ending.dead) == (JobState.FAILED, "boom", "boom")


def test_job_waits_as_told_when_the_answer_has_retry_after() -> None:
    job = running(queued(max_attempts=2))
    again = must(finish(job, outcome(job, status=503, head=b'[["retry-after","90"]]'))).job
    assert again.next_run_at == NOW + timedelta(seconds=90)


@pytest.mark.parametrize("head", [b'[["retry-after","soon"]]', b"{", b'[["retry-after"]]', b"7"])
def test_job_ignores_retry_after_when_it_is_nonsense(head: bytes) -> None:
    job = running(queued(max_attempts=2))
    again = must(finish(job, outcome(job, status=503, head=head))).job
    assert again.next_run_at is not None
    assert again.next_run_at - NOW < timedelta(seconds=2)


@pytest.mark.parametrize(
    "code", [FailureCode.TIMEOUT, FailureCode.CRASH, FailureCode.INVALID_RESPONSE, FailureCode.UNAVAILABLE]
)
def test_job_fails_when_there_is_no_answer(code: FailureCode) -> None:
    job = running(queued())
    assert must(finish(job, outcome(job, status=0, code=code))).job.state is JobState.FAILED


def test_rejection_does_not_count_as_an_attempt() -> None:
    job = running(queued())
    rejected = Outcome(job_id=job.id, attempt=1, sequence=7, rejected=True, message="no room")
    again = must(finish(job, rejected)).job
    assert (again.state, again.attempt, again.runs, again.rejections) == (JobState.QUEUED, 0, 0, 1)
    assert jobs.message_id(again) != jobs.message_id(queued())


def test_late_outcome_is_refused_when_another_run_has_the_claim() -> None:
    job = running(queued())
    late = Outcome(job_id=job.id, attempt=1, sequence=6, status=200)
    assert finish(job, late) is None
    ended = must(finish(job, outcome(job))).job
    assert finish(ended, outcome(job)) is None


def test_large_result_is_kept_apart_from_the_job() -> None:
    job = running(queued())
    ending = must(finish(job, outcome(job, body=b"x" * (jobs.INLINE_RESULT_BYTES + 1))))
    assert ending.job.result_body == b""
    assert ending.job.result_ref
    assert ending.result is not None


def test_cancel_ends_queued_and_running_jobs_and_refuses_ended_ones() -> None:
    for job in (queued(), running(queued())):
        assert jobs.cancel(job, now=NOW, keep=KEEP).state is JobState.CANCELED
    with pytest.raises(errors.ConflictError):
        jobs.cancel(replace(queued(), state=JobState.DONE), now=NOW, keep=KEEP)


@given(st.integers(1, 200), st.floats(0, 3600), st.floats(0, 1e6), st.floats(0, 0.5), st.integers())
def test_retry_delay_stays_within_its_bounds(attempt: int, base: float, highest: float, jitter: float, seed: int) -> None:
    retry = Retry(base_delay_seconds=base, max_delay_seconds=highest, jitter=jitter)
    delay = jobs.retry_delay(retry, attempt, random.Random(seed))
    assert 0 <= delay <= min(highest, jobs.MAX_RETRY_DELAY_SECONDS) * (1 + jitter)


def test_tick_id_is_the_same_on_every_replica_and_differs_between_schedules() -> None:
    assert jobs.tick_id("default/python/a@default", NOW) == jobs.tick_id("default/python/a@default", NOW)
    assert jobs.tick_id("default/python/a@default", NOW) != jobs.tick_id("default/python/b@default", NOW)
    assert jobs.tick_id("k", NOW) != jobs.tick_id("k", NOW + timedelta(seconds=1))
