"""Every store that the suites run on; a test never knows which one it has."""

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


@pytest.fixture
def open_memory_store() -> OpenStore:
    """Opens one store in memory."""
    memory = MemoryStore()
    return lambda: _ready(memory)


@pytest.fixture
def open_sqlite_store(tmp_path: Path) -> OpenStore:
    """Opens one database file."""
    return lambda: SqliteStore.open(tmp_path / "store.sqlite3")


@pytest.fixture
def open_mongo_store(mongo: MongoServer) -> OpenStore:
    """Opens one database of a real server."""
    database = f"test_{uuid4().hex}"
    return lambda: MongoStore.open(mongo.url, database=database)


@pytest.fixture(params=["memory", "sqlite", "mongo"])
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    """Opens the store under test; each call after the first opens the same data again."""
    return request.getfixturevalue(f"open_{request.param}_store")


async def _ready(store: Store) -> Store:
    return store
