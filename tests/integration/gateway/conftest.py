"""A gateway that serves HTTP on a free port, on a bus in memory and on a real NATS server, with a fake executor behind it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from libs.lifecycle import Service
from libs.telemetry.tracing import Tracing
from libs.testing.buses import MemoryNet, NatsNet, Net
from libs.testing.fakes import FakeExecutor, FakeScheduler
from libs.testing.nats import required_nats_server
from services.gateway import assembly
from services.gateway.assembly import Gateway
from services.gateway.settings import GatewaySettings


@pytest.fixture(params=["memory", "nats"])
async def net(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Net]:
    """A bus to be on."""
    made: Net = MemoryNet() if request.param == "memory" else NatsNet(required_nats_server(), tmp_path / "nats")
    yield made
    await made.close()


@pytest.fixture
async def executor(net: Net) -> FakeExecutor:
    """Answers every call of Python and Node with `{"ok":true}` unless told otherwise."""
    made = FakeExecutor(await net.connect("executor"))
    await made.start()
    return made


@pytest.fixture
async def scheduler(net: Net) -> AsyncIterator[FakeScheduler]:
    """Keeps jobs in memory."""
    async with asyncio.TaskGroup() as tasks:
        made = FakeScheduler(await net.connect("scheduler"), tasks)
        await made.start()
        yield made
        await made.stop()


@pytest.fixture
def fast() -> bool:
    """Whether plain calls may go the short way; a module that wants both parametrises it."""
    return True


@pytest.fixture
def chosen() -> dict[str, Any]:
    """Settings of the gateway that a module wants to be other ones; it parametrises this."""
    return {}


@pytest.fixture
async def gateway(net: Net, executor: FakeExecutor, *, fast: bool, chosen: dict[str, Any]) -> AsyncIterator[Gateway]:
    """A gateway on a free port, with small limits."""
    settings = GatewaySettings(
        http_port=0,
        drain_seconds=2,
        max_body_bytes=2 * 1024 * 1024,
        admin_token=SecretStr("secret"),
        console_write_enabled=True,
        console_rate_limit_max=0,
        console_write_rate_limit_max=0,
    ).model_copy(update=chosen)
    async with asyncio.TaskGroup() as tasks:
        stack = contextlib.AsyncExitStack()
        service = Service("gateway", tasks, stack)
        async with stack:
            made = await assembly.start(service, await net.connect("gateway"), settings, Tracing(), fast=fast)
            await executor.beat()
            yield made
            service.stopping.set()
        service.cancel_loops()


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the gateway."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", timeout=20) as made:
        yield made
