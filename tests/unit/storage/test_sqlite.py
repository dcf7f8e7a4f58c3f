"""What is particular to the store in a file: its mode, its locks, its indexes, its commits."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.storage.port import Collection, DuplicateKeyError, Index, StoreUnavailableError, Where
from libs.storage.sqlite import SqliteStore

PLAIN = Collection("plain")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "store.sqlite3"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path)
    await store.ensure(PLAIN)
    yield store
    await store.close()


async def test_file_and_its_log_are_for_the_owner_alone(store: SqliteStore, path: Path) -> None:
    await store.insert(PLAIN, {"_id": "a"})
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("store.sqlite3", "store.sqlite3-wal", "store.sqlite3-shm"), 0o600)


async def test_file_that_is_no_database_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database at all, but long enough to be read as one " * 20)
    with pytest.raises(StoreUnavailableError, match="text cannot be opened"):
        await SqliteStore.open(tmp_path / "text")
    with pytest.raises(StoreUnavailableError, match="cannot be opened"):
        await SqliteStore.open(tmp_path)


async def test_write_fails_while_another_holds_the_lock_and_works_again_after(store: SqliteStore, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        outcomes = await asyncio.gather(*(store.insert(PLAIN, {"_id": f"n{n}"}) for n in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 3
        assert await store.count(PLAIN) == 0
        other.execute("ROLLBACK")
    await store.insert(PLAIN, {"_id": "n1"})
    assert await store.count(PLAIN) == 1


async def test_loop_goes_on_while_a_write_waits_for_a_lock(store: SqliteStore, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        write = asyncio.ensure_future(store.insert(PLAIN, {"_id": "a"}))
        await asyncio.sleep(0)
        assert await store.get(PLAIN, "a") is None
        assert not write.done()
        other.execute("ROLLBACK")
    await write


async def test_concurrent_inserts_need_few_commits(store: SqliteStore, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        frames = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert frames[0] == 0
    async with asyncio.TaskGroup() as tasks:
        for n in range(500):
            tasks.create_task(store.insert(PLAIN, {"_id": f"{n:03}"}))
    # Each commit writes at least one page of its own to the log; 500 single ones would be a thousand and more.
    pages = (path.parent / "store.sqlite3-wal").stat().st_size // 4096
    assert 0 < pages < 100


async def test_index_that_a_collection_no_longer_has_is_dropped(store: SqliteStore) -> None:
    await store.ensure(Collection("c", (Index(("key",), unique=True),)))
    newer = Collection("c", (Index(("rank",)),))
    await store.ensure(newer)
    await store.insert_many(newer, [{"_id": "a", "key": 1, "rank": 1}, {"_id": "b", "key": 1, "rank": 2}])
    assert await store.count(newer, [Where("rank", ">", 1)]) == 1


async def test_failed_ensure_leaves_everything_as_it_was(store: SqliteStore) -> None:
    await store.insert_many(PLAIN, [{"_id": "a", "key": 1}, {"_id": "b", "key": 1}])
    with pytest.raises(DuplicateKeyError):
        await store.ensure(Collection("plain", (Index(("rank",)), Index(("key",), unique=True))))
    await store.insert(PLAIN, {"_id": "c", "key": 1})
    assert await store.count(PLAIN) == 3


async def test_conditions_and_sort_are_served_by_an_index(store: SqliteStore, path: Path) -> None:
    await store.ensure(Collection("jobs", (Index(("state", "due")),)))
    with contextlib.closing(sqlite3.connect(path)) as other:
        plan = other.execute(
            "EXPLAIN QUERY PLAN SELECT _data FROM docs_jobs WHERE state = ? AND due <= ? AND (due >= ? OR due = ?)"
            " ORDER BY due, _id LIMIT 10",
            ("queued", b"\x03now", b"\x03", float("-inf")),
        ).fetchall()
    assert [step[-1] for step in plan] == ["SEARCH docs_jobs USING INDEX docs_jobs:index:state,due (state=? AND due<?)"]


def test_sqlite_and_memory_need_no_driver() -> None:
    code = (
        "import sys, libs.storage.port, libs.storage.sqlite, libs.storage.memory\n"
        "sys.exit(sum(name in sys.modules for name in ('motor', 'pymongo', 'bson')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
