"""The store under test."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from libs.storage.port import Store


@pytest.fixture
async def store(open_store: Callable[[], Awaitable[Store]]) -> AsyncIterator[Store]:
    """A store, closed after the test."""
    store = await open_store()
    yield store
    await store.close()
