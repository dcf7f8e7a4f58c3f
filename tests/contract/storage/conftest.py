"""Every store that the suite runs on; a test never knows which one it has."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.storage.memory import MemoryStore
from libs.storage.port import Store
from libs.storage.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = MemoryStore() if request.param == "memory" else await SqliteStore.open(tmp_path / "store.sqlite3")
    yield store
    await store.close()
