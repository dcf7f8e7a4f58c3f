"""An executor on a bus in memory and on a real NATS server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.testing.buses import MemoryNet, NatsNet, Net
from libs.testing.nats import required_nats_server
from tests.integration.executor.harness import Platform


@pytest.fixture(params=["memory", "nats"])
async def net(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Net]:
    """A bus to be on."""
    made: Net = MemoryNet() if request.param == "memory" else NatsNet(required_nats_server(), tmp_path / "nats")
    yield made
    await made.close()


@pytest.fixture
async def platform(net: Net, tmp_path: Path) -> AsyncIterator[Platform]:
    """An executor with room for four workers."""
    async with Platform(net, tmp_path).running() as running:
        yield running
