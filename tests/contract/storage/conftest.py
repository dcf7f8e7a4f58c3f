"""Every store that the suite runs on; a test never knows which one it has."""

from collections.abc import AsyncIterator

import pytest

from libs.storage.memory import MemoryStore
from libs.storage.port import Store


@pytest.fixture(params=["memory"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    store = MemoryStore()
    yield store
    await store.close()
