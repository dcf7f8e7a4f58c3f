"""What the stores that outlive a process promise about it: acknowledged is kept, and a lost server comes back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.storage.mongo import MongoStore
from libs.storage.port import Collection, Index, RevisionConflictError, Store, StoreUnavailableError, Where
from libs.storage.sqlite import SqliteStore
from libs.testing.mongo import MongoServer, running_mongo
from libs.testing.wait import eventually

NOTES = Collection("notes", (Index(("key",), unique=True), Index(("rank",))))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[MongoServer]:
    """A server of the test's own, to be killed."""
    async with running_mongo(tmp_path / "mongo") as server:
        yield server


async def fill(store: Store) -> None:
    await store.ensure(NOTES)
    await store.insert_many(NOTES, [{"_id": f"n{n}", "key": n, "rank": n % 3} for n in range(30)])
    await store.replace(NOTES, {"_id": "n0", "key": 0, "rank": 9}, revision=1)
    await store.delete(NOTES, "n1")


async def check(store: Store) -> None:
    await store.ensure(NOTES)
    assert await store.count(NOTES) == 29
    assert await store.get(NOTES, "n0") == {"_id": "n0", "key": 0, "rank": 9, "revision": 2}
    assert await store.count(NOTES, [Where("rank", "==", 2)]) == 10


async def test_documents_are_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    for step in (fill, check):
        store = await SqliteStore.open(tmp_path / "notes.sqlite3")
        await step(store)
        await store.close()


async def test_documents_are_there_when_the_server_was_killed_and_started_again(server: MongoServer) -> None:
    store = await MongoStore.open(server.url, database="notes")
    await fill(store)
    await server.kill()
    await server.start()
    await eventually(lambda: answers(store))
    await check(store)
    await store.close()


async def test_writes_fail_while_the_server_is_gone_and_work_again_after(server: MongoServer) -> None:
    store = await MongoStore.open(server.url, database="notes")
    await store.ensure(NOTES)
    acknowledged: list[str] = []
    failed: list[str] = []
    written = asyncio.Event()

    async def write(name: str) -> None:
        for n in range(100_000):
            try:
                await store.insert(NOTES, {"_id": f"{name}{n}", "key": f"{name}{n}"})
            except StoreUnavailableError:
                failed.append(f"{name}{n}")
                return
            acknowledged.append(f"{name}{n}")
            if len(acknowledged) > 200:
                written.set()

    async with asyncio.TaskGroup() as tasks:
        for name in "abcdefgh":
            tasks.create_task(write(name))
        await written.wait()
        await server.kill()
    assert len(failed) == 8
    reads = [store.get(NOTES, "a0"), store.find(NOTES), store.count(NOTES), store.ping(), store.ensure(NOTES)]
    writes = [
        store.insert(NOTES, {"_id": "late", "key": "late"}),
        store.insert_many(NOTES, [{"_id": "late2", "key": "late2"}]),
        *(store.replace(NOTES, {"_id": "a0", "key": "a0", "rank": n}, revision=1) for n in range(5)),
        store.delete(NOTES, "a0"),
        store.delete_where(NOTES, [Where("rank", "==", 1)]),
    ]
    outcomes = await asyncio.gather(*reads, *writes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * len(outcomes)
    await server.start()
    await eventually(lambda: answers(store))
    kept = {document["_id"] for document in await store.find(NOTES, limit=100_000)}
    assert set(acknowledged) <= kept
    assert kept <= {*acknowledged, *failed}
    await store.insert(NOTES, {"_id": "again", "key": "again"})
    await store.close()


async def answers(store: Store) -> bool:
    try:
        await store.ping()
    except StoreUnavailableError:
        return False
    return True


async def test_compare_and_set_has_one_winner_among_replicas(server: MongoServer, tmp_path: Path) -> None:
    replicas: tuple[list[Store], ...] = (
        [await MongoStore.open(server.url, database="notes") for _ in range(3)],
        [await SqliteStore.open(tmp_path / "notes.sqlite3") for _ in range(3)],
    )
    for stores in replicas:
        for store in stores:
            await store.ensure(NOTES)
        for round_ in range(10):
            name = f"r{round_}"
            await stores[0].insert(NOTES, {"_id": name, "key": name})
            outcomes = await asyncio.gather(
                *(
                    store.replace(NOTES, {"_id": name, "key": name, "rank": n}, revision=1)
                    for store in stores
                    for n in range(4)
                ),
                return_exceptions=True,
            )
            assert outcomes.count(2) == 1
            assert sum(isinstance(outcome, RevisionConflictError) for outcome in outcomes) == 11
        for store in stores:
            await store.close()


async def test_close_finishes_the_writes_under_way(server: MongoServer, tmp_path: Path) -> None:
    stores: list[Store] = [
        await MongoStore.open(server.url, database="notes"),
        await SqliteStore.open(tmp_path / "notes.sqlite3"),
    ]
    for store in stores:
        await store.ensure(NOTES)
        async with asyncio.TaskGroup() as tasks:
            writes = [tasks.create_task(store.insert(NOTES, {"_id": f"n{n}", "key": n})) for n in range(300)]
            await asyncio.sleep(0)
            await store.close()
        assert all(write.result() is None for write in writes)
        for late in (store.insert(NOTES, {"_id": "late"}), store.get(NOTES, "n1"), store.ping()):
            with pytest.raises(StoreUnavailableError):
                await late
