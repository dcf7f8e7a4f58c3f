"""Every store that the suite runs on; a test never knows which one it has."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from libs.storage.memory import MemoryStore
from libs.storage.mongo import MongoStore
from libs.storage.port import Store
from libs.storage.sqlite import SqliteStore
from libs.testing.mongo import MongoServer, running_mongo


@pytest.fixture(scope="session")
async def mongo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MongoServer]:
    """One server for all tests of a worker; each has a database of its own."""
    async with running_mongo(tmp_path_factory.mktemp("mongo")) as server:
        yield server


type OpenStore = Callable[[], Awaitable[Store]]


@pytest.fixture(params=["memory", "sqlite", "mongo"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens the store under test; each call after the first opens the same data again."""
    if request.param == "memory":
        memory = MemoryStore()
        return lambda: _ready(memory)
    if request.param == "sqlite":
        return lambda: SqliteStore.open(tmp_path / "store.sqlite3")
    server: MongoServer = request.getfixturevalue("mongo")
    database = f"test_{uuid4().hex}"
    return lambda: MongoStore.open(server.url, database=database)


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[Store]:
    store = await open_store()
    yield store
    await store.close()


async def _ready(store: Store) -> Store:
    return store
