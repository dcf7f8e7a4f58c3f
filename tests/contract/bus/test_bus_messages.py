"""What the port promises of core messages: publish, subscribe, request."""

import asyncio
import logging

import pytest

from libs.bus.port import Bus, BusDisconnectedError, Message, NoRespondersError, PayloadTooLargeError, RequestTimeoutError
from libs.testing.buses import Net
from libs.testing.wait import eventually

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_publish_reaches_each_plain_subscriber(bus: Bus, other: Bus) -> None:
    here: list[Message] = []
    there: list[Message] = []
    await bus.subscribe("log.a.b", here.append)
    await other.subscribe("log.a.b", there.append)
    await bus.publish("log.a.b", b"line")
    await eventually(lambda: here and there)
    assert here == there == [Message("log.a.b", b"line")]


async def test_publish_carries_reply_and_traceparent(bus: Bus, other: Bus) -> None:
    found: list[Message] = []
    await other.subscribe("a", found.append)
    inbox = bus.new_inbox()
    await bus.publish("a", b"x", reply=f"{inbox}.7", traceparent=TRACEPARENT)
    await eventually(lambda: found)
    assert found == [Message("a", b"x", f"{inbox}.7", TRACEPARENT)]


@pytest.mark.parametrize(
    ("pattern", "subject", "taken"),
    [
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.*.c", "a.b.c", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("a.b", "a.b.c", False),
        (">", "anything.at.all", True),
    ],
)
async def test_subscription_takes_what_its_pattern_says(bus: Bus, pattern: str, subject: str, *, taken: bool) -> None:
    found: list[str] = []
    await bus.subscribe(pattern, lambda message: found.append(message.subject))
    await bus.subscribe("end", lambda message: found.append(message.subject))
    await bus.publish(subject, b"")
    await bus.publish("end", b"")
    await eventually(lambda: "end" in found)
    assert (subject in found) is taken


async def test_queue_group_hands_each_message_to_one_member(bus: Bus, other: Bus) -> None:
    taken: list[int] = []
    members: set[str] = set()

    def member(name: str, message: Message) -> None:
        members.add(name)
        taken.append(int(message.data))

    await bus.subscribe("work", lambda message: member("one", message), queue="workers")
    await other.subscribe("work", lambda message: member("two", message), queue="workers")
    for number in range(200):
        await bus.publish("work", str(number).encode())
    await eventually(lambda: len(taken) >= 200)
    assert sorted(taken) == list(range(200))
    assert members == {"one", "two"}


async def test_messages_of_one_sender_arrive_in_order_published_or_posted(bus: Bus, other: Bus) -> None:
    found: list[int] = []
    await other.subscribe("n", lambda message: found.append(int(message.data)))
    for number in range(500):
        if number % 2:
            bus.post("n", str(number).encode())
        else:
            await bus.publish("n", str(number).encode())
    await eventually(lambda: len(found) == 500)
    assert found == list(range(500))


async def test_post_carries_a_reply_subject_and_hears_that_nobody_listens(bus: Bus) -> None:
    found: list[Message] = []
    inbox = bus.new_inbox()
    await bus.subscribe("a", found.append)
    await bus.subscribe(inbox + ".*", found.append)
    bus.post("a", b"x", reply=inbox + ".1")
    bus.post("nobody", b"x", reply=inbox + ".2")
    await eventually(lambda: len(found) == 2)
    assert {(message.subject, message.reply, message.no_responders) for message in found} == {
        ("a", inbox + ".1", False),
        (inbox + ".2", "", True),
    }


async def test_post_carries_traceparent(bus: Bus) -> None:
    found: list[Message] = []
    await bus.subscribe("a", found.append)
    bus.post("a", b"x", traceparent=TRACEPARENT)
    await eventually(lambda: found)
    assert found[0].traceparent == TRACEPARENT


async def test_handler_that_raises_is_logged_and_gets_the_next_message(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    found: list[bytes] = []

    def handler(message: Message) -> None:
        found.append(message.data)
        if message.data == b"bad":
            raise RuntimeError("of the handler's own making")

    await bus.subscribe("a", handler)
    with caplog.at_level(logging.ERROR):
        await bus.publish("a", b"bad")
        await bus.publish("a", b"good")
        await eventually(lambda: len(found) == 2)
    assert "handler_failed" in [getattr(record, "action", "") for record in caplog.records]


async def test_unsubscribe_ends_handling_and_may_be_repeated(bus: Bus, other: Bus) -> None:
    found: list[bytes] = []
    subscription = await bus.subscribe("a", lambda message: found.append(message.data))
    await other.publish("a", b"before")
    await eventually(lambda: found)
    await subscription.unsubscribe()
    await subscription.unsubscribe()
    with pytest.raises(NoRespondersError):
        await other.request("a", b"after", timeout=10)
    assert found == [b"before"]


async def test_unsubscribe_still_handles_what_was_on_its_way(bus: Bus) -> None:
    found: list[bytes] = []
    subscription = await bus.subscribe("a", lambda message: found.append(message.data))
    for number in range(100):
        await bus.publish("a", b"%d" % number)
    await subscription.unsubscribe()
    assert len(found) == 100


async def test_subscription_is_known_to_the_server_when_subscribe_returns(bus: Bus, other: Bus) -> None:
    for number in range(20):
        await other.subscribe(f"echo.{number}", lambda message: other.post(message.reply, message.data))
        assert (await bus.request(f"echo.{number}", b"x", timeout=10)).data == b"x"


async def test_request_returns_the_reply_with_its_traceparent(bus: Bus, other: Bus) -> None:
    await other.subscribe("echo", lambda message: other.post(message.reply, message.data, traceparent=message.traceparent))
    reply = await bus.request("echo", b"hello", timeout=10, traceparent=TRACEPARENT)
    assert (reply.data, reply.traceparent) == (b"hello", TRACEPARENT)


async def test_requests_at_once_get_each_its_own_reply(bus: Bus, other: Bus) -> None:
    await other.subscribe("echo", lambda message: other.post(message.reply, message.data))
    replies = await asyncio.gather(*(bus.request("echo", b"%d" % number, timeout=20) for number in range(300)))
    assert [int(reply.data) for reply in replies] == list(range(300))


async def test_request_returns_the_first_of_several_replies(bus: Bus, other: Bus) -> None:
    def twice(message: Message) -> None:
        other.post(message.reply, b"first")
        other.post(message.reply, b"second")

    await other.subscribe("echo", twice)
    assert (await bus.request("echo", b"", timeout=10)).data == b"first"
    assert (await bus.request("echo", b"", timeout=10)).data == b"first"


async def test_request_fails_at_once_when_nobody_listens(bus: Bus) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(NoRespondersError):
            await bus.request("nobody", b"", timeout=3600)


async def test_request_times_out_when_nobody_answers(bus: Bus, other: Bus) -> None:
    await other.subscribe("silent", lambda _message: None)
    with pytest.raises(RequestTimeoutError):
        await bus.request("silent", b"", timeout=0.05)


async def test_publish_with_reply_is_told_when_nobody_listens(bus: Bus) -> None:
    found: list[Message] = []
    inbox = bus.new_inbox()
    await bus.subscribe(f"{inbox}.*", found.append)
    await bus.publish("nobody", b"x", reply=f"{inbox}.5")
    await eventually(lambda: found)
    assert found == [Message(f"{inbox}.5", b"", no_responders=True)]


async def test_inboxes_are_never_the_same(bus: Bus, other: Bus) -> None:
    inboxes = [each.new_inbox() for each in (bus, other) for _ in range(50)]
    assert len(set(inboxes)) == 100


async def test_max_payload_is_the_servers(net: Net, bus: Bus) -> None:
    assert bus.max_payload == net.max_payload


async def test_largest_message_arrives_and_one_byte_more_is_refused(bus: Bus) -> None:
    found: list[bytes] = []
    await bus.subscribe("big", lambda message: found.append(message.data))
    largest = bytes(range(256)) * (bus.max_payload // 256)
    await bus.publish("big", largest)
    await eventually(lambda: found)
    assert found == [largest]
    with pytest.raises(PayloadTooLargeError):
        await bus.publish("big", largest + b"x")
    with pytest.raises(PayloadTooLargeError):
        bus.post("big", largest + b"x")
    with pytest.raises(PayloadTooLargeError):
        await bus.request("big", largest + b"x", timeout=10)
    assert bus.connected


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB b 0"])
async def test_subject_that_would_break_the_protocol_is_refused(bus: Bus, subject: str) -> None:
    with pytest.raises(ValueError, match="subject"):
        await bus.publish(subject, b"")
    with pytest.raises(ValueError, match="subject"):
        await bus.subscribe(subject, lambda _message: None)


async def test_traceparent_that_would_start_another_header_is_refused(bus: Bus) -> None:
    with pytest.raises(ValueError, match="traceparent"):
        await bus.publish("a", b"", traceparent="x\r\nNats-Msg-Id: y")


async def test_close_sends_what_is_waiting_then_refuses_work(net: Net, bus: Bus) -> None:
    found: list[bytes] = []
    states: list[bool] = []
    await bus.subscribe("a", lambda message: found.append(message.data))
    leaving = await net.connect("executor")
    leaving.on_state(states.append)
    for number in range(100):
        leaving.post("a", b"%d" % number)
    await leaving.close()
    await eventually(lambda: len(found) == 100)
    assert not leaving.connected
    assert states == [False]
    with pytest.raises(BusDisconnectedError):
        await leaving.publish("a", b"late")


async def test_close_ends_subscriptions_and_may_be_repeated(net: Net, bus: Bus) -> None:
    leaving = await net.connect("executor")
    await leaving.subscribe("a", lambda _message: None)
    await leaving.close()
    await leaving.close()
    with pytest.raises(NoRespondersError):
        await bus.request("a", b"", timeout=10)
