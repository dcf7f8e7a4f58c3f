"""A bus, a store and a function, for schedulers and executors to meet on."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from libs.bus import streams
from libs.bus.memory import MemoryBroker, MemoryBus
from tests.integration.scheduler.scripted import Platform


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    broker = MemoryBroker()
    async with asyncio.TaskGroup() as tasks:
        made = Platform(broker=broker, tasks=tasks)
        bus = MemoryBus(broker)
        for stream in (streams.JOBS, streams.EVENTS):
            await bus.ensure_stream(stream)
        await made.deploy()
        yield made
        for stop in made.stops:
            stop()
