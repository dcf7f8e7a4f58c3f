"""What a function prints can be followed over HTTP, by several at once, and a follower keeps nobody waiting."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import pytest

from libs.bus.port import Bus
from libs.messages import codec, subjects
from libs.messages.logs import STDERR, STDOUT, LiveLine, LogBatch
from libs.testing.buses import Net
from services.gateway.assembly import Gateway

URL = "/_fn/logs/stream"


@pytest.fixture
async def executor_bus(net: Net) -> Bus:
    """The connection of an executor."""
    return await net.connect("executor")


def batch(*lines: LiveLine, dropped: int = 0) -> bytes:
    return codec.encode(
        LogBatch(namespace="default", function="hello", version="v1", executor="one", lines=lines, dropped=dropped)
    )


@contextlib.asynccontextmanager
async def following(client: httpx.AsyncClient, **query: str) -> AsyncGenerator[AsyncIterator[str]]:
    async with client.stream("GET", URL, params=query) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        lines = answer.aiter_lines()
        assert await anext(lines) == ": following"
        yield (line async for line in lines if line)


async def told(lines: AsyncIterator[str]) -> dict[str, Any]:
    async with asyncio.timeout(20):
        return json.loads((await anext(lines)).removeprefix("data: "))


async def test_follower_hears_of_lines_as_they_come(client: httpx.AsyncClient, executor_bus: Bus) -> None:
    subject = subjects.log(namespace="default", function="hello")
    async with following(client, fn="hello") as one, following(client, fn="hello") as two:
        executor_bus.post(subject, batch(LiveLine("req-1", 7, STDOUT, "hällo"), LiveLine("req-1", 8, STDERR, "oh")))
        for lines in (one, two):
            assert await told(lines) == {
                "ms": 7,
                "level": "info",
                "stream": "stdout",
                "name": "hello",
                "version": "v1",
                "execution": "req-1",
                "executor": "one",
                "text": "hällo",
            }
            assert (await told(lines))["level"] == "error"


async def test_follower_hears_of_its_function_only_and_not_of_garbage(client: httpx.AsyncClient, executor_bus: Bus) -> None:
    async with following(client, fn="users/[id].js", namespace="acme") as lines:
        executor_bus.post(subjects.log(namespace="default", function="users/[id].js"), batch(LiveLine("", 1, STDOUT, "other")))
        mine = subjects.log(namespace="acme", function="users/[id].js")
        executor_bus.post(mine, b"garbage")
        executor_bus.post(mine, codec.encode(LogBatch(namespace="", function="", version="", executor="", lines="garbage")))
        executor_bus.post(mine, batch(LiveLine("", 1, STDOUT, "mine")))
        assert (await told(lines))["text"] == "mine"


async def test_follower_is_told_how_much_was_thrown_away(client: httpx.AsyncClient, executor_bus: Bus) -> None:
    async with following(client, fn="hello") as lines:
        executor_bus.post(subjects.log(namespace="default", function="hello"), batch(dropped=12))
        assert await anext(lines) == "event: dropped"
        assert await told(lines) == {"lines": 12}


async def test_following_needs_a_name(client: httpx.AsyncClient) -> None:
    answer = await client.get(URL)
    assert (answer.status_code, answer.json()["error"]) == (400, "fn is required")


async def test_following_is_not_for_everybody(gateway: Gateway) -> None:
    headers = {"x-forwarded-for": "203.0.113.9"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", headers=headers, timeout=20) as client:
        assert (await client.get(URL, params={"fn": "hello"})).status_code == 403
        answer = await client.post(URL, params={"fn": "hello"}, headers={"x-fn-admin-token": "secret"})
        assert answer.status_code == 405


async def test_stream_ends_with_the_gateway(client: httpx.AsyncClient, gateway: Gateway) -> None:
    async with following(client, fn="hello") as lines:
        gateway.tails.close()
        assert [line async for line in lines] == []
    assert (await client.get(URL, params={"fn": "hello"})).status_code == 503
