"""Streamed answers through a gateway that listens: what a client sees, how fast it may be, and what becomes of both ends."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from libs.messages.calls import FailureCode
from libs.messages.catalog import Policy
from libs.testing.buses import Net
from libs.testing.fakes import FakeExecutor, answer, function_entry, project
from libs.testing.wait import eventually
from services.gateway.assembly import Gateway
from tests.integration.gateway.clients import PATIENCE, RawClient
from tests.integration.gateway.streamer import Streamer

pytestmark = pytest.mark.parametrize("fast", [True, False], ids=["short way", "long way"])
"""The short way is the long way, only shorter."""

PIECE = bytes(range(256)) * 256


class Client(RawClient):
    """A raw connection."""

    def ask(self, *, method: str = "GET", version: str = "1.1", headers: str = "") -> None:
        """Ask for the stream."""
        self.writer.write(f"{method} /stream HTTP/{version}\r\nhost: x\r\n{headers}\r\n".encode())


@pytest.fixture
async def streamer(net: Net, executor: FakeExecutor, gateway: Gateway) -> Streamer:
    """Answers `/stream`."""
    entry = function_entry("stream", policy=Policy(max_concurrency=1, timeout_ms=20_000))
    await project(await net.connect("registry"), entry)
    await eventually(lambda: gateway.catalogue.table.names.find("stream"))
    made = Streamer(await net.connect("executor"), executor)
    await made.start()
    return made


@pytest.fixture
async def browser(gateway: Gateway) -> AsyncIterator[Client]:
    """A connection to the gateway."""
    async with Client.connected(gateway, limit=1 << 17) as client:
        yield client


async def test_piece_reaches_the_client_before_the_next_is_made(streamer: Streamer, browser: Client, gateway: Gateway) -> None:
    streamer.first = b"data: 0\n\n"
    browser.ask()
    head = await browser.until(b"data: 0\n\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"transfer-encoding: chunked" in head
    assert b"content-length" not in head
    assert b"content-type: text/event-stream" in head
    assert b"server-timing: admit;dur=" in head
    for number in (1, 2, 3):
        streamer.send(b"data: %d\n\n" % number)
        assert b"9\r\ndata: %d\n\n" % number in await browser.until(b"data: %d\n\n" % number)
    streamer.send(b"bye", end=True)
    assert await browser.until(b"0\r\n\r\n") == b"\r\n3\r\nbye\r\n0\r\n\r\n"
    await eventually(lambda: streamer.granted == 3)
    await eventually(lambda: gateway.caller.in_flight == 0)


async def test_connection_goes_on_after_a_streamed_answer(
    streamer: Streamer, client: httpx.AsyncClient, executor: FakeExecutor
) -> None:
    for count in (0, 1, 20):
        streamer.stream([b"%d," % number for number in range(count)])
        response = await client.get("/stream")
        assert response.text == "".join(f"{number}," for number in range(count))
    assert all(each.streams for each in executor.invocations)
    assert not executor.canceled
    metrics = (await client.get("/metrics")).text
    assert "fnbus_gateway_streams_total 3.0" in metrics
    assert "fnbus_gateway_streams_broken_total 0.0" in metrics


async def test_slow_reader_slows_the_handler_and_gets_everything_in_bounded_memory(streamer: Streamer, browser: Client) -> None:
    pieces = 1600
    streamer.stream(PIECE for _ in range(pieces))
    browser.ask()
    await browser.until(b"\r\n\r\n")
    held = -1
    while held != streamer.sent:  # until neither the kernel's buffers nor the window take more
        held = streamer.sent
        await asyncio.sleep(0.3)
    total, most = 0, held
    async with asyncio.timeout(PATIENCE * 2):
        while True:
            size = int(await browser.reader.readuntil(b"\r\n"), 16)
            piece = (await browser.reader.readexactly(size + 2))[:-2]
            if not size:
                break
            assert piece == PIECE
            total += 1
            most = max(most, streamer.sent - total)
    assert total == pieces
    assert most < pieces / 4  # what was sent and has not arrived is all that anybody can hold: the gateway, and the kernel


@pytest.mark.parametrize("paused", [False, True], ids=["waiting", "reading nothing"])
async def test_client_that_leaves_stops_the_handler_at_once(
    streamer: Streamer, browser: Client, executor: FakeExecutor, gateway: Gateway, *, paused: bool
) -> None:
    if paused:
        streamer.stream(PIECE for _ in range(10_000))
    browser.ask(headers="x-request-id: leaver\r\n")
    await browser.until(b"\r\n\r\n")
    browser.writer.transport.abort()
    await eventually(lambda: executor.canceled == ["leaver"])
    await eventually(lambda: gateway.caller.in_flight == 0)


@pytest.mark.parametrize(
    "numbers", [pytest.param((1, 3), id="gap"), pytest.param((1, 1), id="twice"), pytest.param((2, 1), id="turned")]
)
async def test_lost_piece_breaks_the_answer_off(
    streamer: Streamer, browser: Client, executor: FakeExecutor, numbers: tuple[int, int]
) -> None:
    browser.ask()
    await browser.until(b"\r\n\r\n")
    for number in numbers:
        streamer.send(b"piece", number=number)
    assert b"0\r\n\r\n" not in await browser.rest()
    await eventually(lambda: executor.canceled)


async def test_handler_that_fails_on_the_way_breaks_the_answer_off(
    streamer: Streamer, browser: Client, client: httpx.AsyncClient
) -> None:
    browser.ask()
    await browser.until(b"\r\n\r\n")
    streamer.send(b"some")
    streamer.send(end=True, code=FailureCode.CRASH, message="the worker exited")
    assert await browser.rest() == b"4\r\nsome\r\n"
    assert "fnbus_gateway_streams_broken_total 1.0" in (await client.get("/metrics")).text


async def test_executor_that_sends_more_than_it_may_is_stopped(
    streamer: Streamer, browser: Client, executor: FakeExecutor
) -> None:
    browser.ask()
    await browser.until(b"\r\n\r\n")
    for _ in range(200):
        streamer.send(PIECE)
    await eventually(lambda: executor.canceled)
    assert not (await browser.rest()).endswith(b"0\r\n\r\n")


async def test_bus_that_goes_away_breaks_the_answer_off(streamer: Streamer, browser: Client, net: Net) -> None:
    streamer.first = b"begun"
    browser.ask()
    await browser.until(b"begun")
    await net.crash()
    assert await browser.rest() == b"\r\n"


async def test_old_client_gets_plain_bytes_and_the_end_of_the_connection(streamer: Streamer, browser: Client) -> None:
    streamer.stream([b"one", b"two"])
    browser.ask(version="1.0")
    head, _, body = (await browser.rest()).partition(b"\r\n\r\n")
    assert body == b"onetwo"
    assert b"chunked" not in head
    assert b"connection: close" in head


async def test_old_client_is_reset_when_the_answer_breaks_off(streamer: Streamer, browser: Client) -> None:
    browser.ask(version="1.0")
    await browser.until(b"\r\n\r\n")
    streamer.send(end=True, code=FailureCode.CRASH)
    with pytest.raises(ConnectionResetError):
        await browser.rest()


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("GET", 205)])
async def test_answer_without_body_ends_with_its_head(
    streamer: Streamer, browser: Client, executor: FakeExecutor, gateway: Gateway, method: str, status: int
) -> None:
    streamer.status = status
    streamer.stream([b"never", b"seen"])
    browser.ask(method=method)
    assert b" %d " % status in await browser.until(b"\r\n\r\n")
    await eventually(lambda: gateway.caller.in_flight == 0)
    assert not executor.canceled
    executor.behaviour = lambda _: answer(b"next")
    browser.ask()
    assert (await browser.until(b"next")).startswith(b"HTTP/1.1 200 ")


async def test_slot_is_held_until_the_stream_ends(streamer: Streamer, browser: Client, client: httpx.AsyncClient) -> None:
    browser.ask()
    await browser.until(b"\r\n\r\n")
    assert (await client.get("/stream")).status_code == 429
    streamer.send(end=True)
    await browser.until(b"0\r\n\r\n")
    streamer.stream([])

    async def free() -> bool:
        return (await client.get("/stream")).status_code == 200

    await eventually(free)


async def test_head_that_is_none_is_an_invalid_response(
    streamer: Streamer, client: httpx.AsyncClient, executor: FakeExecutor
) -> None:
    streamer.head = b"garbage"
    response = await client.get("/stream")
    assert (response.status_code, response.json()["error"]) == (502, "invalid runtime response")
    await eventually(lambda: executor.canceled)


@pytest.mark.usefixtures("streamer")
async def test_invoke_asks_for_no_stream(client: httpx.AsyncClient, executor: FakeExecutor) -> None:
    executor.behaviour = lambda _: answer()
    assert (await client.post("/_fn/invoke", json={"name": "stream"})).status_code == 200
    assert not executor.invocations[0].streams
