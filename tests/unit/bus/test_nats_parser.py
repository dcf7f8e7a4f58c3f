"""The fast parser against nats-py's own: the same bytes, cut anywhere, must come out the same."""

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.protocol.parser import Parser

from libs.bus.jetstream_parser import MessageParser, Shortcut

_WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789._-*>$ü", min_size=1, max_size=12)
_BODY = st.binary(max_size=60) | st.sampled_from([b"\r\n", b"MSG a 1 1\r\nx\r\n", b"PING\r\n"])


@dataclass
class Recorder:
    """Stands for the client: notes what a parser told it."""

    told: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])

    def deliver(self, sid: int, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        self.told.append((sid, subject, reply, data, headers))

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.deliver(sid, subject.decode(), reply.decode(), data, headers or b"")

    async def _process_ping(self) -> None:
        self.told.append(("ping",))

    async def _process_pong(self) -> None:
        self.told.append(("pong",))

    async def _process_err(self, err_msg: str) -> None:
        self.told.append(("error", err_msg))

    async def _process_info(self, info: dict[str, object]) -> None:
        self.told.append(("info", info))


@st.composite
def commands(draw: st.DrawFn) -> bytes:
    """One thing that a server says."""
    other = [b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"-ERR 'Slow Consumer'\r\n", b'INFO {"server_id":"x"}\r\n']
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(other))
    subject, reply = draw(_WORD), draw(st.just("") | _WORD.map(lambda word: word + " "))
    sid, body = draw(st.integers(1, 999)), draw(_BODY)
    headers = draw(st.just(b"") | st.binary(max_size=40).map(b"NATS/1.0".__add__))
    if headers:
        line = f"HMSG {subject} {sid} {reply}{len(headers)} {len(headers) + len(body)}\r\n"
    else:
        line = f"MSG {subject} {sid} {reply}{len(body)}\r\n"
    return line.encode() + headers + body + b"\r\n"


async def parsed(pieces: list[bytes], *, fast: bool) -> list[tuple[object, ...]]:
    recorder = Recorder()
    client = cast("Client", recorder)
    parser = MessageParser(client, recorder.deliver) if fast else Parser(client)
    for piece in pieces:
        await parser.parse(piece)
    assert not parser.buf
    return recorder.told


@given(said=st.lists(commands(), max_size=12), cuts=st.lists(st.integers(0, 2000), max_size=12))
async def test_bytes_cut_anywhere_come_out_as_from_the_clients_own_parser(said: list[bytes], cuts: list[int]) -> None:
    data = b"".join(said)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[start:stop] for start, stop in itertools.pairwise(places)]
    found = await parsed(pieces, fast=True)
    assert found == await parsed(pieces, fast=False)
    assert len(found) == sum(each != b"+OK\r\n" for each in said)


@given(
    said=st.lists(commands(), max_size=12),
    cuts=st.lists(st.tuples(st.integers(0, 2000), st.booleans()), max_size=12),
    most=st.integers(1, 100),
)
async def test_bytes_come_out_in_order_whether_the_stream_is_read_at_once_or_later(
    said: list[bytes], cuts: list[tuple[int, bool]], most: int
) -> None:
    data = b"".join(said)
    places = dict.fromkeys([0, len(data)], True) | {cut % (len(data) + 1): reads for cut, reads in cuts}
    recorder = Recorder()
    parser = MessageParser(cast("Client", recorder), recorder.deliver)
    reader = asyncio.StreamReader()
    shortcut = Shortcut(asyncio.StreamReaderProtocol(reader), parser)

    async def read() -> None:
        while not reader.at_eof():
            await parser.parse(await reader.read(most))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        for start, stop in itertools.pairwise(sorted(places)):
            shortcut.data_received(data[start:stop])
            if places[stop]:
                await asyncio.sleep(0)
        shortcut.eof_received()
    assert recorder.told == await parsed([data], fast=False)


async def test_message_split_at_every_byte_arrives_whole() -> None:
    data = b"HMSG a.b 7 reply.1 14 16\r\nNATS/1.0\r\n\r\n12" + b"hi\r\n"
    data = b"MSG a 1 2\r\nab\r\n" + data + b"MSG b 2 r 0\r\n\r\n"
    pieces = [data[at : at + 1] for at in range(len(data))]
    expected = [(1, "a", "", b"ab", b""), (7, "a.b", "reply.1", b"hi", b"NATS/1.0\r\n\r\n12"), (2, "b", "r", b"", b"")]
    assert await parsed(pieces, fast=True) == expected
    assert await parsed([data], fast=True) == expected


async def test_line_that_is_no_message_is_left_to_the_clients_own_parser() -> None:
    for line in (b"MSG a 1\r\n", b"MSG a x 1\r\n", b"HMSG a 1 5\r\n", b"NONSENSE\r\n"):
        faults: list[type[Exception]] = []
        for fast in (True, False):
            try:
                await parsed([b"MSG a 1 1\r\nx\r\n" + line], fast=fast)
            except Exception as error:  # noqa: BLE001  whatever it raises, both must
                faults.append(type(error))
        assert len(faults) == 2, line
        assert faults[0] is faults[1], line
