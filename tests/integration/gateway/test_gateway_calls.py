"""Calls through a gateway that listens, end to end but for the executor: what goes in, what comes out, every refusal."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import orjson
import pytest

from libs.messages import calls
from libs.messages.calls import FailureCode, ReplyKind
from libs.messages.catalog import FunctionEntry, Policy, WorkerPoolPolicy
from libs.telemetry import tracing
from libs.testing.buses import Net
from libs.testing.fakes import FakeExecutor, answer, function_entry, project
from libs.testing.wait import eventually
from services.gateway.assembly import Gateway

pytestmark = pytest.mark.parametrize("fast", [True, False], ids=["short way", "long way"])
"""The short way is the long way, only shorter."""

type Deploy = Callable[..., Awaitable[None]]


@pytest.fixture
def deploy(net: Net, gateway: Gateway) -> Deploy:
    """Write functions into the catalogue and wait until the gateway has them."""

    async def write(*functions: FunctionEntry, conflicts: tuple[str, ...] = ()) -> None:
        await project(await net.connect("registry"), *functions, conflicts=conflicts)

        def known() -> bool:
            table = gateway.catalogue.table
            return table.conflicts == frozenset(conflicts) and all(
                table.names.find(each.name, version=each.versions[0].label) for each in functions
            )

        await eventually(known)

    return write


def _failure(code: FailureCode, message: str = "") -> calls.Reply:
    return calls.Reply(kind=ReplyKind.FAILURE, executor="fake", code=code, message=message)


async def test_call_carries_the_request_and_brings_the_answer(
    client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy
) -> None:
    await deploy(function_entry("echo", "/echo/:id", methods=("POST",)))
    executor.behaviour = lambda _: answer(b"\x00\xff", status=201, head=b'[["content-type","a/b"],["x-own","1"]]', cold=True)
    response = await client.post(
        "/echo/7?a=1&a=2&flag",
        content=b"\xff\x00body",
        headers={"x-request-id": "mine-1", "x-fn-admin-token": "no"},
    )
    assert (response.status_code, response.content) == (201, b"\x00\xff")
    assert response.headers["content-type"] == "a/b"
    assert response.headers["x-own"] == "1"
    assert response.headers["x-request-id"] == "mine-1"
    assert response.headers["x-fastfn-function-state"] == "cold"
    assert response.headers["x-fastfn-warmed"] == "true"
    assert response.headers["server-timing"].startswith("admit;dur=")
    invocation = executor.invocations[0]
    head = orjson.loads(invocation.head)
    assert invocation.body == b"\xff\x00body"
    assert (invocation.id, invocation.function, invocation.version, invocation.budget_ms) == ("mine-1", "echo", "default", 2500)
    assert (head["method"], head["path"], head["raw_path"]) == ("POST", "/echo/7", "/echo/7?a=1&a=2&flag")
    assert (head["query"], head["params"]) == ({"a": ["1", "2"], "flag": True}, {"id": "7"})
    assert head["client"]["ip"] == "127.0.0.1"
    assert "x-fn-admin-token" not in head["headers"]
    assert head["context"]["function_name"] == "echo"


async def test_call_belongs_to_the_callers_trace(client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy) -> None:
    await deploy(function_entry("hello"))
    outer = tracing.start()
    response = await client.get("/hello", headers={"traceparent": outer.header()})
    span = tracing.parse(response.headers["traceparent"])
    assert span is not None
    assert span.trace_id == outer.trace_id
    assert span.span_id != outer.span_id
    assert executor.traceparents == [span.header()]
    assert orjson.loads(executor.invocations[0].head)["traceparent"] == span.handler().header()


async def test_warm_state_is_told_once(client: httpx.AsyncClient, deploy: Deploy) -> None:
    await deploy(function_entry("hello"))
    first, second = await client.get("/hello"), await client.get("/hello")
    assert "x-fastfn-warmed" in first.headers
    assert "x-fastfn-warmed" not in second.headers
    assert second.headers["x-fastfn-function-state"] == "warm"


async def test_failing_cold_function_asks_to_come_again(
    client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy
) -> None:
    await deploy(function_entry("hello"))
    executor.behaviour = lambda _: answer(b'{"error":"x"}', status=500, cold=True)
    response = await client.get("/hello")
    assert response.status_code == 500
    assert (response.headers["x-fastfn-warming"], response.headers["retry-after"]) == ("true", "1")


async def test_debug_headers_are_sent_when_asked_for(client: httpx.AsyncClient, deploy: Deploy) -> None:
    await deploy(function_entry("hello", policy=Policy(include_debug_headers=True)))
    headers = (await client.get("/hello")).headers
    assert (headers["x-fn-runtime"], headers["x-fn-function"], headers["x-fn-version"]) == ("python", "hello", "default")
    assert headers["x-fn-request-id"] == headers["x-request-id"]


async def test_head_is_get_without_a_body_and_options_tells_methods(client: httpx.AsyncClient, deploy: Deploy) -> None:
    await deploy(function_entry("hello"))
    head, options = await client.head("/hello"), await client.options("/hello")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "11")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/nobody", 404, "not found"),
        ("POST", "/hello", 405, "method not allowed"),
        ("GET", "/twice", 409, "ambiguous function"),
        ("GET", "/elsewhere", 421, "host not allowed"),
        ("GET", "/%FF", 400, "path is not valid UTF-8"),
        ("GET", "/users/a%2Fb", 404, "not found"),
        ("GET", "/a/%2e%2e/b", 400, "invalid path"),
        ("GET", "/hello@v9", 404, "not found"),
        ("GET", "//_fn/jobs", 404, "not found"),
    ],
)
async def test_request_that_cannot_be_a_call_is_refused(
    client: httpx.AsyncClient, deploy: Deploy, method: str, path: str, status: int, text: str
) -> None:
    await deploy(
        function_entry("hello"),
        function_entry("user", "/users/:id"),
        function_entry("away", "/elsewhere", hosts=("a.test",)),
        conflicts=("/twice",),
    )
    response = await client.request(method, str(client.base_url).rstrip("/") + path)
    assert (response.status_code, response.json()["error"]) == (status, text)
    assert response.json()["request_id"] == response.headers["x-request-id"]
    if status == 405:
        assert response.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("reply", "status", "text"),
    [
        (_failure(FailureCode.TIMEOUT), 504, "runtime timeout"),
        (_failure(FailureCode.CRASH, "the worker exited with 3"), 502, "runtime error: the worker exited with 3"),
        (_failure(FailureCode.INVALID_RESPONSE), 502, "invalid runtime response"),
        (_failure(FailureCode.UNAVAILABLE), 503, "runtime unavailable"),
        (answer(head=b"garbage"), 502, "invalid runtime response"),
        (answer(head=b'[["x","a\\r\\nset-cookie: b"]]'), 502, "invalid runtime response"),
    ],
)
async def test_failed_run_has_the_contracts_error(
    client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy, reply: calls.Reply, status: int, text: str
) -> None:
    await deploy(function_entry("hello"))
    executor.behaviour = lambda _: reply
    response = await client.get("/hello")
    assert (response.status_code, response.json()["error"]) == (status, text)


@pytest.mark.parametrize(
    ("reply", "code", "retry"),
    [
        (_failure(FailureCode.MEMORY_LIMIT, "memory limit of 128 MB exceeded"), "memory_limit", None),
        (_failure(FailureCode.UNAVAILABLE, "dependencies are being installed"), "dependencies", "2"),
        (_failure(FailureCode.CRASH, "the worker exited with 3"), None, None),
    ],
)
async def test_failure_that_programs_should_know_has_a_code(
    client: httpx.AsyncClient,
    executor: FakeExecutor,
    deploy: Deploy,
    gateway: Gateway,
    reply: calls.Reply,
    code: str | None,
    retry: str | None,
) -> None:
    await deploy(function_entry("hello"))
    assert (await client.get("/hello")).status_code == 200
    executor.behaviour = lambda _: reply
    response = await client.get("/hello")
    assert (response.json().get("code"), response.headers.get("retry-after")) == (code, retry)
    assert gateway.caller.in_flight == 0


async def test_runtime_without_executor_is_unavailable_at_once(
    client: httpx.AsyncClient, deploy: Deploy, gateway: Gateway
) -> None:
    await deploy(function_entry("lost", runtime="rust"))
    response = await client.get("/lost")
    assert (response.status_code, response.json()["error"], response.headers["retry-after"]) == (
        503,
        "runtime unavailable",
        "1",
    )
    assert gateway.caller.in_flight == 0


async def test_busy_executor_is_asked_once_more(client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy) -> None:
    await deploy(function_entry("hello"))
    busy = calls.Reply(kind=ReplyKind.BUSY, executor="fake")
    executor.behaviour = lambda _: busy if len(executor.invocations) == 1 else answer()
    assert (await client.get("/hello")).status_code == 200
    executor.behaviour = lambda _: busy
    response = await client.get("/hello")
    assert (response.status_code, response.json()["error"], response.headers["retry-after"]) == (
        429,
        "worker pool overflow",
        "1",
    )
    assert len(executor.invocations) == 4


async def test_call_over_the_limit_is_turned_away_and_the_slot_comes_back(
    client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy
) -> None:
    pool = WorkerPoolPolicy(max_workers=1, overflow_status=503)
    await deploy(function_entry("slow", policy=Policy(worker_pool=pool, timeout_ms=20_000)))
    executor.behaviour = lambda _: None
    async with asyncio.TaskGroup() as tasks:
        held = tasks.create_task(client.get("/slow"))
        await eventually(lambda: executor.invocations)
        refused = await client.get("/slow")
        executor.reply(0, answer())
    assert (refused.status_code, refused.json()["error"], refused.headers["retry-after"]) == (503, "worker pool overflow", "1")
    assert held.result().status_code == 200
    executor.behaviour = lambda _: answer()
    assert (await client.get("/slow")).status_code == 200


async def test_executor_that_never_replies_is_a_timeout_and_leaves_no_waiter(
    client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy, gateway: Gateway
) -> None:
    await deploy(function_entry("dead", policy=Policy(timeout_ms=50)))
    executor.behaviour = lambda _: None
    response = await client.get("/dead", headers={"x-request-id": "r-1"})
    assert (response.status_code, response.json()["error"]) == (504, "runtime timeout")
    assert gateway.caller.in_flight == 0
    await eventually(lambda: executor.canceled == ["r-1"])


async def test_body_over_the_limit_is_refused_by_its_header_and_by_its_bytes(
    client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy
) -> None:
    await deploy(function_entry("post", methods=("POST",), policy=Policy(max_body_bytes=10)))

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"12345"

    by_header = await client.post("/post", content=b"x" * 11)
    by_bytes = await client.post("/post", content=pieces())
    assert [(each.status_code, each.json()["error"]) for each in (by_header, by_bytes)] == [(413, "payload too large")] * 2
    assert not executor.invocations
    assert (await client.post("/post", content=b"x" * 10)).status_code == 200


async def test_large_bodies_travel_through_the_store(
    client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy, net: Net
) -> None:
    await deploy(function_entry("big", methods=("POST",), policy=Policy(max_body_bytes=1 << 20, timeout_ms=20_000)))
    store = await (await net.connect("executor")).objects("bodies", ttl_seconds=3600)
    await store.put("answer-1", b"y" * 300_000)
    executor.behaviour = lambda _: calls.Reply(
        kind=ReplyKind.ANSWER, executor="fake", status=200, head=b"[]", body_ref="answer-1"
    )
    response = await client.post("/big", content=b"x" * 400_000)
    assert response.content == b"y" * 300_000
    invocation = executor.invocations[0]
    assert invocation.body == b""
    assert await store.get(invocation.body_ref) == b"x" * 400_000

    async def deleted() -> bool:
        return not await store.has("answer-1")

    await eventually(deleted)


async def test_bus_that_goes_away_ends_calls_at_once_and_recovers(
    client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy, net: Net, gateway: Gateway
) -> None:
    await deploy(function_entry("slow", policy=Policy(timeout_ms=60_000)))
    executor.behaviour = lambda _: None
    async with asyncio.TaskGroup() as tasks:
        held = tasks.create_task(client.get("/slow"))
        await eventually(lambda: executor.invocations)
        await net.crash()
    assert (held.result().status_code, held.result().json()["error"]) == (503, "runtime unavailable")
    assert (await client.get("/slow")).status_code == 503
    assert gateway.caller.in_flight == 0
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/healthz")).status_code == 200
    await net.restart()
    executor.behaviour = lambda _: answer()

    async def works() -> bool:
        return (await client.get("/slow")).status_code == 200

    await eventually(works)


async def test_same_request_id_twice_at_once_names_two_calls(
    client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy
) -> None:
    await deploy(function_entry("slow", policy=Policy(timeout_ms=20_000)))
    executor.behaviour = lambda _: None
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(client.get("/slow", headers={"x-request-id": "same"}))
        await eventually(lambda: len(executor.invocations) == 2)
        for at in range(2):
            executor.reply(at, answer())
    assert len({invocation.id for invocation in executor.invocations}) == 2


async def test_function_that_is_removed_is_not_found(client: httpx.AsyncClient, deploy: Deploy, net: Net) -> None:
    await deploy(function_entry("hello"))
    assert (await client.get("/hello")).status_code == 200
    bucket = await (await net.connect("registry")).bucket("catalog")
    await bucket.delete("fn.default.python.hello")

    async def gone() -> bool:
        return (await client.get("/hello")).status_code == 404

    await eventually(gone)


async def test_malformed_entry_leaves_the_rest_alone(client: httpx.AsyncClient, deploy: Deploy, net: Net) -> None:
    bucket = await (await net.connect("registry")).bucket("catalog")
    await bucket.put("fn.default.python.bad", b"\xff")
    await deploy(function_entry("hello"))
    assert (await client.get("/hello")).status_code == 200
