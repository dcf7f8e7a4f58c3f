"""Streamed answers inside the gateway: patience with executors, and what is known of those that are lost."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest

from libs.bus.memory import MemoryBroker, MemoryBus
from libs.clock import ManualClock
from libs.messages import calls, codec, subjects
from libs.messages.calls import ReplyKind
from libs.testing.fakes import FakeExecutor
from libs.testing.wait import eventually
from services.gateway.calls import Caller
from services.gateway.executors import HEARTBEAT_EXPIRY_SECONDS, Executors
from services.gateway.pieces import LEAST_GAP_SECONDS, MOST_SECONDS, BrokenOffError, Streamed

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEGUN = calls.Reply(kind=ReplyKind.STREAM, executor="fake", status=200, head=b"[]")


class Reader:
    """A streamed answer whose doings are counted."""

    def __init__(self, *, budget_ms: int = 1000) -> None:
        self.clock = ManualClock(NOON)
        self.granted = 0
        self.stopped = 0
        self.closed = 0
        self.stream = Streamed(
            reply=BEGUN,
            budget_ms=budget_ms,
            clock=self.clock.monotonic,
            grant=self._grant,
            stop=self._stop,
            closed=self._close,
        )

    def _grant(self) -> None:
        self.granted += 1

    def _stop(self) -> None:
        self.stopped += 1

    def _close(self) -> None:
        self.closed += 1


@contextlib.asynccontextmanager
async def _next(stream: Streamed) -> AsyncGenerator[asyncio.Task[bytes | None]]:
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(stream.next())
        await asyncio.sleep(0)
        yield waiting


@pytest.mark.parametrize(("budget_ms", "patience"), [(1000, LEAST_GAP_SECONDS), (90_000, 90.0)])
async def test_executor_that_sends_nothing_is_waited_for_as_long_as_the_budget(budget_ms: int, patience: float) -> None:
    reader = Reader(budget_ms=budget_ms)
    async with _next(reader.stream) as waiting:
        reader.stream.check(reader.clock.monotonic() + patience - 1)
        reader.stream.put(calls.StreamPiece(number=1, data=b"x"))
    assert waiting.result() == b"x"
    with pytest.raises(ExceptionGroup) as caught:
        async with _next(reader.stream):
            reader.stream.check(reader.clock.monotonic() + patience)
    assert caught.group_contains(BrokenOffError, match="nothing in time")
    assert reader.stopped == 1


async def test_slow_client_is_not_the_executors_fault_but_an_hour_is_enough() -> None:
    reader = Reader()
    reader.stream.put(calls.StreamPiece(number=1, data=b"x"))
    reader.stream.check(reader.clock.monotonic() + MOST_SECONDS - 1)
    assert not reader.stopped
    reader.stream.check(reader.clock.monotonic() + MOST_SECONDS)
    assert await reader.stream.next() == b"x"
    with pytest.raises(BrokenOffError, match="too long"):
        await reader.stream.next()


async def test_complete_stream_wants_no_credit_and_stops_nobody() -> None:
    reader = Reader()
    reader.stream.put(calls.StreamPiece(number=1, data=b"x"))
    assert await reader.stream.next() == b"x"
    reader.stream.taken()
    reader.stream.put(calls.StreamPiece(number=2, data=b"y", end=True))
    assert await reader.stream.next() == b"y"
    reader.stream.taken()
    assert await reader.stream.next() is None
    reader.stream.close()
    reader.stream.close()
    assert (reader.granted, reader.stopped, reader.closed) == (1, 0, 1)


async def test_lost_executor_ends_its_streams_and_no_others() -> None:
    broker = MemoryBroker()
    lost: set[str] = set()
    executor = FakeExecutor(MemoryBus(broker), lambda _: BEGUN)
    await executor.start()
    call = calls.Invocation(
        id="r",
        namespace="default",
        function="f",
        runtime="python",
        version="default",
        digest="d",
        budget_ms=60_000,
        head=b"",
        streams=True,
    )
    async with asyncio.TaskGroup() as tasks:
        caller = Caller(MemoryBus(broker), tasks, lost=lambda name: name in lost)
        await caller.start()
        sweep = tasks.create_task(caller.run())
        stream = await caller.call(subjects.invoke(runtime="python", namespace="default", function="f"), call, traceparent="")
        assert isinstance(stream, Streamed)
        lost.add("another")
        await MemoryBus(broker).publish(executor.reply_to[0], codec.encode(calls.StreamPiece(number=1, data=b"x")))
        assert await stream.next() == b"x"
        lost.add("fake")
        with pytest.raises(BrokenOffError, match="executor was lost"):
            await stream.next()
        stream.close()
        assert caller.in_flight == 0
        await eventually(lambda: executor.canceled == ["r"])
        sweep.cancel()


def test_executor_is_lost_when_it_falls_silent_but_not_when_it_said_goodbye() -> None:
    clock = ManualClock(NOON)
    executors = Executors(clock)
    for name in ("dies", "leaves"):
        executors.note(_heartbeat(name))
    executors.note(_heartbeat("leaves", stopping=True))
    assert not executors.lost("dies")
    clock.advance(timedelta(seconds=HEARTBEAT_EXPIRY_SECONDS + 1))
    executors.note(_heartbeat("new"))
    assert [name for name in ("dies", "leaves", "new", "unheard") if executors.lost(name)] == ["dies"]
    assert [each.executor for each in executors.alive()] == ["new"]


def _heartbeat(name: str, *, stopping: bool = False) -> calls.Heartbeat:
    return calls.Heartbeat(
        executor=name, runtimes=("python",), isolation="process", workers=0, busy=0, waiting=0, limit=1, stopping=stopping
    )
