"""The heap is settled again when much was added to it, once for all of it."""

import asyncio

import pytest

from libs.bus import catalog
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.heap import Settling
from libs.messages import subjects
from libs.testing.fakes import function_entry, project
from libs.testing.wait import eventually


async def test_heap_is_settled_once_after_much_was_added() -> None:
    settled: list[int] = []
    settling = Settling(after=10, quiet_seconds=0.01, then=lambda: settled.append(1))
    for _ in range(50):
        settling.note()
    await eventually(lambda: settled)
    for _ in range(9):
        settling.note()
    assert settled == [1]
    settling.note()
    await eventually(lambda: len(settled) == 2)


async def test_heap_is_left_alone_when_the_service_stops_first() -> None:
    settled: list[int] = []
    settling = Settling(after=1, quiet_seconds=0.0, then=lambda: settled.append(1))
    settling.note()
    settling.stop()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert settled == []


async def test_large_catalogue_is_settled_where_it_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[int] = []

    def note(_: Settling) -> None:
        noted.append(1)

    monkeypatch.setattr(Settling, "note", note)
    bus = MemoryBus(MemoryBroker())
    await project(bus, function_entry("a", "/a"), function_entry("b", "/b"))
    bucket = await bus.bucket(subjects.CATALOG_BUCKET)
    task = asyncio.ensure_future(catalog.follow(bucket, lambda _key, _function: None, complete=asyncio.Event()))
    await eventually(lambda: len(noted) == 3)
    task.cancel()
