"""Gateways with settings of a test's own, several of them if need be."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from libs.bus.port import Bus
from libs.lifecycle import Service
from libs.telemetry.tracing import Tracing
from services.gateway import assembly
from services.gateway.assembly import Gateway
from services.gateway.settings import GatewaySettings


@contextlib.asynccontextmanager
async def serving(bus: Bus, *, fast: bool, **settings: Any) -> AsyncGenerator[Gateway]:
    """Serve on a free port."""
    chosen = GatewaySettings(http_port=0, drain_seconds=2).model_copy(update=settings)
    async with asyncio.TaskGroup() as tasks:
        stack = contextlib.AsyncExitStack()
        service = Service("gateway", tasks, stack)
        async with stack:
            yield await assembly.start(service, bus, chosen, Tracing(), fast=fast)
            service.stopping.set()
        service.cancel_loops()
