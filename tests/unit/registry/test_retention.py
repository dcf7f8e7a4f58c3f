"""Executions are forgotten by age and by number, the oldest first."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.clock import ManualClock
from libs.storage.memory import MemoryStore
from libs.storage.port import Document, Where
from services.registry.history.intake import EXECUTIONS
from services.registry.history.retention import Retention
from services.registry.metrics import Metrics

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rows(count: int, *, apart: timedelta, last: datetime = NOON, function: str = "f") -> list[Document]:
    return [
        {
            "_id": f"{number:06}" if function == "f" else f"{function}-{number:06}",
            "started_at": last - number * apart,
            "namespace": "default",
            "function": function,
        }
        for number in range(count)
    ]


def retention(store: MemoryStore, *, limit: int = 1000, share: int | None = None) -> Retention:
    return Retention(
        store=store,
        clock=ManualClock(NOON),
        collection=EXECUTIONS,
        moment="started_at",
        keep=timedelta(hours=24),
        limit=limit,
        removed=Metrics().history_removed,
        owner=() if share is None else ("namespace", "function"),
        share=share or 0,
    )


async def left_of(store: MemoryStore, function: str) -> list[str]:
    """Return the ids of a function's executions that are left."""
    found = await store.find(EXECUTIONS, [Where("namespace", "==", "default"), Where("function", "==", function)])
    return [document["_id"] for document in found]


async def filled(documents: list[Document]) -> MemoryStore:
    store = MemoryStore()
    await store.ensure(EXECUTIONS)
    await store.insert_many(EXECUTIONS, documents)
    return store


async def test_sweep_removes_executions_older_than_they_are_kept() -> None:
    store = await filled(rows(48, apart=timedelta(hours=1)))

    assert await retention(store).sweep() == 23
    assert await store.count(EXECUTIONS) == 25


async def test_sweep_leaves_everything_within_bounds() -> None:
    store = await filled(rows(10, apart=timedelta(hours=1)))

    assert await retention(store, limit=10).sweep() == 0


async def test_sweep_makes_a_little_room_when_there_are_too_many() -> None:
    store = await filled(rows(500, apart=timedelta(seconds=1)))

    await retention(store, limit=100).sweep()

    left = await store.find(EXECUTIONS)
    assert 90 <= len(left) <= 100
    assert [document["_id"] for document in left] == [f"{number:06}" for number in range(len(left))]


async def test_sweep_takes_from_the_function_that_has_the_most() -> None:
    hour = timedelta(hours=1)
    store = await filled([
        *rows(500, apart=timedelta(milliseconds=100)),
        *rows(60, apart=timedelta(seconds=1), last=NOON - hour, function="some"),
        *rows(5, apart=hour, last=NOON - hour, function="rare"),
    ])  # fmt: skip

    await retention(store, limit=200, share=10).sweep()

    assert len(await left_of(store, "rare")) == 5
    assert len(await left_of(store, "some")) == 60
    busy = await left_of(store, "f")
    assert 180 <= len(busy) + 65 <= 200
    assert busy == [f"{number:06}" for number in range(len(busy))]


async def test_sweep_leaves_each_function_its_share_while_that_is_enough() -> None:
    names = [f"f{number}" for number in range(5)]
    ages = {name: timedelta(minutes=number) for number, name in enumerate(names)}
    many = [rows(200, apart=timedelta(milliseconds=10), last=NOON - ages[name], function=name) for name in names]
    store = await filled([each for some in many for each in some])

    await retention(store, limit=300, share=30).sweep()

    assert await store.count(EXECUTIONS) <= 300
    assert all([len(await left_of(store, name)) >= 30 for name in names])


async def test_sweep_stays_below_the_bound_when_shares_are_too_much() -> None:
    many = [rows(50, apart=timedelta(seconds=1), function=f"f{number}") for number in range(10)]
    store = await filled([each for some in many for each in some])

    await retention(store, limit=100, share=50).sweep()

    assert await store.count(EXECUTIONS) <= 100


async def test_sweep_works_on_a_store_that_was_never_used() -> None:
    assert await retention(MemoryStore()).sweep() == 0


@pytest.mark.parametrize("limit", [1, 7])
async def test_sweep_stays_below_the_bound_when_all_started_at_once(limit: int) -> None:
    store = await filled(rows(50, apart=timedelta(0)))

    await retention(store, limit=limit).sweep()

    assert await store.count(EXECUTIONS) <= limit


@settings(max_examples=40, deadline=None)
@given(gaps=st.lists(st.integers(min_value=0, max_value=10_000_000), max_size=60), limit=st.integers(1, 40))
def test_sweep_never_leaves_more_than_the_bound(gaps: list[int], limit: int) -> None:
    async def check() -> None:
        moments = [NOON - timedelta(milliseconds=gap) for gap in gaps]
        store = await filled([{"_id": str(at), "started_at": moment} for at, moment in enumerate(moments)])
        await retention(store, limit=limit).sweep()
        assert await store.count(EXECUTIONS) <= limit

    anyio.run(check)
