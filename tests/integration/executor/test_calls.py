"""Calls through an executor: answers, and everything that can go wrong with one."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from libs.messages import codec, subjects
from libs.messages.calls import FailureCode, Reply, ReplyKind
from libs.messages.catalog import Limits, Policy
from libs.messages.executions import ExecutionKind
from libs.testing.buses import Net
from libs.testing.wait import eventually
from tests.integration.executor.harness import PATIENCE, TRACEPARENT, Platform


async def test_call_is_answered_with_the_guests_own_head_and_body(platform: Platform) -> None:
    version = await platform.deploy()
    body = bytes(range(256))
    reply = await platform.call(version, body, head=b'[["x","y"]]')
    assert (reply.kind, reply.status, reply.head, reply.body) == (ReplyKind.ANSWER, 200, b'[["x","y"]]', body)
    assert (reply.executor, reply.code) == ("executor-1", FailureCode.NONE)


async def test_first_call_is_cold_and_the_second_is_warm(platform: Platform) -> None:
    version = await platform.deploy()
    first, second = await platform.call(version), await platform.call(version)
    assert (first.cold, second.cold) == (True, False)
    assert first.cold_us > 0
    assert second.cold_us == 0


async def test_next_call_works_when_one_crashed(platform: Platform) -> None:
    version = await platform.deploy()
    reply = await platform.call(version, b"exit 3")
    assert (reply.kind, reply.code, reply.message) == (ReplyKind.FAILURE, FailureCode.CRASH, "worker ended with exit code 3")
    assert (await platform.call(version)).status == 200


async def test_handler_is_dead_when_the_timeout_is_told(platform: Platform, tmp_path: Path) -> None:
    version = await platform.deploy()
    pid = int((await platform.call(version, b"pid")).body)
    written = tmp_path / "written"
    reply = await platform.call(version, b"write-later 2 " + bytes(written), budget_ms=300)
    assert str(pid) not in os.listdir("/proc")
    assert (reply.kind, reply.code, reply.stage) == (ReplyKind.FAILURE, FailureCode.TIMEOUT, "run")
    assert not written.exists()
    assert (await platform.call(version)).status == 200


@pytest.mark.parametrize("body", [b"hang", b"half", b"signal 19"])
async def test_call_ends_at_its_deadline_whatever_its_guest_does(platform: Platform, body: bytes) -> None:
    version = await platform.deploy(policy=Policy(max_concurrency=1))
    reply = await platform.call(version, body, budget_ms=500)
    assert (reply.code, reply.stage) == (FailureCode.TIMEOUT, "run")
    assert (await platform.call(version)).status == 200


async def test_timeout_names_the_start_when_that_spent_the_budget(platform: Platform) -> None:
    version = await platform.deploy(runtime="never-ready")
    reply = await platform.call(version, runtime="never-ready", budget_ms=200)
    assert (reply.code, reply.stage) == (FailureCode.TIMEOUT, "cold")


async def test_timeout_names_the_queue_when_other_calls_spent_the_budget(platform: Platform) -> None:
    version = await platform.deploy(policy=Policy(max_concurrency=1))
    await platform.call(version)
    busy = asyncio.create_task(platform.call(version, b"sleep 2"))
    await eventually(lambda: platform.executor.dispatch.pool.busy)
    reply = await platform.call(version, budget_ms=200)
    assert (reply.code, reply.stage) == (FailureCode.TIMEOUT, "queue")
    assert (await busy).status == 200


async def test_calls_share_the_workers_that_their_function_may_have(platform: Platform) -> None:
    version = await platform.deploy(policy=Policy(max_concurrency=2))
    await asyncio.gather(*(platform.call(version, b"sleep 0.2") for _ in range(6)))
    assert platform.executor.dispatch.pool.workers == 2


async def test_load_error_is_the_answer_of_every_call_that_waits(platform: Platform) -> None:
    version = await platform.deploy(runtime="load-fails")
    replies = await asyncio.gather(*(platform.call(version, runtime="load-fails") for _ in range(3)))
    assert {(each.kind, each.status, each.body, each.code) for each in replies} == {
        (ReplyKind.ANSWER, 500, b'{"error":"a.py line 3"}', FailureCode.LOAD_ERROR)
    }


async def test_call_fails_with_the_reason_when_the_guest_cannot_start(platform: Platform) -> None:
    version = await platform.deploy(runtime="dies")
    reply = await platform.call(version, runtime="dies")
    assert (reply.code, reply.message) == (FailureCode.CRASH, "worker ended with exit code 5: no such library")


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"error handler_error", ReplyKind.ANSWER, 500, FailureCode.HANDLER_ERROR),
        (b"error invalid_response", ReplyKind.FAILURE, 0, FailureCode.INVALID_RESPONSE),
        (b"error memory_limit", ReplyKind.FAILURE, 0, FailureCode.MEMORY_LIMIT),
        (b"error timeout", ReplyKind.ANSWER, 500, FailureCode.HANDLER_ERROR),
        (b"status 99", ReplyKind.FAILURE, 0, FailureCode.INVALID_RESPONSE),
        (b"status 700", ReplyKind.FAILURE, 0, FailureCode.INVALID_RESPONSE),
    ],
)
async def test_guests_error_becomes_what_the_caller_gets(
    platform: Platform, body: bytes, kind: ReplyKind, status: int, code: FailureCode
) -> None:
    reply = await platform.call(await platform.deploy(), body)
    assert (reply.kind, reply.status, reply.code) == (kind, status, code)


@pytest.mark.parametrize("body", [b"garbage", b"other", b"close"])
async def test_forged_frames_cost_the_guest_its_life(platform: Platform, body: bytes) -> None:
    version = await platform.deploy()
    assert (await platform.call(version, body)).code is FailureCode.CRASH
    assert (await platform.call(version)).status == 200


async def test_cancel_frees_the_slot_of_a_running_call(platform: Platform) -> None:
    version = await platform.deploy(policy=Policy(max_concurrency=1))
    hanging = platform.invocation(version, b"hang")
    waiting = asyncio.create_task(platform.send(hanging))
    await eventually(lambda: platform.executor.dispatch.pool.busy)
    platform.cancel(hanging.id)
    assert (await waiting).code is FailureCode.CANCELED
    assert (await platform.call(version)).status == 200


async def test_cancel_takes_a_waiting_call_out_of_the_queue(platform: Platform) -> None:
    version = await platform.deploy(policy=Policy(max_concurrency=1))
    busy = asyncio.create_task(platform.call(version, b"sleep 1"))
    await eventually(lambda: platform.executor.dispatch.pool.busy)
    mine = platform.invocation(version)
    waiting = asyncio.create_task(platform.send(mine))
    await eventually(lambda: platform.executor.dispatch.pool.waiting)
    platform.cancel(mine.id)
    assert (await waiting).code is FailureCode.CANCELED
    assert (await busy).status == 200


async def test_bad_envelope_is_answered_and_harms_nobody(platform: Platform) -> None:
    version = await platform.deploy()
    subject = subjects.invoke(runtime="well", namespace="default", function="echo")
    reply = codec.decode(Reply, (await platform.bus.request(subject, b"\xc1 nonsense", timeout=PATIENCE)).data)
    assert (reply.kind, reply.code) == (ReplyKind.FAILURE, FailureCode.MALFORMED)
    assert (await platform.call(version)).status == 200


async def test_unknown_version_is_refused_after_a_moment(platform: Platform) -> None:
    version = await platform.deploy()
    began = time.monotonic()
    reply = await platform.call(version, digest="0" * 64)
    assert reply.code is FailureCode.UNKNOWN_VERSION
    assert time.monotonic() - began > 0.5


async def test_call_waits_for_a_version_that_is_about_to_be_known(platform: Platform) -> None:
    version = await platform.deploy("other")
    call = asyncio.create_task(platform.call(version))
    await eventually(lambda: platform.executor.dispatch.unfinished)
    await platform.publish("echo", "well", version)
    assert (await call).status == 200


async def test_replaced_version_can_still_be_called(platform: Platform) -> None:
    old = await platform.deploy(files={"handler.py": b"1"})
    await platform.deploy(files={"handler.py": b"2"})
    assert (await platform.call(old)).status == 200


async def test_large_bodies_travel_by_reference(platform: Platform) -> None:
    version = await platform.deploy()
    body = os.urandom(500_000)
    store = await platform.bus.objects(subjects.BODY_STORE, ttl_seconds=3600)
    await store.put("a-body", body)
    reply = await platform.call(version, body_ref="a-body")
    assert reply.body == b""
    assert await store.get(reply.body_ref) == body
    assert not await store.has("a-body")


async def test_answer_beyond_the_cap_is_refused(platform: Platform) -> None:
    version = await platform.deploy()
    store = await platform.bus.objects(subjects.BODY_STORE, ttl_seconds=3600)
    await store.put("a-body", bytes(1_200_000))
    assert (await platform.call(version, body_ref="a-body")).code is FailureCode.TOO_LARGE
    assert (await platform.call(version, b"huge")).code is FailureCode.TOO_LARGE
    assert (await platform.call(version)).status == 200


async def test_body_that_is_not_there_is_a_failure(platform: Platform) -> None:
    version = await platform.deploy()
    assert (await platform.call(version, body_ref="nowhere")).code is FailureCode.UNAVAILABLE


async def test_execution_tells_what_happened(platform: Platform) -> None:
    version = await platform.deploy()
    call = platform.invocation(version, b"print word 2")
    await platform.send(call)
    told = await platform.execution(call.id)
    assert (told.kind, told.status, told.stdout, told.stderr) == (ExecutionKind.CALL, 200, "wordword", "complaint\n")
    assert (told.namespace, told.runtime, told.function, told.version) == ("default", "well", "echo", "default")
    assert (told.digest, told.trace_id, told.cold) == (version.digest, TRACEPARENT[3:35], True)
    assert told.cpu_us > 0
    assert 1_000 < told.peak_kib < 1_000_000
    assert told.bytes_in == len(call.body)


async def test_execution_tells_what_a_call_used_that_its_worker_did_not_survive(platform: Platform) -> None:
    version = await platform.deploy()
    call = platform.invocation(version, b"burn-and-exit 2")
    await platform.send(call)
    assert (await platform.execution(call.id)).cpu_us > 100_000


async def test_execution_of_a_crash_does_not_tell_what_the_call_before_it_used(platform: Platform) -> None:
    version = await platform.deploy()
    await platform.call(version, b"burn 0.5")
    call = platform.invocation(version, b"exit 3")
    await platform.send(call)
    assert (await platform.execution(call.id)).cpu_us < 500_000


async def test_execution_counts_processor_time_of_programs_that_the_handler_ran(platform: Platform) -> None:
    version = await platform.deploy()
    calls = [platform.invocation(version, body) for body in (b"child-burns 0.3", b"call")]
    for call in calls:
        await platform.send(call)
    first, second = [await platform.execution(call.id) for call in calls]
    assert first.cpu_us > 250_000
    assert second.cpu_us < 250_000


async def test_execution_tells_memory_that_was_given_back_before_the_answer(platform: Platform) -> None:
    call = platform.invocation(await platform.deploy(), b"swell 60")
    await platform.send(call)
    assert (await platform.execution(call.id)).peak_kib > 60 * 1024


async def test_execution_keeps_the_stack_from_the_caller(platform: Platform) -> None:
    call = platform.invocation(await platform.deploy(), b"error handler_error")
    reply = await platform.send(call)
    told = await platform.execution(call.id)
    assert told.error == "ValueError: no\nat line 1"
    assert b"line 1" not in reply.body
    assert "line 1" not in reply.message


async def test_corrupt_bundle_is_a_failure_that_says_so(platform: Platform) -> None:
    version = await platform.deploy(wait=False)
    store = await platform.bus.objects(subjects.BUNDLE_STORE)
    await store.put("f" * 64, b"nonsense")
    broken = codec.from_document(type(version), codec.to_document(version) | {"bundle": "f" * 64, "digest": "e" * 64})
    await platform.publish("echo", "well", broken)
    reply = await platform.call(broken)
    assert reply.code is FailureCode.UNAVAILABLE
    assert "bundle ffffffffffff" in reply.message


async def test_as_many_workers_run_as_calls_wait_when_handlers_wait(net: Net, tmp_path: Path) -> None:
    async with Platform(net, tmp_path).running(max_workers=40, spares=2) as platform:
        versions = {name: await platform.deploy(name) for name in ("one", "two")}
        pool = platform.executor.dispatch.pool
        async with asyncio.TaskGroup() as tasks:
            calls = [platform.invocation(versions[name], b"hang", function=name) for name in versions for _ in range(20)]
            running = [tasks.create_task(platform.send(call)) for call in calls]
            await eventually(lambda: pool.busy == 40, within=PATIENCE)
            for call in calls:
                platform.cancel(call.id)
        assert {task.result().code for task in running} == {FailureCode.CANCELED}


async def test_worker_beyond_its_memory_is_ended_and_the_caller_told(platform: Platform) -> None:
    version = await platform.deploy(limits=Limits(memory_mb=64))
    call = platform.invocation(version, b"grow-and-hang 200")
    reply = await platform.send(call)
    assert reply.code is FailureCode.MEMORY_LIMIT
    assert reply.message.startswith("memory limit of 64 MB exceeded")
    assert (await platform.call(version)).status == 200
    told = await platform.execution(call.id)
    assert told.code is FailureCode.MEMORY_LIMIT
    assert told.peak_kib >= 64 * 1024


async def test_queue_is_bounded(net: Net, tmp_path: Path) -> None:
    async with Platform(net, tmp_path).running(max_workers=1, max_waiting=2) as platform:
        version = await platform.deploy()
        calls = [asyncio.create_task(platform.call(version, b"sleep 0.3")) for _ in range(6)]
        kinds = [(await each).kind for each in calls]
    assert kinds.count(ReplyKind.BUSY) >= 3
    assert kinds.count(ReplyKind.ANSWER) >= 1


async def test_thousand_calls_leave_nothing_behind(platform: Platform) -> None:
    version = await platform.deploy(policy=Policy(max_concurrency=4))
    await asyncio.gather(*(platform.call(version, b"sleep 0.05") for _ in range(4)))
    before = len(os.listdir("/proc/self/fd"))
    limit = asyncio.Semaphore(50)

    async def one(number: int) -> int:
        async with limit:
            return (await platform.call(version, f"call {number}".encode())).status

    assert await asyncio.gather(*(one(number) for number in range(1000))) == [200] * 1000
    pool = platform.executor.dispatch.pool
    assert (pool.busy, pool.waiting) == (0, 0)
    assert pool.workers <= 4
    assert len(os.listdir("/proc/self/fd")) <= before + 2
