"""The endpoints for operators, asked over a real socket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator

import httpx
import pytest
import uvicorn
from prometheus_client import CollectorRegistry, Counter

from libs import errors
from libs.lifecycle import Service
from libs.telemetry import ops


@contextlib.asynccontextmanager
async def _service() -> AsyncGenerator[Service]:
    async with asyncio.TaskGroup() as tasks:
        stack = contextlib.AsyncExitStack()
        service = Service("registry", tasks, stack)
        async with stack:
            yield service
            service.stopping.set()
        service.cancel_loops()


def _app(missing: str = "") -> ops.OpsApp:
    metrics = CollectorRegistry()
    Counter("fnbus_things", "Things.", registry=metrics).inc()
    return ops.OpsApp(service="registry", readiness=lambda: missing, metrics=metrics)


def _server(app: ops.OpsApp, port: int = 0) -> ops.EmbeddedServer:
    return ops.EmbeddedServer(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="off"))


def test_ready_says_what_is_missing() -> None:
    status, _, body = _app("the bus is not connected").answer("/readyz")
    assert status == 503
    assert json.loads(body) == {"status": "not ready", "reason": "the bus is not connected", "service": "registry"}


def test_figures_come_as_openmetrics_to_those_who_accept_it() -> None:
    _, plain, _ = _app().answer("/metrics", accept="text/plain")
    _, kind, body = _app().answer("/metrics", accept="application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    assert plain.startswith(b"text/plain")
    assert kind.startswith(b"application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


async def test_endpoints_answer_over_http() -> None:
    async with _service() as service:
        server = _server(_app())
        await server.start(service)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.bound_port}") as client:
            assert (await client.get("/healthz")).json() == {"status": "ok", "service": "registry"}
            assert (await client.get("/readyz")).json() == {"status": "ready", "service": "registry"}
            metrics = await client.get("/metrics")
            assert "fnbus_things_total 1.0" in metrics.text
            assert (await client.get("/elsewhere")).status_code == 404


async def test_server_names_the_address_when_it_is_taken() -> None:
    async with _service() as service:
        first = _server(_app())
        await first.start(service)
        with pytest.raises(errors.PermanentError, match=f"127.0.0.1:{first.bound_port}"):
            await _server(_app(), first.bound_port).start(service)


async def test_server_stops_while_a_client_keeps_its_connection() -> None:
    async with contextlib.AsyncExitStack() as outer:
        async with _service() as service:
            server = _server(_app())
            await server.start(service)
            client = await outer.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.bound_port}"))
            assert (await client.get("/healthz")).status_code == 200
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")
