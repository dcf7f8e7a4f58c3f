"""What only a raw socket can do: leave in the middle, pipeline, send bytes that no client library sends."""

import asyncio
import contextlib

import orjson

from libs.messages.catalog import Policy
from libs.testing.buses import Net
from libs.testing.fakes import FakeExecutor, answer, function_entry, project
from libs.testing.wait import eventually
from services.gateway.assembly import Gateway


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
