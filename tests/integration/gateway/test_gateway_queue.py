"""Calls that wait for a slot of their function, as their clients see it."""

import asyncio
import contextlib

import httpx
import orjson
import pytest

from libs.messages.catalog import Policy, WorkerPoolPolicy
from libs.testing.buses import Net
from libs.testing.fakes import FakeExecutor, answer, function_entry, project
from libs.testing.wait import eventually
from services.gateway.assembly import Gateway

pytestmark = pytest.mark.parametrize("fast", [True, False], ids=["short way", "long way"])
"""The short way is the long way, only shorter."""


async def _deploy(net: Net, gateway: Gateway, executor: FakeExecutor, *, queue_timeout_ms: int = 0, max_queue: int = 2) -> None:
    pool = WorkerPoolPolicy(max_workers=1, max_queue=max_queue, queue_timeout_ms=queue_timeout_ms, overflow_status=503)
    policy = Policy(timeout_ms=20_000, worker_pool=pool)
    await project(await net.connect("registry"), function_entry("slow", policy=policy))
    await eventually(lambda: gateway.catalogue.table.names.find("slow"))
    executor.behaviour = lambda _: None


def _queued(gateway: Gateway) -> int:
    return sum(gate.waiting for gate in gateway.catalogue.gates.called())


async def test_calls_wait_in_order_and_say_so(
    client: httpx.AsyncClient, executor: FakeExecutor, net: Net, gateway: Gateway
) -> None:
    await _deploy(net, gateway, executor)
    async with asyncio.TaskGroup() as tasks:
        asked: list[asyncio.Task[httpx.Response]] = []
        for number in range(3):
            asked.append(tasks.create_task(client.get(f"/slow?n={number}")))
            await eventually(lambda number=number: len(executor.invocations) + _queued(gateway) == number + 1)
        over = await client.get("/slow")
        health = (await client.get("/_fn/health")).json()["functions"]
        await asyncio.sleep(0.05)  # the wait itself is what the answers tell of
        for number in range(3):
            await eventually(lambda number=number: len(executor.invocations) == number + 1)
            executor.reply(number, answer())
    assert (over.status_code, over.json()["error"], over.headers["retry-after"]) == (503, "worker pool overflow", "1")
    assert "x-fastfn-queued" not in over.headers
    summary = health["summary"]
    assert (summary["pool_active"], summary["pool_queued"], summary["pool_queue_drops"]) == (1, 2, 1)
    assert health["states"][0]["worker_pool"]["queued"] == 2
    answers = [each.result() for each in asked]
    assert [each.status_code for each in answers] == [200] * 3
    assert ["x-fastfn-queued" in each.headers for each in answers] == [False, True, True]
    assert float(answers[1].headers["server-timing"].partition("queue;dur=")[2].partition(",")[0]) >= 50
    assert [orjson.loads(each.head)["query"]["n"] for each in executor.invocations] == ["0", "1", "2"]
    assert executor.invocations[1].budget_ms < 20_000
    assert executor.invocations[0].admit_us == 0
    assert executor.invocations[1].admit_us >= 50_000


@pytest.mark.parametrize("path", ["/slow", "/_fn/invoke"])
async def test_call_that_waits_too_long_is_refused(
    client: httpx.AsyncClient, executor: FakeExecutor, net: Net, gateway: Gateway, path: str
) -> None:
    await _deploy(net, gateway, executor, queue_timeout_ms=50)
    async with asyncio.TaskGroup() as tasks:
        held = tasks.create_task(client.get("/slow"))
        await eventually(lambda: executor.invocations)
        late = await (client.get(path) if path == "/slow" else client.post(path, json={"name": "slow"}))
        executor.reply(0, answer())
    assert (late.status_code, late.json()["error"]) == (503, "worker pool queue timeout")
    assert (late.headers["retry-after"], late.headers["x-fastfn-queued"]) == ("1", "true")
    assert held.result().status_code == 200
    summary = (await client.get("/_fn/health")).json()["functions"]["summary"]
    assert (summary["pool_queue_timeout_drops"], summary["pool_queue_overflow_drops"]) == (1, 0)


async def test_invoke_waits_as_a_public_call_does(
    client: httpx.AsyncClient, executor: FakeExecutor, net: Net, gateway: Gateway
) -> None:
    await _deploy(net, gateway, executor)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.get("/slow"))
        await eventually(lambda: executor.invocations)
        invoked = tasks.create_task(client.post("/_fn/invoke", json={"name": "slow"}))
        await eventually(lambda: _queued(gateway) == 1)
        executor.reply(0, answer())
        await eventually(lambda: len(executor.invocations) == 2)
        executor.reply(1, answer())
    assert (invoked.result().json()["status"], invoked.result().headers["x-fastfn-queued"]) == (200, "true")


async def test_client_that_leaves_the_queue_is_never_run(
    client: httpx.AsyncClient, executor: FakeExecutor, net: Net, gateway: Gateway
) -> None:
    await _deploy(net, gateway, executor, max_queue=1)
    async with asyncio.TaskGroup() as tasks:
        held = tasks.create_task(client.get("/slow"))
        await eventually(lambda: executor.invocations)
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        await eventually(lambda: _queued(gateway) == 1)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await eventually(lambda: _queued(gateway) == 0)
        executor.reply(0, answer())
    assert held.result().status_code == 200
    assert len(executor.invocations) == 1
    await eventually(lambda: gateway.catalogue.gates.called()[0].in_flight == 0)
