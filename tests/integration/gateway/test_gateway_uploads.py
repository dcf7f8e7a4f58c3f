"""Request bodies that are sent while their call runs: what leaves when, how much of them, and what becomes of both ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from libs.bus import port
from libs.messages import calls, codec, subjects
from libs.messages.calls import BodyCredit, BodyPiece, Reply, ReplyKind, StreamPiece
from libs.messages.catalog import Policy
from libs.testing.buses import Net
from libs.testing.fakes import FakeExecutor, answer, function_entry, project
from libs.testing.wait import eventually
from services.gateway import connection
from services.gateway.assembly import Gateway
from tests.integration.gateway.clients import PATIENCE, RawClient

MOST = 1 << 20
NAME = "reader"


class Reader:
    """An executor whose handlers read by and by, as a test tells them to."""

    def __init__(self, bus: port.Bus, executor: FakeExecutor) -> None:
        self.pieces: list[BodyPiece] = []
        self.greedy = False
        """Whether it asks for another piece whenever one comes."""
        self._bus = bus
        self._executor = executor
        executor.reads = True
        executor.behaviour = lambda _: None

    async def start(self) -> None:
        """Listen for pieces."""
        await self._bus.subscribe(subjects.body_pieces(NAME), self._on_piece, queue=subjects.EXECUTORS)

    @property
    def body(self) -> bytes:
        """What has come."""
        assert [each.number for each in self.pieces] == list(range(1, len(self.pieces) + 1))
        return b"".join(each.data for each in self.pieces)

    async def called(self, count: int = 1) -> calls.Invocation:
        """Wait for so many calls; return the last one."""
        await eventually(lambda: len(self._executor.invocations) == count, within=PATIENCE)
        return self._executor.invocations[-1]

    def ask(self, pieces: int, *, executor: str = NAME) -> None:
        """Have so many more pieces sent."""
        credit = BodyCredit(executor=executor, pieces=pieces)
        self._bus.post(self._executor.invocations[-1].body_from, codec.encode(credit))

    def reply(self, kind: ReplyKind, body: bytes = b"") -> None:
        """Answer."""
        reply = Reply(kind=kind, executor=NAME, status=200, head=b"[]", body=body)
        self._bus.post(self._executor.reply_to[-1], codec.encode(reply))

    def stream(self, number: int, data: bytes = b"", *, end: bool = False) -> None:
        """Send a piece of a streamed answer."""
        self._bus.post(self._executor.reply_to[-1], codec.encode(StreamPiece(number=number, data=data, end=end)))

    def _on_piece(self, message: port.Message) -> None:
        self.pieces.append(codec.decode(BodyPiece, message.data))
        assert self.pieces[-1].reply == self._executor.reply_to[-1]
        if self.greedy:
            self.ask(1)


class Client(RawClient):
    """A raw connection."""

    def begin(self, *, headers: str = "", length: int | None = None) -> None:
        """Send a head; chunks follow unless a length is given."""
        size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        self.writer.write(f"POST /read HTTP/1.1\r\nhost: x\r\n{size}\r\n{headers}\r\n".encode())

    def send(self, data: bytes) -> None:
        """Send a chunk; an empty one is the last."""
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))


@pytest.fixture
async def reader(net: Net, executor: FakeExecutor, gateway: Gateway) -> Reader:
    """Answers `/read`."""
    policy = Policy(max_concurrency=1, timeout_ms=60_000, max_body_bytes=MOST)
    await project(await net.connect("registry"), function_entry("read", methods=("GET", "POST"), policy=policy))
    await eventually(lambda: gateway.catalogue.table.names.find("read"))
    made = Reader(await net.connect("executor"), executor)
    await made.start()
    return made


@pytest.fixture
async def browser(gateway: Gateway) -> AsyncIterator[Client]:
    """A connection to the gateway."""
    async with Client.connected(gateway) as client:
        yield client


async def test_piece_reaches_the_handler_before_the_client_sends_the_next(
    reader: Reader, browser: Client, gateway: Gateway
) -> None:
    browser.begin()
    call = await reader.called()
    assert (call.body, call.body_ref) == (b"", "")
    reader.ask(8)
    for text in (b"one", b"two"):
        browser.send(text)
        await eventually(lambda text=text: reader.pieces and reader.pieces[-1].data == text)
    browser.send(b"")
    await eventually(lambda: reader.pieces[-1].end)
    assert reader.body == b"onetwo"
    reader.reply(ReplyKind.ANSWER, b"read")
    assert (await browser.until(b"read")).startswith(b"HTTP/1.1 200 ")
    await eventually(lambda: gateway.caller.in_flight == 0)


async def test_body_of_known_length_is_read_by_and_by_when_it_is_large(reader: Reader, browser: Client) -> None:
    browser.begin(length=100_000)
    browser.writer.write(b"x" * 50_000)
    await reader.called()
    reader.ask(8)
    await eventually(lambda: len(reader.body) == 50_000)
    browser.writer.write(b"y" * 50_000)
    await eventually(lambda: reader.pieces[-1].end)
    assert reader.body == b"x" * 50_000 + b"y" * 50_000


async def test_small_body_and_one_that_has_come_whole_travel_with_the_call(
    reader: Reader, client: httpx.AsyncClient, executor: FakeExecutor
) -> None:
    del reader
    executor.behaviour = lambda _: answer()
    assert (await client.post("/read", content=b"x" * 60_000)).status_code == 200
    assert (executor.invocations[0].body, executor.invocations[0].body_from) == (b"x" * 60_000, "")


async def test_no_more_leaves_than_was_asked_for(reader: Reader, browser: Client) -> None:
    browser.begin()
    await reader.called()
    assert not reader.pieces
    browser.send(b"x" * 300_000)
    reader.ask(2)
    await eventually(lambda: len(reader.pieces) == 2)
    reader.ask(1)
    await eventually(lambda: len(reader.pieces) == 3)
    assert max(len(each.data) for each in reader.pieces) <= 64 * 1024
    reader.ask(8)
    await eventually(lambda: len(reader.body) == 300_000)


@pytest.mark.parametrize("chosen", [{"max_body_bytes": 1 << 30}])
async def test_client_cannot_send_while_nobody_reads(
    net: Net, executor: FakeExecutor, gateway: Gateway, browser: Client
) -> None:
    policy = Policy(timeout_ms=60_000, max_body_bytes=1 << 30)
    await project(await net.connect("registry"), function_entry("read", methods=("POST",), policy=policy))
    await eventually(lambda: gateway.catalogue.table.names.find("read"))
    reader = Reader(await net.connect("executor"), executor)
    await reader.start()
    total = 64 << 20
    browser.begin(length=total)
    await reader.called()
    transport = browser.writer.transport
    browser.writer.write(bytes(total))
    left = -1
    while left != transport.get_write_buffer_size():  # until neither the kernel's buffers nor the gateway take more
        left = transport.get_write_buffer_size()
        await asyncio.sleep(0.3)
    assert left > total / 2
    assert not reader.pieces
    transport.abort()


@pytest.mark.parametrize("begun", [False, True], ids=["nothing answered", "answer begun"])
async def test_body_over_the_limit_ends_its_call(
    reader: Reader, browser: Client, executor: FakeExecutor, gateway: Gateway, *, begun: bool
) -> None:
    browser.begin(headers="x-request-id: long\r\n")
    await reader.called()
    if begun:
        reader.reply(ReplyKind.STREAM, b"begun")
        await browser.until(b"begun\r\n")
    reader.greedy = True
    reader.ask(8)
    browser.send(bytes(MOST + 1))
    browser.send(b"")
    if begun:
        assert await browser.rest() == b""
    else:
        assert b"payload too large" in await browser.until(b"payload too large")
    await eventually(lambda: executor.canceled == ["long"])
    assert len(reader.body) <= MOST
    await eventually(lambda: gateway.caller.in_flight == 0)


@pytest.mark.parametrize("reading", [True, False], ids=["read", "unread"])
async def test_client_that_leaves_in_the_middle_ends_its_call(
    reader: Reader, browser: Client, executor: FakeExecutor, gateway: Gateway, *, reading: bool
) -> None:
    browser.begin(headers="x-request-id: leaver\r\n")
    await reader.called()
    browser.send(bytes(200_000))
    if reading:
        reader.ask(8)
        await eventually(lambda: len(reader.body) == 200_000)
    browser.writer.transport.abort()
    await eventually(lambda: executor.canceled == ["leaver"], within=PATIENCE)
    await eventually(lambda: gateway.caller.in_flight == 0)


async def test_answer_goes_out_while_the_body_is_read(reader: Reader, browser: Client) -> None:
    browser.begin()
    await reader.called()
    reader.ask(8)
    reader.reply(ReplyKind.STREAM, b"begun")
    await browser.until(b"begun\r\n")
    for number in (1, 2, 3):
        browser.send(b"piece %d" % number)
        await eventually(lambda number=number: len(reader.pieces) == number)
        reader.stream(number, reader.pieces[-1].data)
        assert await browser.until(b"piece %d\r\n" % number) == b"7\r\npiece %d\r\n" % number
    browser.send(b"")
    await eventually(lambda: reader.pieces[-1].end)
    reader.stream(4, end=True)
    await browser.until(b"0\r\n\r\n")


async def test_connection_goes_on_after_an_answer_that_did_not_wait_for_the_body(
    reader: Reader, browser: Client, executor: FakeExecutor
) -> None:
    browser.begin()
    await reader.called()
    browser.send(b"x" * 100_000)
    reader.reply(ReplyKind.ANSWER, b"enough")
    await browser.until(b"enough")
    browser.send(b"y" * 500_000)
    browser.send(b"")
    executor.behaviour = lambda _: answer(b"next")
    browser.writer.write(b"GET /read HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await browser.until(b"next")).startswith(b"HTTP/1.1 200 ")
    assert not reader.pieces
    assert not executor.canceled


@pytest.mark.parametrize("bound", ["MAX_DROPPED_BYTES", "DROP_SECONDS"])
async def test_body_that_does_not_end_after_its_answer_ends_the_connection(
    reader: Reader, browser: Client, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(connection, bound, 0.1)
    browser.begin()
    await reader.called()
    reader.reply(ReplyKind.ANSWER, b"enough")
    await browser.until(b"enough")
    browser.send(b"more")
    with contextlib.suppress(ConnectionError):
        assert await browser.rest() == b""


async def test_client_is_told_to_go_on_when_somebody_reads(reader: Reader, browser: Client) -> None:
    browser.begin(headers="expect: 100-continue\r\n")
    await reader.called()
    reader.ask(8)
    assert await browser.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    browser.send(b"body")
    browser.send(b"")
    await eventually(lambda: reader.pieces and reader.pieces[-1].end)
    reader.reply(ReplyKind.ANSWER, b"read")
    assert (await browser.until(b"read")).startswith(b"HTTP/1.1 200 ")


async def test_client_that_waits_to_be_told_is_answered_when_nobody_reads(reader: Reader, browser: Client) -> None:
    browser.begin(headers="expect: 100-continue\r\n")
    await reader.called()
    reader.reply(ReplyKind.ANSWER, b"no need")
    assert (await browser.until(b"no need")).startswith(b"HTTP/1.1 200 ")


async def test_call_that_one_executor_is_too_busy_for_is_given_to_another(
    reader: Reader, browser: Client, executor: FakeExecutor
) -> None:
    replies = iter((Reply(kind=ReplyKind.BUSY, executor="busy"), None))
    executor.behaviour = lambda _: next(replies)
    browser.begin()
    browser.send(b"all of it")
    await reader.called(2)
    assert executor.invocations[0].body_from == executor.invocations[1].body_from
    reader.ask(8)
    browser.send(b"")
    await eventually(lambda: reader.pieces and reader.pieces[-1].end)
    assert reader.body == b"all of it"


async def test_only_the_executor_that_began_to_read_gets_pieces(reader: Reader, browser: Client) -> None:
    browser.begin()
    await reader.called()
    reader.ask(1)
    browser.send(b"one")
    await eventually(lambda: reader.body == b"one")
    reader.ask(8, executor="another")
    browser.send(b"two")
    reader.ask(1)
    await eventually(lambda: reader.body == b"onetwo")


async def test_version_that_wants_bodies_whole_is_asked_once(
    reader: Reader, client: httpx.AsyncClient, executor: FakeExecutor
) -> None:
    del reader
    executor.reads = False
    executor.behaviour = lambda _: answer()

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"12345"
            await asyncio.sleep(0)

    for _ in range(3):
        assert (await client.post("/read", content=pieces())).status_code == 200
        assert (await client.post("/read", content=b"x" * 200_000)).status_code == 200
    assert executor.declined == 1
    assert all(each.body or each.body_ref for each in executor.invocations)


async def test_bus_that_goes_away_ends_a_call_that_reads(reader: Reader, browser: Client, net: Net) -> None:
    browser.begin()
    await reader.called()
    reader.ask(8)
    await net.crash()
    assert b"runtime unavailable" in await browser.until(b"runtime unavailable")
