"""The buses that are held to the port: in memory first, then on a real server."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from libs.bus.port import Bus
from libs.testing.buses import MemoryNet, NatsNet, Net
from libs.testing.nats import required_nats_server


@pytest.fixture(params=["memory", "nats"])
async def net(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Net]:
    made: Net = MemoryNet() if request.param == "memory" else NatsNet(required_nats_server(), tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def bus(net: Net) -> Bus:
    return await net.connect("gateway")


@pytest.fixture
async def other(net: Net, bus: Bus) -> Bus:
    """A second connection to where `bus` is connected."""
    return await net.connect("executor")
