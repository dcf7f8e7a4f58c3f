"""Execution records: sent in batches, kept while the bus is away, dropped and counted beyond the bound; and what they tell."""

import asyncio
import dataclasses
from datetime import UTC, datetime

import pytest

from libs.bus import streams
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.messages import codec, subjects
from libs.messages.calls import FailureCode, Reply, ReplyKind
from libs.messages.executions import Execution, ExecutionBatch, ExecutionKind, ExecutionRow
from libs.messages.jobs import JobEvent
from libs.testing.wait import eventually
from services.executor.calls import records
from services.executor.calls.records import Records
from services.executor.jobs import policy
from services.executor.jobs.policy import Happened, Settle

RECORD = Execution(
    id="1",
    namespace="default",
    runtime="python",
    function="hello",
    version="default",
    digest="d",
    kind=ExecutionKind.CALL,
    executor="e",
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    status=200,
)
ROW = ExecutionRow.of(RECORD)


class Registry:
    """Receives batches."""

    def __init__(self) -> None:
        self.batches: list[ExecutionBatch] = []

    async def listen(self, bus: MemoryBus) -> None:
        await bus.ensure_stream(streams.EVENTS)
        await bus.subscribe(
            subjects.EXECUTION_FINISHED, lambda message: self.batches.append(codec.decode(ExecutionBatch, message.data))
        )


async def test_records_go_together() -> None:
    bus, registry = MemoryBus(), Registry()
    await registry.listen(bus)
    made = Records(bus=bus, executor="e")
    loop = asyncio.create_task(made.run())
    for _ in range(10):
        made.add(ROW)
    await eventually(lambda: registry.batches)
    loop.cancel()
    assert [len(batch.executions) for batch in registry.batches] == [10]


async def test_records_wait_while_the_bus_is_away() -> None:
    broker, registry = MemoryBroker(), Registry()
    bus = MemoryBus(broker)
    await registry.listen(bus)
    made = Records(bus=bus, executor="e")
    made.add(ROW)
    broker.stop()
    assert not await made.flush()
    broker.start()
    assert await made.flush()
    await eventually(lambda: registry.batches)


async def test_records_beyond_the_bound_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_WAITING", 3)
    made = Records(bus=MemoryBus(), executor="e")
    for _ in range(5):
        made.add(ROW)
    assert made.dropped == 2


async def test_records_with_long_logs_are_spread_over_messages_that_fit() -> None:
    broker, registry = MemoryBroker(max_payload=256 * 1024), Registry()
    bus = MemoryBus(broker)
    await registry.listen(bus)
    made = Records(bus=bus, executor="e")
    for _ in range(10):
        made.add(ExecutionRow.of(dataclasses.replace(RECORD, stdout="x" * 64 * 1024)))
    assert await made.flush()
    await eventually(lambda: sum(len(batch.executions) for batch in registry.batches) == 10)
    assert made.dropped == 0


@pytest.mark.parametrize(
    ("happened", "how"),
    [
        (Happened.MALFORMED, Settle.DEAD_LETTER),
        (Happened.DECLINED, Settle.ACK),
        (Happened.UNCLAIMED, Settle.DELAY),
        (Happened.RECORDED, Settle.ACK),
        (Happened.GIVEN_UP, Settle.HAND_BACK),
    ],
)
def test_delivery_is_settled_by_what_happened_to_it(happened: Happened, how: Settle) -> None:
    assert policy.settle(happened) is how


def test_attempt_without_room_is_rejected_and_does_not_count() -> None:
    event = JobEvent(
        job_id="j",
        attempt=1,
        max_attempts=2,
        namespace="default",
        runtime="python",
        function="hello",
        version="default",
        timeout_ms=1,
        head=b"",
    )
    assert policy.outcome(event, Reply(kind=ReplyKind.BUSY, executor="e"), sequence=4).rejected
    assert not policy.outcome(event, Reply(kind=ReplyKind.FAILURE, executor="e", code=FailureCode.CRASH), sequence=4).rejected


@pytest.mark.parametrize(
    ("reply", "given_up"),
    [
        (Reply(kind=ReplyKind.ANSWER, executor="e", status=200), False),
        (Reply(kind=ReplyKind.BUSY, executor="e"), True),
        (Reply(kind=ReplyKind.FAILURE, executor="e", code=FailureCode.UNAVAILABLE), True),
        (Reply(kind=ReplyKind.FAILURE, executor="e", code=FailureCode.TIMEOUT), False),
    ],
)
def test_attempt_is_given_up_only_when_the_stop_ended_it(reply: Reply, *, given_up: bool) -> None:
    assert policy.was_given_up(reply, stopping=True) == given_up
    assert not policy.was_given_up(reply, stopping=False)
