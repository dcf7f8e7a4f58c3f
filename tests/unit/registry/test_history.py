"""Execution batches come from the stream into the store, each execution once; garbage becomes a dead letter."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from libs.bus import streams
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.bus.port import ConsumerSpec, Delivery
from libs.clock import ManualClock
from libs.messages import codec, subjects
from libs.messages.executions import Execution, ExecutionBatch, ExecutionKind, ExecutionRow
from libs.messages.jobs import DeadLetter
from libs.storage.memory import MemoryStore
from libs.storage.port import Collection, Document
from libs.testing.wait import eventually
from services.registry.history import intake as history
from services.registry.history.figures import FigureKeeper
from services.registry.history.intake import EXECUTIONS, History
from services.registry.metrics import Metrics

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def execution(id: str, *, at: datetime = NOON) -> Execution:  # noqa: A002
    return Execution(
        id=id,
        namespace="default",
        runtime="python",
        function="get.hello.py",
        version="default",
        digest="d",
        kind=ExecutionKind.CALL,
        executor="one",
        started_at=at,
        status=200,
        stdout="hello\n",
    )


def batch(*ids: str) -> bytes:
    return codec.encode(ExecutionBatch(executor="one", executions=[ExecutionRow.of(execution(each)) for each in ids]))


@asynccontextmanager
async def running(work: History) -> AsyncGenerator[None]:
    task = asyncio.create_task(work.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


class Stand:
    """A history on memory adapters."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.bus = MemoryBus(MemoryBroker())
        self.store = store or MemoryStore()
        self.metrics = Metrics()
        self.figures = FigureKeeper(store=self.store, clock=ManualClock(NOON))
        self.history = History(
            figures=self.figures,
            bus=self.bus,
            store=self.store,
            clock=ManualClock(NOON),
            metrics=self.metrics,
            replica="test",
            retry_seconds=0.01,
        )

    async def append(self, *batches: bytes) -> None:
        await self.bus.ensure_stream(streams.EVENTS)
        for data in batches:
            await self.bus.append(subjects.EXECUTION_FINISHED, data)

    async def stored(self) -> list[str]:
        return [document["_id"] for document in await self.store.find(EXECUTIONS)]

    def holds(self, *ids: str) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            return await self.stored() == list(ids)

        return check

    async def letters(self) -> list[DeadLetter]:
        """Return all dead letters of the stream."""
        found: list[DeadLetter] = []

        def take(delivery: Delivery) -> None:
            found.append(codec.decode(DeadLetter, delivery.data))

        spec = ConsumerSpec(stream=subjects.EVENTS_STREAM, name="letters", filter=subjects.DEAD_LETTER)
        consumer = await self.bus.consume(spec, take)
        consumer.pull(10)
        await eventually(lambda: found)
        await consumer.stop()
        return found


@pytest.fixture
async def stand() -> Stand:
    made = Stand()
    await made.store.ensure(EXECUTIONS)
    return made


async def test_history_stores_every_execution_of_every_batch(stand: Stand) -> None:
    await stand.append(batch("a", "b"), batch("c"))

    async with running(stand.history):
        await eventually(stand.holds("a", "b", "c"))

    document = await stand.store.get(EXECUTIONS, "b")
    assert document is not None
    assert history.execution_of(document) == execution("b")


async def test_history_stores_an_execution_once_when_its_batch_comes_again(stand: Stand) -> None:
    await stand.append(batch("a"), batch("a", "b"))

    async with running(stand.history):
        await eventually(stand.holds("a", "b"))


async def test_history_goes_on_where_it_stopped_after_a_restart(stand: Stand) -> None:
    await stand.append(batch("a"))
    async with running(stand.history):
        await eventually(stand.holds("a"))
    await stand.append(batch("b"))

    async with running(stand.history):
        await eventually(stand.holds("a", "b"))


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xc1 not msgpack",
        b"\x80",
        codec.encode(execution("not a batch")),
        codec.encode(ExecutionBatch(executor="one", executions=())).replace(b"\x90", b"\x91\x07"),
        batch("a").replace(b"get.hello.py", b"get.hello.p\xff"),
        codec.encode(ExecutionBatch(executor="one", executions=[[*ExecutionRow.of(execution("a"))][:-1]])),
    ],
    ids=[
        "nothing",
        "no msgpack",
        "no version",
        "another record",
        "a number for an execution",
        "text that is none",
        "a row of too few",
    ],
)
async def test_history_dead_letters_what_it_cannot_read_and_goes_on(stand: Stand, garbage: bytes) -> None:
    await stand.append(garbage, batch("z"))

    async with running(stand.history):
        await eventually(stand.holds("z"))
        [letter] = await stand.letters()

    assert letter.data == garbage
    assert letter.subject == subjects.EXECUTION_FINISHED
    assert letter.source == "registry test"
    assert letter.at == NOON
    assert letter.reason


async def test_history_keeps_batches_in_the_stream_while_the_store_is_away(stand: Stand) -> None:
    stand.store.reachable = False
    await stand.append(*(batch(f"{number:03}") for number in range(50)))

    async with running(stand.history):
        await eventually(lambda: stand.bus.connected)
        stand.store.reachable = True
        await eventually(stand.holds(*(f"{number:03}" for number in range(50))))


async def test_history_survives_a_store_that_goes_away_in_between(stand: Stand) -> None:
    async with running(stand.history):
        await stand.append(batch("a"))
        await eventually(stand.holds("a"))
        stand.store.reachable = False
        await stand.append(batch("b"), batch("c"))
        stand.store.reachable = True
        await eventually(stand.holds("a", "b", "c"))


class RefusingStore(MemoryStore):
    """A store that cannot hold one certain execution, as a defect would have it."""

    async def insert_many(self, collection: Collection, documents: Sequence[Document]) -> int:
        if any(document["_id"] == "bad" for document in documents):
            raise OverflowError("too large for an integer")
        return await super().insert_many(collection, documents)


async def test_history_gives_up_only_the_batch_that_fails_again_and_again() -> None:
    stand = Stand(RefusingStore())
    await stand.store.ensure(EXECUTIONS)
    await stand.append(batch("a"), batch("bad"), batch("c"))

    async with running(stand.history):
        await eventually(stand.holds("a", "c"))
        [letter] = await stand.letters()

    assert letter.data == batch("bad")
    assert "too large for an integer" in letter.reason


def test_parse_gives_documents_that_read_back_as_the_executions() -> None:
    wanted = execution("a", at=NOON + timedelta(microseconds=5))
    data = codec.encode(ExecutionBatch(executor="one", executions=[ExecutionRow.of(wanted)]))

    [document] = history.parse(data)

    assert history.execution_of(document) == wanted
    assert (document["_id"], document["started_at"]) == ("a", wanted.started_at)
