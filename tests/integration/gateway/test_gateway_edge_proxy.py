"""Answers that the gateway has to fetch first: `proxy` in place of an answer, and the `edge` policy."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson
import pytest

from libs.messages import calls
from libs.messages.catalog import Policy
from libs.messages.web import Edge
from libs.testing.buses import Net
from libs.testing.fakes import FakeExecutor, answer, function_entry, project
from libs.testing.origin import origin
from libs.testing.wait import eventually
from services.gateway.assembly import Gateway

pytestmark = pytest.mark.parametrize("fast", [True, False], ids=["short way", "long way"])

type Proxying = Callable[..., Awaitable[None]]


@pytest.fixture
def proxying(net: Net, gateway: Gateway, executor: FakeExecutor) -> Proxying:
    """Have a function that answers with `proxy`."""

    async def have(wanted: dict[str, Any], edge: Edge | None, **policy: Any) -> None:
        executor.behaviour = lambda _: answer(orjson.dumps(wanted), head=calls.PROXY_HEAD)
        function = function_entry("edge", methods=("GET", "POST"), policy=Policy(edge=edge, **policy))
        await project(await net.connect("registry"), function)
        await eventually(lambda: gateway.catalogue.table.names.find("edge", version="default") is not None)

    return have


async def test_a_function_s_answer_is_what_was_fetched(client: httpx.AsyncClient, proxying: Proxying, gateway: Gateway) -> None:
    data = b"HTTP/1.1 418 Tea\r\nx-from: there\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nconnection: x-hop\r\nx-hop: 1\r\n"
    async with origin(lambda _: data + b"content-length: 3\r\n\r\npot") as found:
        await proxying({"path": "/x?y=1", "method": "POST", "body": "in"}, Edge(base_url=found.url, allow_private=True))
        response = await client.get("/edge")
    assert (response.status_code, response.text, response.headers["x-from"]) == (418, "pot", "there")
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert "x-hop" not in response.headers
    assert response.headers["x-fastfn-function-state"] == "warm"
    assert "run;dur" in response.headers["server-timing"]
    assert found.requests[0][0].startswith("post /x?y=1 ")
    assert found.requests[0][1] == b"in"
    assert gateway.caller.in_flight == 0


@pytest.mark.parametrize(
    ("wanted", "edge", "text"),
    [
        ({"url": "https://example.com"}, None, "edge proxy disabled for this function"),
        ({"url": "http://127.0.0.1:1/"}, Edge(), "edge proxy failed: private host not allowed"),
        ({"url": "http://localhost:1/"}, Edge(), "edge proxy failed: private host not allowed"),
        ({"url": "http://a.example/"}, Edge(allow_hosts=("b.example",)), "edge proxy failed: host not in allowlist"),
        ({"url": "http://a.example/_fn/health"}, Edge(), "edge proxy failed: control-plane path not allowed"),
        ({"path": "/console"}, Edge(base_url="http://a.example"), "edge proxy failed: control-plane path not allowed"),
    ],
)
async def test_a_fetch_is_refused_when_the_policy_does_not_allow_it(
    client: httpx.AsyncClient, proxying: Proxying, wanted: dict[str, Any], edge: Edge | None, text: str
) -> None:
    await proxying(wanted, edge)
    response = await client.get("/edge")
    assert (response.status_code, response.json()["error"]) == (502, text)
    assert response.json()["request_id"] == response.headers["x-request-id"]


async def test_an_answer_is_refused_when_it_is_larger_than_the_policy_s_bound(
    client: httpx.AsyncClient, proxying: Proxying
) -> None:
    async with origin() as found:
        await proxying({"path": "/"}, Edge(base_url=found.url, allow_private=True, max_response_bytes=1))
        response = await client.get("/edge")
    assert (response.status_code, response.json()["error"]) == (502, "edge proxy failed: response too large")


async def test_a_fetch_is_given_up_when_the_function_s_time_is_spent(client: httpx.AsyncClient, proxying: Proxying) -> None:
    async with origin(lambda _: None) as found:
        await proxying({"path": "/"}, Edge(base_url=found.url, allow_private=True), timeout_ms=300)
        response = await client.get("/edge")
    assert (response.status_code, response.json()["error"]) == (504, "edge proxy failed: timeout")


async def test_a_fetch_holds_its_function_s_slot(client: httpx.AsyncClient, proxying: Proxying, gateway: Gateway) -> None:
    async with origin() as found:
        await proxying({"path": "/"}, Edge(base_url=found.url, allow_private=True), max_concurrency=1)
        for _ in range(3):
            assert (await client.get("/edge")).text == "ok"
    named = gateway.catalogue.table.names.find("edge", version="default")
    assert named is not None
    assert not named.owner.gate.full


async def test_an_invocation_by_name_is_fetched_too(client: httpx.AsyncClient, proxying: Proxying) -> None:
    async with origin() as found:
        await proxying({"path": "/"}, Edge(base_url=found.url, allow_private=True))
        reply = (await client.post("/_fn/invoke", json={"name": "edge"})).json()
        assert (reply["status"], reply["body"]) == (200, "ok")


async def test_an_invocation_by_name_is_refused_when_there_is_no_policy(client: httpx.AsyncClient, proxying: Proxying) -> None:
    await proxying({"url": "http://a.example/"}, None)
    response = await client.post("/_fn/invoke", json={"name": "edge"})
    assert (response.status_code, response.json()["error"]) == (502, "edge proxy disabled for this function")
