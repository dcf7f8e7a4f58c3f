"""Bodies that handlers read by and by: asked of the gateway, handed to the guest, and every way to break the rules."""

import pytest

from libs.bus.port import Message
from libs.messages import codec, subjects
from libs.messages.calls import BodyCredit, BodyPiece, CancelInvocation, FailureCode, Invocation, Reply, ReplyKind, StreamPiece
from libs.messages.catalog import VersionEntry
from libs.testing.wait import eventually
from services.executor.workers.frames import WINDOW
from tests.integration.executor.harness import PATIENCE, Platform


class Sender:
    """A gateway whose client is still sending."""

    def __init__(self, platform: Platform, name: str = "sender") -> None:
        self.platform = platform
        self.inbox = f"_INBOX.{name}-{id(self)}"
        self.asked: list[BodyCredit] = []
        self.replies: list[Reply] = []
        self.pieces: list[StreamPiece] = []
        self._number = 0

    async def call(self, version: VersionEntry, trick: str) -> Invocation:
        """Send a call without its body."""
        await self.platform.bus.subscribe(self.inbox, self._on_reply)
        await self.platform.bus.subscribe(f"{self.inbox}.body", self._on_credit)
        call = self.platform.invocation(
            version, runtime="reads", head=trick.encode(), streams=True, body_from=f"{self.inbox}.body"
        )
        subject = subjects.invoke(runtime=call.runtime, namespace=call.namespace, function=call.function)
        self.platform.bus.post(subject, codec.encode(call), reply=self.inbox)
        return call

    async def wanted(self, pieces: int) -> None:
        """Wait until so many pieces have been asked for."""
        await eventually(lambda: sum(each.pieces for each in self.asked) == pieces, within=PATIENCE)

    def send(self, data: bytes, *, end: bool = False, number: int = 0) -> None:
        """Send a piece."""
        self._number += 1
        piece = BodyPiece(reply=self.inbox, number=number or self._number, data=data, end=end)
        self.platform.bus.post(subjects.body_pieces("executor-1"), codec.encode(piece))

    async def reply(self) -> Reply:
        """Return the reply."""
        await eventually(lambda: self.replies, within=PATIENCE)
        return self.replies[0]

    def _on_reply(self, message: Message) -> None:
        if self.replies:
            self.pieces.append(codec.decode(StreamPiece, message.data))
        else:
            self.replies.append(codec.decode(Reply, message.data))

    def _on_credit(self, message: Message) -> None:
        self.asked.append(codec.decode(BodyCredit, message.data))


@pytest.fixture
async def version(platform: Platform) -> VersionEntry:
    """A version whose handler reads by and by."""
    return await platform.deploy(runtime="reads")


@pytest.fixture
def sender(platform: Platform) -> Sender:
    return Sender(platform)


async def test_body_is_asked_for_as_the_guest_reads(platform: Platform, sender: Sender, version: VersionEntry) -> None:
    call = await sender.call(version, "read 3")
    await sender.wanted(3)
    assert {each.executor for each in sender.asked} == {"executor-1"}
    for text in (b"one", b"two", b"three"):
        sender.send(text, end=text == b"three")
    reply = await sender.reply()
    assert (reply.kind, reply.body) == (ReplyKind.ANSWER, b"one|two|three")
    assert (await platform.execution(call.id)).bytes_in == 11


async def test_answer_streams_while_the_body_comes(sender: Sender, version: VersionEntry) -> None:
    await sender.call(version, "echo 3")
    assert (await sender.reply()).kind is ReplyKind.STREAM
    for number in (1, 2, 3):
        sender.send(b"%d" % number, end=number == 3)
        await eventually(lambda number=number: len(sender.pieces) >= number, within=PATIENCE)
        assert sender.pieces[number - 1].data == b"%d" % number
    await eventually(lambda: sender.pieces[-1].end, within=PATIENCE)


async def test_handler_that_answers_without_reading_asks_for_nothing(
    platform: Platform, sender: Sender, version: VersionEntry
) -> None:
    await sender.call(version, "answer")
    assert (await sender.reply()).body == b"unread"
    sender.send(b"too late")
    assert (await platform.call(version, b"next", runtime="reads")).body == b"next"
    assert not sender.asked


async def test_handler_that_takes_bodies_whole_is_not_run(platform: Platform) -> None:
    version = await platform.deploy()
    call = platform.invocation(version, body_from="_INBOX.nobody")
    assert (await platform.send(call)).kind is ReplyKind.WHOLE
    assert (await platform.call(version, b"whole")).body == b"whole"
    assert (await platform.send(call)).kind is ReplyKind.WHOLE
    pool = platform.executor.dispatch.pool
    await eventually(lambda: (pool.workers, pool.busy, pool.idle) == (1, 0, 1), within=PATIENCE)
    assert platform.executor.dispatch.unfinished == 0
    assert platform.executor.dispatch.counts["whole"] == 2


@pytest.mark.parametrize("trick", ["ask-without-end", "ask-for-another", f"ask-and-hang {WINDOW + 1}", "ask-and-hang 0"])
async def test_guest_that_asks_for_what_it_may_not_is_ended(sender: Sender, version: VersionEntry, trick: str) -> None:
    await sender.call(version, trick)
    reply = await sender.reply()
    assert reply.code is FailureCode.CRASH
    assert "it sent CREDIT" in reply.message
    assert sum(each.pieces for each in sender.asked) <= WINDOW


async def test_guest_that_asks_for_a_body_that_came_whole_is_ended(platform: Platform) -> None:
    reply = await platform.call(await platform.deploy(), b"ask")
    assert reply.code is FailureCode.CRASH
    assert "it sent CREDIT" in reply.message


@pytest.mark.parametrize("trick", ["ask-after-answer", "ask-in-background"])
async def test_guest_that_asks_after_its_answer_is_ended(
    platform: Platform, sender: Sender, version: VersionEntry, trick: str
) -> None:
    await sender.call(version, trick)
    assert (await sender.reply()).kind is ReplyKind.ANSWER
    await eventually(lambda: platform.executor.dispatch.pool.workers == 0, within=PATIENCE)
    assert not sender.asked


@pytest.mark.parametrize(
    ("numbers", "ends", "text"),
    [((1, 3), (False, False), "lost"), ((1, 2), (True, False), "after its end"), ((1, 2), (True, True), "after its end")],
)
async def test_piece_that_must_not_come_ends_the_call(
    sender: Sender, version: VersionEntry, numbers: tuple[int, int], ends: tuple[bool, bool], text: str
) -> None:
    await sender.call(version, "ask-and-hang 4")
    await sender.wanted(4)
    for number, end in zip(numbers, ends, strict=True):
        sender.send(b"x", number=number, end=end)
    reply = await sender.reply()
    assert reply.code is FailureCode.UNAVAILABLE
    assert text in reply.message


async def test_worker_that_reads_is_dead_when_the_client_leaves(
    platform: Platform, sender: Sender, version: VersionEntry
) -> None:
    call = await sender.call(version, "ask-and-hang 4")
    await sender.wanted(4)
    platform.bus.post(subjects.CANCEL_INVOCATION, codec.encode(CancelInvocation(id=call.id, reply=sender.inbox)))
    assert (await sender.reply()).code is FailureCode.CANCELED
    await eventually(lambda: platform.executor.dispatch.pool.workers == 0, within=PATIENCE)


async def test_body_that_does_not_come_in_time_is_a_timeout(platform: Platform, sender: Sender, version: VersionEntry) -> None:
    await platform.call(version, b"warm", runtime="reads")
    platform.budget_ms = 200
    await sender.call(version, "read 1")
    reply = await sender.reply()
    assert (reply.code, reply.stage) == (FailureCode.TIMEOUT, "run")
