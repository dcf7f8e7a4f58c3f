"""Streamed answers: relayed with credit, collected, broken off, and what a handler does after its answer."""

import asyncio
from pathlib import Path

import pytest

from libs.bus.port import Message
from libs.messages import codec, subjects
from libs.messages.calls import CancelInvocation, FailureCode, Invocation, Reply, ReplyKind, StreamCredit, StreamPiece
from libs.messages.catalog import Limits, VersionEntry
from libs.testing.wait import eventually
from services.executor.calls import streams
from services.executor.workers.frames import WINDOW
from tests.integration.executor.harness import PATIENCE, Platform


class Reader:
    """A gateway that takes one streamed answer."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.inbox = f"_INBOX.reader-{id(self)}"
        self.reply: Reply | None = None
        self.pieces: list[StreamPiece] = []

    async def ask(self, version: VersionEntry, body: bytes) -> Invocation:
        """Send the call."""
        await self.platform.bus.subscribe(self.inbox, self._on_message)
        call = self.platform.invocation(version, body, streams=True)
        subject = subjects.invoke(runtime=call.runtime, namespace=call.namespace, function=call.function)
        self.platform.bus.post(subject, codec.encode(call), reply=self.inbox)
        await eventually(lambda: self.reply is not None, within=PATIENCE)
        return call

    def grant(self, pieces: int) -> None:
        """Have room for more."""
        credit = StreamCredit(reply=self.inbox, pieces=pieces)
        self.platform.bus.post(subjects.stream_credit("executor-1"), codec.encode(credit))

    async def taken(self, count: int) -> None:
        """Wait for so many pieces."""
        await eventually(lambda: len(self.pieces) >= count, within=PATIENCE)

    async def end(self) -> StreamPiece:
        """Return the last piece."""
        await eventually(lambda: self.pieces and self.pieces[-1].end, within=PATIENCE)
        assert [piece.number for piece in self.pieces] == list(range(1, len(self.pieces) + 1))
        return self.pieces[-1]

    def body(self) -> bytes:
        """Return all that came."""
        assert self.reply is not None
        return self.reply.body + b"".join(piece.data for piece in self.pieces)

    def _on_message(self, message: Message) -> None:
        if self.reply is None:
            self.reply = codec.decode(Reply, message.data)
        else:
            self.pieces.append(codec.decode(StreamPiece, message.data))


@pytest.fixture
def reader(platform: Platform) -> Reader:
    """Somebody who takes a streamed answer."""
    return Reader(platform)


async def test_streamed_answer_leaves_piece_by_piece_and_waits_for_its_reader(platform: Platform, reader: Reader) -> None:
    version = await platform.deploy()
    call = await reader.ask(version, b"stream 30 10")
    assert reader.reply is not None
    assert (reader.reply.kind, reader.reply.status, reader.reply.head, reader.reply.body) == (
        ReplyKind.STREAM,
        200,
        b"[]",
        b"0" * 10,
    )
    await reader.taken(WINDOW)
    # The worker goes on being busy with it, and takes none of the others' calls.
    assert (await platform.call(version, b"another")).body == b"another"
    assert len(reader.pieces) == WINDOW
    reader.grant(3)
    await reader.taken(WINDOW + 3)
    reader.grant(40)
    last = await reader.end()
    assert (last.code, last.data, last.run_us > 0) == (FailureCode.NONE, b"", True)
    assert len(reader.body()) == 300
    told = await platform.execution(call.id)
    assert (told.status, told.code, told.bytes_out) == (200, FailureCode.NONE, 300)


async def test_streamed_answer_is_collected_for_who_takes_it_whole(platform: Platform) -> None:
    version = await platform.deploy()
    reply = await platform.call(version, b"stream 100 1000")
    assert (reply.kind, reply.status, len(reply.body)) == (ReplyKind.ANSWER, 200, 100_000)
    assert (await platform.call(version, b"stream 100 60000")).code is FailureCode.TOO_LARGE
    failed = await platform.call(version, b"stream-and-fail 3")
    assert (failed.status, failed.code) == (500, FailureCode.HANDLER_ERROR)
    assert (await platform.call(version, b"stream-and-exit 3")).code is FailureCode.CRASH
    assert (await platform.call(version)).status == 200


@pytest.mark.parametrize(
    ("body", "code"), [(b"stream-and-fail 3", FailureCode.HANDLER_ERROR), (b"stream-and-exit 3", FailureCode.CRASH)]
)
async def test_streamed_answer_says_that_it_broke_off(
    platform: Platform, reader: Reader, body: bytes, code: FailureCode
) -> None:
    call = await reader.ask(await platform.deploy(), body)
    last = await reader.end()
    assert last.code is code
    assert reader.body() == b"000011112222"
    told = await platform.execution(call.id)
    assert (told.status, told.code, told.bytes_out) == (200, code, 12)


async def test_streamed_answer_beyond_the_function_s_limit_is_broken_off(platform: Platform, reader: Reader) -> None:
    version = await platform.deploy(limits=Limits(max_response_bytes=50))
    await reader.ask(version, b"stream 20 20")
    assert (await reader.end()).code is FailureCode.TOO_LARGE
    assert len(reader.body()) == 40
    assert (await platform.call(version, b"stream 3 20")).code is FailureCode.TOO_LARGE
    assert (await platform.call(version, b"x" * 60)).code is FailureCode.TOO_LARGE
    assert (await platform.call(version, b"x" * 50)).status == 200


async def test_worker_of_a_streamed_answer_is_dead_when_the_reader_leaves(platform: Platform, reader: Reader) -> None:
    call = await reader.ask(await platform.deploy(), b"stream-and-hang")
    platform.bus.post(subjects.CANCEL_INVOCATION, codec.encode(CancelInvocation(id=call.id, reply=reader.inbox)))
    assert (await reader.end()).code is FailureCode.CANCELED
    await eventually(lambda: platform.executor.dispatch.pool.workers == 0, within=PATIENCE)
    assert (await platform.execution(call.id)).code is FailureCode.CANCELED


@pytest.mark.parametrize(
    ("bound", "body", "code"),
    [
        ("LEAST_IDLE_SECONDS", b"stream-and-hang", FailureCode.TIMEOUT),
        ("UNREAD_SECONDS", b"stream 30 4", FailureCode.CANCELED),
        ("LONGEST_SECONDS", b"stream-and-hang", FailureCode.TIMEOUT),
    ],
)
async def test_streamed_answer_that_does_not_get_on_is_ended(
    platform: Platform, reader: Reader, monkeypatch: pytest.MonkeyPatch, bound: str, body: bytes, code: FailureCode
) -> None:
    monkeypatch.setattr(streams, bound, 0.3)
    version = await platform.deploy()
    await platform.call(version)
    platform.budget_ms = 200
    await reader.ask(version, body)
    assert (await reader.end()).code is code


async def test_call_is_answered_while_its_handler_goes_on(platform: Platform, tmp_path: Path) -> None:
    version = await platform.deploy()
    later = tmp_path / "later"
    call = platform.invocation(version, b"background 0.5 " + bytes(later))
    reply = await platform.send(call)
    assert (reply.status, reply.body) == (200, b"answered")
    assert not later.exists()
    pool = platform.executor.dispatch.pool
    assert pool.busy == 1
    assert (await platform.call(version, b"another")).body == b"another"
    await eventually(lambda: pool.busy == 0, within=PATIENCE)
    assert later.exists()
    assert (await platform.execution(call.id)).status == 200


async def test_answer_with_too_many_headers_is_none(platform: Platform) -> None:
    version = await platform.deploy()
    assert (await platform.call(version, b"head 65537")).code is FailureCode.INVALID_RESPONSE
    assert (await platform.call(version, b"head 65536")).status == 200


async def test_many_streams_at_once_all_arrive_whole(platform: Platform) -> None:
    version = await platform.deploy()
    readers = [Reader(platform) for _ in range(8)]

    async def take(reader: Reader) -> int:
        await reader.ask(version, b"stream 50 1000")
        reader.grant(50)
        await reader.end()
        return len(reader.body())

    assert await asyncio.gather(*map(take, readers)) == [50_000] * 8
