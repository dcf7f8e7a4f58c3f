"""What only a raw socket can do: leave in the middle, pipeline, send bytes that no client library sends."""

import asyncio
import contextlib

import orjson
import pytest

from libs.messages.catalog import Policy
from libs.testing.buses import Net
from libs.testing.fakes import FakeExecutor, answer, function_entry, project
from libs.testing.wait import eventually
from services.gateway.assembly import Gateway

pytestmark = pytest.mark.parametrize("fast", [True, False], ids=["short way", "long way"])
"""The short way is the long way, only shorter."""


async def _deploy(net: Net, gateway: Gateway, name: str, policy: Policy | None = None) -> None:
    await project(await net.connect("registry"), function_entry(name, policy=policy))
    await eventually(lambda: gateway.catalogue.table.names.find(name))


async def _talk(gateway: Gateway, request: bytes, *, until: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            data = b""
            while until not in data:
                piece = await reader.read(65536)
                if not piece:
                    break
                data += piece
            return data
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_client_that_leaves_frees_its_slot_and_cancels_its_call(
    net: Net, gateway: Gateway, executor: FakeExecutor
) -> None:
    await _deploy(net, gateway, "slow", Policy(max_concurrency=1, timeout_ms=60_000))
    executor.behaviour = lambda _: None
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\nx-request-id: leaver\r\n\r\n")
    await eventually(lambda: executor.invocations)
    writer.close()
    await eventually(lambda: executor.canceled == ["leaver"])
    await eventually(lambda: gateway.caller.in_flight == 0)
    executor.behaviour = lambda _: answer()
    assert b"200 OK" in await _talk(gateway, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n", until=b"true}")


async def test_client_that_leaves_while_it_sends_runs_nothing(net: Net, gateway: Gateway, executor: FakeExecutor) -> None:
    await _deploy(net, gateway, "hello")
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /hello HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345")
    await writer.drain()
    writer.close()
    assert b"200 OK" in await _talk(gateway, b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n", until=b"true}")
    assert len(executor.invocations) == 1


async def test_pipelined_requests_are_answered_in_order(net: Net, gateway: Gateway, executor: FakeExecutor) -> None:
    await _deploy(net, gateway, "hello")
    executor.behaviour = lambda call: answer(b"<" + orjson.loads(call.head)["query"]["n"].encode() + b">")
    requests = b"".join(b"GET /hello?n=%d HTTP/1.1\r\nhost: x\r\n\r\n" % number for number in range(5))
    data = await _talk(gateway, requests, until=b"<4>")
    places = [data.index(b"<%d>" % number) for number in range(5)]
    assert places == sorted(places)


async def test_header_bytes_that_are_not_utf8_arrive_as_latin1(net: Net, gateway: Gateway, executor: FakeExecutor) -> None:
    await _deploy(net, gateway, "hello")
    data = await _talk(gateway, b"GET /hello HTTP/1.1\r\nhost: x\r\nx-raw: \xff\r\n\r\n", until=b"true}")
    assert b"200 OK" in data
    assert orjson.loads(executor.invocations[0].head)["headers"]["x-raw"] == "ÿ"


async def test_path_bytes_that_are_not_ascii_are_a_clear_400(gateway: Gateway) -> None:
    data = await _talk(gateway, b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n", until=b"}")
    assert data.startswith(b"HTTP/1.1 400 ")
    assert b'"error":' in data


async def test_head_over_the_limit_is_a_clear_400(gateway: Gateway) -> None:
    many = b"".join(b"x-%d: 1\r\n" % number for number in range(300))
    data = await _talk(gateway, b"GET / HTTP/1.1\r\nhost: x\r\n" + many + b"\r\n", until=b"}")
    assert data.startswith(b"HTTP/1.1 400 ")
    long = b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 70_000 + b"\r\n\r\n"
    assert (await _talk(gateway, long, until=b"}")).startswith(b"HTTP/1.1 400 ")


async def test_expectation_of_a_body_too_large_is_refused_before_it_is_sent(net: Net, gateway: Gateway) -> None:
    await _deploy(net, gateway, "hello")
    request = b"GET /hello HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 99999999\r\n\r\n"
    data = await _talk(gateway, request, until=b"}")
    assert data.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("request_bytes", "taken"),
    [
        pytest.param(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n", 1, id="no body"),
        pytest.param(b"GET /hello HTTP/1.0\r\nhost: x\r\n\r\n", 1, id="old client"),
        pytest.param(b"POST /hello HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody", 1, id="small body"),
        pytest.param(b"POST /hello HTTP/1.1\r\nhost: x\r\ncontent-length: 70000\r\n\r\n" + b"b" * 70_000, 0, id="large body"),
        pytest.param(
            b"POST /hello HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 0, id="chunks"
        ),
        pytest.param(
            b"POST /hello HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\nbody", 0, id="expectation"
        ),
    ],
)
async def test_plain_calls_go_the_short_way_and_others_the_long_one(
    net: Net, gateway: Gateway, executor: FakeExecutor, request_bytes: bytes, taken: int
) -> None:
    await project(await net.connect("registry"), function_entry("hello", methods=("GET", "POST")))
    await eventually(lambda: gateway.catalogue.table.names.find("hello"))
    data = await _talk(gateway, request_bytes, until=b"true}")
    assert b" 200 OK\r\n" in data
    if gateway.fast is not None:
        assert gateway.fast.taken == taken
    assert executor.invocations[0].body == request_bytes.partition(b"\r\n\r\n")[2].replace(b"4\r\nbody\r\n0\r\n\r\n", b"body")


async def test_client_that_expects_is_told_to_go_on(net: Net, gateway: Gateway, executor: FakeExecutor) -> None:
    await project(await net.connect("registry"), function_entry("hello", methods=("POST",)))
    await eventually(lambda: gateway.catalogue.table.names.find("hello"))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /hello HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
    async with asyncio.timeout(20):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert (await reader.readuntil(b"true}")).startswith(b"HTTP/1.1 200 ")
    assert executor.invocations[0].body == b"body"
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_pipelined_bodies_are_told_apart(net: Net, gateway: Gateway, executor: FakeExecutor) -> None:
    await project(await net.connect("registry"), function_entry("hello", methods=("POST",)))
    await eventually(lambda: gateway.catalogue.table.names.find("hello"))
    executor.behaviour = lambda call: answer(b"<" + call.body + b">")
    small = b"POST /hello HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n%03d"
    chunked = b"POST /hello HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\n%03d\r\n0\r\n\r\n"
    data = await _talk(gateway, b"".join((small, chunked)[n % 2] % n for n in range(6)), until=b"<005>")
    places = [data.index(b"<%03d>" % number) for number in range(6)]
    assert places == sorted(places)
