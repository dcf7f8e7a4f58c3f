"""Registries as processes on a real NATS server, with SQLite or a real server of the MongoDB protocol."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from libs.testing.mongo import running_mongo
from tests.integration.registry.stand import Stand, running_stand


@pytest.fixture(params=["sqlite", "mongo"])
async def stand(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stand]:
    """One registry that is ready, on either store."""
    async with AsyncExitStack() as stack:
        mongo = await stack.enter_async_context(running_mongo(tmp_path / "mongo")) if request.param == "mongo" else None
        yield await stack.enter_async_context(running_stand(tmp_path, mongo=mongo))


@pytest.fixture
async def mongo_stand(tmp_path: Path) -> AsyncIterator[Stand]:
    """Two registries that are ready, on one server of the MongoDB protocol."""
    async with running_mongo(tmp_path / "mongo") as mongo, running_stand(tmp_path, mongo=mongo, registries=2) as stand:
        yield stand
