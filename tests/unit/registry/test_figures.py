"""Sums by hour: every execution once, by any number of registries, whatever becomes of the executions themselves."""

import asyncio
from datetime import UTC, datetime, timedelta

from libs.bus import streams
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.clock import ManualClock
from libs.messages import codec, subjects
from libs.messages.calls import FailureCode
from libs.messages.executions import Execution, ExecutionBatch, ExecutionKind, ExecutionRow
from libs.messages.figures import HOURS, FiguresGet, Hour
from libs.storage.memory import MemoryStore
from libs.storage.port import Document
from libs.testing.wait import eventually
from services.registry.history import intake as history
from services.registry.history.figures import FIGURES, FigureKeeper
from services.registry.history.intake import EXECUTIONS, History
from services.registry.metrics import Metrics

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def execution(id: str, *, at: datetime = NOON, status: int = 200, code: FailureCode = FailureCode.NONE) -> Execution:  # noqa: A002
    return Execution(
        id=id,
        namespace="default",
        runtime="python",
        function="f",
        version="default",
        digest="d",
        kind=ExecutionKind.CALL,
        executor="one",
        started_at=at,
        status=status,
        code=code,
        queue_us=1,
        cold_us=10,
        run_us=100,
    )


def batch(*executions: Execution) -> bytes:
    return codec.encode(ExecutionBatch(executor="one", executions=[ExecutionRow.of(each) for each in executions]))


def documents(*executions: Execution) -> list[Document]:
    return history.parse(batch(*executions))


async def hours(keeper: FigureKeeper) -> dict[datetime, tuple[int, int, int]]:
    """Return the hours in which anything ran."""
    found = await keeper.last_day(FiguresGet())
    assert len(found.hours) == HOURS
    return {hour.began_at: (hour.calls, hour.failed, hour.micros) for hour in found.hours if hour.calls}


async def test_figures_are_sums_of_each_hour() -> None:
    keeper = FigureKeeper(store=MemoryStore(), clock=ManualClock(NOON + timedelta(minutes=30)))
    keeper.count(
        documents(
            execution("a", at=NOON + timedelta(minutes=1)),
            execution("b", at=NOON + timedelta(minutes=29), status=404),
            execution("c", at=NOON - timedelta(minutes=1), status=500),
            execution("d", at=NOON - timedelta(minutes=2), status=0, code=FailureCode.TIMEOUT),
            execution("e", at=NOON - timedelta(hours=HOURS)),
        )
    )
    assert await hours(keeper) == {NOON: (2, 0, 222), NOON - timedelta(hours=1): (2, 2, 222)}


async def test_figures_of_a_quiet_day_are_none() -> None:
    found = await FigureKeeper(store=MemoryStore(), clock=ManualClock(NOON)).last_day(FiguresGet())
    assert found.hours[-1] == Hour(began_at=NOON)
    assert found.hours[0].began_at == NOON - timedelta(hours=HOURS - 1)


async def test_figures_of_several_registries_add_up() -> None:
    store = MemoryStore()
    keepers = [FigureKeeper(store=store, clock=ManualClock(NOON)) for _ in range(4)]
    for at, keeper in enumerate(keepers):
        keeper.count(documents(execution(str(at))))
    await asyncio.gather(*(keeper.add() for keeper in keepers))
    assert await hours(keepers[0]) == {NOON: (4, 0, 444)}
    assert await store.count(FIGURES) == 1


async def test_execution_that_cannot_be_read_counts_all_the_same() -> None:
    keeper = FigureKeeper(store=MemoryStore(), clock=ManualClock(NOON))
    keeper.count([{"namespace": "default", "started_at": NOON, "execution": b"\xc1"}])
    assert await hours(keeper) == {NOON: (1, 0, 0)}


async def test_batch_that_was_stored_before_is_not_counted_again() -> None:
    bus, store, clock = MemoryBus(MemoryBroker()), MemoryStore(), ManualClock(NOON)
    await store.ensure(EXECUTIONS)
    keeper = FigureKeeper(store=store, clock=clock)
    metrics = Metrics()
    work = History(bus=bus, store=store, clock=clock, metrics=metrics, replica="test", figures=keeper)
    await bus.ensure_stream(streams.EVENTS)
    task = asyncio.create_task(work.run())
    try:
        await bus.append(subjects.EXECUTION_FINISHED, batch(execution("a"), execution("b")))
        await eventually(lambda: _count(store, 2))
        await bus.append(subjects.EXECUTION_FINISHED, batch(execution("a"), execution("b")))
        await bus.append(subjects.EXECUTION_FINISHED, b"a mark")
        await eventually(lambda: metrics.collector.get_sample_value("fnbus_registry_dead_letters_total"))
        await bus.append(subjects.EXECUTION_FINISHED, batch(execution("c", at=NOON - timedelta(hours=1))))
        await eventually(lambda: _count(store, 3))
        assert await hours(keeper) == {NOON: (2, 0, 222), NOON - timedelta(hours=1): (1, 0, 111)}
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _count(store: MemoryStore, expected: int) -> bool:
    return await store.count(EXECUTIONS) == expected
