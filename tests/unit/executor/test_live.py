"""Live lines are gathered for a moment and published; a flood is cut to its share and counted."""

from collections.abc import AsyncIterator

import pytest

from libs.bus.memory import MemoryBroker, MemoryBus
from libs.bus.port import Message
from libs.messages import codec, subjects
from libs.messages.logs import STDERR, STDOUT, LogBatch
from libs.testing.wait import eventually
from services.executor.calls.live import BATCH_LINES, PARTIAL_BYTES, LiveLogs, WorkerTap

NOW = 1_700_000_000_000


class Stand:
    """An executor's live logs and somebody who follows one function."""

    def __init__(self) -> None:
        self.bus = MemoryBus(MemoryBroker())
        self.logs = LiveLogs(bus=self.bus, executor="one")
        self.batches: list[LogBatch] = []

    async def follow(self, function: str = "hello") -> None:
        await self.bus.subscribe(subjects.log(namespace="default", function=function), self._take)

    def _take(self, message: Message) -> None:
        self.batches.append(codec.decode(LogBatch, message.data))

    def tap(self, function: str = "hello", *, execution: str = "req-1") -> WorkerTap:
        return self.logs.tap(namespace="default", function=function, version="v1", whose=lambda: execution)

    @property
    def texts(self) -> list[str]:
        return [line.text for batch in self.batches for line in batch.live_lines()]

    @property
    def dropped(self) -> int:
        return sum(batch.dropped for batch in self.batches)


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    made = Stand()
    await made.follow()
    yield made
    made.logs.flush()
    await made.bus.close()


async def test_line_is_published_soon_with_all_that_tells_where_it_is_from(stand: Stand) -> None:
    stand.tap().take(STDERR, b"oh\n", NOW)
    await eventually(lambda: stand.batches)
    (batch,) = stand.batches
    assert (batch.namespace, batch.function, batch.version, batch.executor) == ("default", "hello", "v1", "one")
    assert batch.live_lines() == [("req-1", NOW, STDERR, "oh")]


async def test_lines_of_two_workers_travel_together(stand: Stand) -> None:
    stand.tap(execution="a").take(STDOUT, b"1\n2\n", NOW)
    stand.tap(execution="b").take(STDOUT, b"3\n", NOW)
    stand.logs.flush()
    await eventually(lambda: stand.texts == ["1", "2", "3"])
    assert [line.execution for line in stand.batches[0].live_lines()] == ["a", "a", "b"]
    assert len(stand.batches) == 1


async def test_many_lines_do_not_wait(stand: Stand) -> None:
    stand.tap().take(STDOUT, b"x\n" * BATCH_LINES, NOW)
    await eventually(lambda: len(stand.texts) == BATCH_LINES)


async def test_line_that_comes_in_pieces_is_one(stand: Stand) -> None:
    tap = stand.tap()
    for piece in (b"h\xc3", b"\xa4l", b"lo\r\nrest"):
        tap.take(STDOUT, piece, NOW)
    tap.take(STDERR, b"other", NOW)
    tap.settle()
    tap.settle()
    await eventually(lambda: len(stand.texts) == 3)
    assert stand.texts == ["hällo", "rest", "other"]


async def test_line_without_an_end_is_told_when_it_is_long(stand: Stand) -> None:
    stand.tap().take(STDOUT, b"x" * PARTIAL_BYTES, NOW)
    await eventually(lambda: stand.texts == ["x" * PARTIAL_BYTES])


async def test_flood_is_cut_and_counted_and_leaves_room_for_others(stand: Stand) -> None:
    await stand.follow("quiet")
    flood = stand.tap()
    piece = b"spam spam spam spam\n" * 3000
    for _ in range(1000):
        flood.take(STDOUT, piece, NOW)
    stand.tap("quiet").take(STDOUT, b"still here\n", NOW)
    stand.logs.flush()
    await eventually(lambda: "still here" in stand.texts)
    told = len(stand.texts) - 1
    assert 3000 <= told < 1_000_000
    assert told + stand.dropped == 3_000_000
    assert stand.logs.dropped == stand.dropped


async def test_lines_are_given_up_while_the_bus_is_away(stand: Stand) -> None:
    await stand.bus.close()
    stand.tap().take(STDOUT, b"lost\n", NOW)
    stand.logs.flush()
    assert stand.texts == []
