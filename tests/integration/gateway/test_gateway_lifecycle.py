"""How a gateway stops, what it tells a collector, and that its address must be free."""

import asyncio
import contextlib
import socket
from typing import cast

import httpx
import pytest
from opentelemetry.proto.trace.v1 import trace_pb2

from libs import errors
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.lifecycle import Service
from libs.messages.catalog import Policy
from libs.telemetry import tracing
from libs.telemetry.spans import Spans
from libs.telemetry.tracing import Tracing
from libs.testing.fakes import FakeExecutor, answer, function_entry, project
from libs.testing.wait import eventually
from services.gateway import assembly
from services.gateway.settings import GatewaySettings

SLOW = function_entry("slow", "/slow/:id", policy=Policy(timeout_ms=30_000))


class _Processor:
    """Keeps the spans that it is told."""

    def __init__(self) -> None:
        self.ended: list[trace_pb2.Span] = []

    def on_end(self, span: bytes) -> None:
        self.ended.extend(trace_pb2.ScopeSpans.FromString(span).spans)


async def test_stopping_gateway_finishes_what_is_under_way() -> None:
    broker = MemoryBroker()
    executor = FakeExecutor(MemoryBus(broker), lambda _: None)
    await executor.start()
    await project(MemoryBus(broker), SLOW)
    async with asyncio.TaskGroup() as tasks:
        service = Service("gateway", tasks, contextlib.AsyncExitStack())
        async with httpx.AsyncClient(timeout=20) as client, service.stack:
            gateway = await assembly.start(service, MemoryBus(broker), GatewaySettings(http_port=0), Tracing())
            call = tasks.create_task(client.get(f"http://127.0.0.1:{gateway.port}/slow/1"))
            await eventually(lambda: executor.invocations)
            service.stopping.set()
            closing = tasks.create_task(service.stack.aclose())
            executor.reply(0, answer())
            await closing
            assert (await call).status_code == 200
        service.cancel_loops()


async def test_call_is_one_server_span_below_the_callers() -> None:
    broker = MemoryBroker()
    executor = FakeExecutor(MemoryBus(broker), lambda _: answer(status=500))
    await executor.start()
    await project(MemoryBus(broker), SLOW)
    spans = _Processor()
    outer = tracing.start()
    async with asyncio.TaskGroup() as tasks:
        service = Service("gateway", tasks, contextlib.AsyncExitStack())
        async with httpx.AsyncClient(timeout=20) as client, service.stack:
            tracer = Tracing(cast("Spans", spans))
            gateway = await assembly.start(service, MemoryBus(broker), GatewaySettings(http_port=0), tracer)
            await client.get(f"http://127.0.0.1:{gateway.port}/slow/7", headers={"traceparent": outer.header()})
            await eventually(lambda: spans.ended)
            service.stopping.set()
        service.cancel_loops()
    span = spans.ended[0]
    attributes = {each.key: each.value for each in span.attributes}
    assert (span.name, span.parent_span_id.hex(), span.trace_id.hex()) == ("GET /slow/:id", outer.span_id, outer.trace_id)
    assert attributes["http.route"].string_value == "/slow/:id"
    assert attributes["http.response.status_code"].int_value == 500
    assert span.status.code == trace_pb2.Status.STATUS_CODE_ERROR


async def test_address_in_use_is_a_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port: int = taken.getsockname()[1]
        async with asyncio.TaskGroup() as tasks:
            service = Service("gateway", tasks, contextlib.AsyncExitStack())
            with pytest.raises(errors.PermanentError, match=f"cannot listen on 127.0.0.1:{port}"):
                async with service.stack:
                    await assembly.start(service, MemoryBus(MemoryBroker()), GatewaySettings(http_port=port), Tracing())
            service.cancel_loops()
