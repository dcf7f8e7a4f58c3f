"""What the port promises of streams and their consumers."""

import asyncio
import logging
from functools import partial

import pytest

from libs import errors
from libs.bus.port import Bus, ConsumerSpec, Delivery, NoRespondersError, PayloadTooLargeError, StreamFullError, StreamSpec
from libs.testing.buses import Net
from libs.testing.wait import eventually

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
QUEUE = StreamSpec(name="JOBS", subjects=("job.>",), work_queue=True)
FACTS = StreamSpec(name="EVENTS", subjects=("event.>",))
CONSUMER = ConsumerSpec(stream="JOBS", name="python-normal", filter="job.python.>")


def sorted_numbers(deliveries: list[Delivery]) -> list[int]:
    return sorted(int(delivery.data) for delivery in deliveries)


async def fill(bus: Bus, count: int, *, subject: str = "job.python.x") -> None:
    await asyncio.gather(*(bus.append(subject, b"%d" % number) for number in range(count)))


async def settled(net: Net) -> bool:
    """Whether nothing is left that could come (again)."""
    return not await net.unsettled(CONSUMER)


async def test_ensure_stream_may_be_repeated_and_raced(bus: Bus, other: Bus) -> None:
    await asyncio.gather(*(each.ensure_stream(QUEUE) for each in (bus, other, bus, other)))
    await bus.append("job.python.x", b"kept")
    await other.ensure_stream(QUEUE)
    found: list[Delivery] = []
    (await other.consume(CONSUMER, found.append)).pull(5)
    await eventually(lambda: found)
    assert found[0].data == b"kept"


async def test_ensure_stream_brings_an_existing_one_to_the_spec(bus: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    with pytest.raises(NoRespondersError):
        await bus.append("extra.x", b"")
    await bus.ensure_stream(StreamSpec(name="JOBS", subjects=("job.>", "extra.>"), work_queue=True))
    assert await bus.append("extra.x", b"")


async def test_append_is_true_for_a_new_message_and_false_for_a_known_id(bus: Bus, other: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    assert await bus.append("job.python.x", b"1", message_id="a@1")
    assert not await other.append("job.python.x", b"1", message_id="a@1")
    assert await bus.append("job.python.x", b"2", message_id="a@2")
    assert await bus.append("job.python.x", b"3")
    found: list[Delivery] = []
    (await bus.consume(CONSUMER, found.append)).pull(10)
    await eventually(lambda: len(found) >= 3)
    assert sorted_numbers(found) == [1, 2, 3]


async def test_append_fails_when_no_stream_takes_the_subject(bus: Bus) -> None:
    with pytest.raises(NoRespondersError):
        await bus.append("nowhere", b"")


async def test_append_refuses_what_is_too_large(bus: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    with pytest.raises(PayloadTooLargeError):
        await bus.append("job.python.x", b"x" * (bus.max_payload + 1))


async def test_full_work_queue_refuses_and_takes_again_after_an_ack(bus: Bus) -> None:
    await bus.ensure_stream(StreamSpec(name="JOBS", subjects=("job.>",), work_queue=True, max_bytes=8192))
    tries = await asyncio.gather(*(bus.append("job.python.x", b"x" * 1000) for _ in range(20)), return_exceptions=True)
    assert 4 <= tries.count(True) <= 8
    assert all(isinstance(each, StreamFullError) for each in tries if each is not True)
    found: list[Delivery] = []
    (await bus.consume(CONSUMER, found.append)).pull(2)
    await eventually(lambda: len(found) == 2)
    for delivery in found:
        await delivery.ack()
    assert await bus.append("job.python.x", b"x" * 1000)


async def test_full_stream_that_is_no_queue_drops_its_oldest(bus: Bus) -> None:
    await bus.ensure_stream(StreamSpec(name="EVENTS", subjects=("event.>",), max_bytes=8192))
    for number in range(20):
        await bus.append("event.x", b"%4d" % number + b"x" * 1000)
    found: list[Delivery] = []
    (await bus.consume(ConsumerSpec(stream="EVENTS", name="all", filter="event.>"), found.append)).pull(50)
    await eventually(lambda: found and found[-1].sequence == 20)
    assert 4 <= len(found) <= 8


async def test_messages_vanish_after_the_streams_age(bus: Bus) -> None:
    await bus.ensure_stream(StreamSpec(name="EVENTS", subjects=("event.>",), max_age_seconds=0.2, duplicate_window_seconds=0.1))
    await bus.append("event.x", b"old")
    await asyncio.sleep(0.5)  # the age itself is what is tested
    found: list[Delivery] = []
    consumer = await bus.consume(ConsumerSpec(stream="EVENTS", name="all", filter="event.>"), found.append)
    consumer.pull(10)
    await bus.append("event.x", b"new")
    await eventually(lambda: found)
    assert [delivery.data for delivery in found] == [b"new"]


async def test_consume_fails_when_there_is_no_stream(bus: Bus) -> None:
    with pytest.raises(errors.NotFoundError):
        await bus.consume(CONSUMER, lambda _delivery: None)


async def test_delivery_tells_subject_data_trace_sequence_and_count(bus: Bus, other: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    await bus.append("job.python.x", b"1", message_id="a@1", traceparent=TRACEPARENT)
    found: list[Delivery] = []
    (await other.consume(CONSUMER, found.append)).pull(1)
    await eventually(lambda: found)
    delivery = found[0]
    assert (delivery.subject, delivery.data, delivery.traceparent) == ("job.python.x", b"1", TRACEPARENT)
    assert (delivery.sequence, delivery.deliveries) == (1, 1)


async def test_consumer_takes_only_what_its_filter_says(bus: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    await bus.append("job.node.x", b"not mine")
    await bus.append("job.python.x", b"mine")
    found: list[Delivery] = []
    (await bus.consume(CONSUMER, found.append)).pull(10)
    await eventually(lambda: found)
    assert [delivery.data for delivery in found] == [b"mine"]


async def test_work_queue_has_one_consumer_per_message(bus: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    await bus.consume(CONSUMER, lambda _delivery: None)
    with pytest.raises(errors.PermanentError):
        await bus.consume(ConsumerSpec(stream="JOBS", name="second", filter="job.*.x"), lambda _delivery: None)


async def test_consumers_of_a_stream_that_is_no_queue_get_each_message(bus: Bus, other: Bus) -> None:
    await bus.ensure_stream(FACTS)
    await bus.append("event.x", b"fact")
    one: list[Delivery] = []
    two: list[Delivery] = []
    (await bus.consume(ConsumerSpec(stream="EVENTS", name="one", filter="event.>"), one.append)).pull(1)
    (await other.consume(ConsumerSpec(stream="EVENTS", name="two", filter="event.>"), two.append)).pull(1)
    await eventually(lambda: one and two)
    await one[0].ack()
    await two[0].ack()


async def test_deliveries_come_only_as_far_as_they_were_asked_for(bus: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    await fill(bus, 20)
    found: list[Delivery] = []
    consumer = await bus.consume(CONSUMER, found.append)
    consumer.pull(3)
    await eventually(lambda: len(found) == 3)
    consumer.pull(2)
    consumer.pull(2)
    await eventually(lambda: len(found) == 7)
    # One round trip later nothing else has come.
    await bus.append("job.python.x", b"99")
    assert len(found) == 7
    consumer.pull(100)
    await eventually(lambda: len(found) == 21)
    assert sorted_numbers(found) == [*range(20), 99]


async def test_credit_waits_for_messages(bus: Bus, other: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    found: list[Delivery] = []
    (await other.consume(CONSUMER, found.append)).pull(2)
    await bus.append("job.python.x", b"1")
    await eventually(lambda: len(found) == 1)
    await bus.append("job.python.x", b"2")
    await eventually(lambda: len(found) == 2)


async def test_subscribers_of_one_consumer_share_its_messages(bus: Bus, other: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    one: list[Delivery] = []
    two: list[Delivery] = []
    (await bus.consume(CONSUMER, one.append)).pull(10)
    (await other.consume(CONSUMER, two.append)).pull(10)
    await fill(bus, 20)
    await eventually(lambda: len(one) + len(two) == 20)
    assert sorted_numbers(one + two) == list(range(20))
    assert len(one) == len(two) == 10


async def test_in_flight_deliveries_are_bounded_for_all_subscribers(bus: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    spec = ConsumerSpec(stream="JOBS", name="python-normal", filter="job.python.>", max_ack_pending=3)
    found: list[Delivery] = []
    (await bus.consume(spec, found.append)).pull(10)
    await fill(bus, 6)
    await eventually(lambda: len(found) == 3)
    await found[0].ack()
    await eventually(lambda: len(found) == 4)


async def test_ack_settles_for_good(bus: Bus, net: Net) -> None:
    await bus.ensure_stream(QUEUE)
    await fill(bus, 1)
    found: list[Delivery] = []
    (await bus.consume(CONSUMER, found.append)).pull(5)
    await eventually(lambda: found)
    assert await net.unsettled(CONSUMER) == 1
    await found[0].ack()
    assert await net.unsettled(CONSUMER) == 0


async def test_delivery_comes_again_when_it_is_not_settled_in_time(bus: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    await fill(bus, 1)
    found: list[Delivery] = []
    spec = ConsumerSpec(stream="JOBS", name="python-normal", filter="job.python.>", ack_wait_seconds=0.2)
    (await bus.consume(spec, found.append)).pull(5)
    await eventually(lambda: len(found) >= 2)
    assert found[0].sequence == found[1].sequence
    assert (found[0].deliveries, found[1].deliveries) == (1, 2)


async def test_in_progress_starts_the_wait_anew(bus: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    await fill(bus, 2)
    found: list[Delivery] = []
    spec = ConsumerSpec(stream="JOBS", name="python-normal", filter="job.python.>", ack_wait_seconds=5)
    (await bus.consume(spec, found.append)).pull(5)
    await eventually(lambda: len(found) == 2)
    first, second = found

    async def came_again() -> int:
        await first.in_progress()
        return found[2].sequence if len(found) > 2 else 0

    assert await eventually(came_again, every=0.3) == second.sequence


async def test_acknowledged_message_never_comes_again_when_nobody_waited_for_the_server(bus: Bus, net: Net) -> None:
    await bus.ensure_stream(QUEUE)
    await fill(bus, 20)
    found: list[Delivery] = []
    (await bus.consume(CONSUMER, found.append)).pull(100)
    await eventually(lambda: len(found) == 20)
    for delivery in found:
        await delivery.ack(confirm=False)
    await eventually(partial(settled, net))
    assert len(found) == 20


async def test_nak_delivers_again_at_once(bus: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    await fill(bus, 1)
    found: list[Delivery] = []
    (await bus.consume(CONSUMER, found.append)).pull(2)
    await eventually(lambda: found)
    await found[0].nak()
    await eventually(lambda: len(found) == 2)
    assert found[1].deliveries == 2


async def test_nak_with_delay_delivers_again_after_it(bus: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    await fill(bus, 1)
    found: list[Delivery] = []
    loop = asyncio.get_running_loop()
    (await bus.consume(CONSUMER, found.append)).pull(2)
    await eventually(lambda: found)
    start = loop.time()
    await found[0].nak(delay=0.5)
    await eventually(lambda: len(found) == 2)
    assert loop.time() - start >= 0.45


async def test_term_never_delivers_again(bus: Bus, net: Net) -> None:
    await bus.ensure_stream(QUEUE)
    await fill(bus, 1)
    found: list[Delivery] = []
    (await bus.consume(CONSUMER, found.append)).pull(5)
    await eventually(lambda: found)
    assert not await settled(net)
    await found[0].term()
    await eventually(partial(settled, net))
    assert len(found) == 1


async def test_consumer_is_durable(bus: Bus) -> None:
    await bus.ensure_stream(FACTS)
    await bus.append("event.x", b"1")
    await bus.append("event.x", b"2")
    spec = ConsumerSpec(stream="EVENTS", name="registry", filter="event.>")
    found: list[Delivery] = []
    consumer = await bus.consume(spec, found.append)
    consumer.pull(1)
    await eventually(lambda: found)
    await found[0].ack()
    await consumer.stop()
    (await bus.consume(spec, found.append)).pull(5)
    await eventually(lambda: len(found) == 2)
    assert found[1].data == b"2"


async def test_stop_takes_credit_back_and_others_get_the_messages(bus: Bus, other: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    stopped: list[Delivery] = []
    consumer = await bus.consume(CONSUMER, stopped.append)
    consumer.pull(50)
    await bus.append("job.python.x", b"0")
    await eventually(lambda: stopped)
    await consumer.stop()
    await consumer.stop()
    consumer.pull(5)
    found: list[Delivery] = []
    (await other.consume(CONSUMER, found.append)).pull(50)
    await fill(bus, 10)
    await eventually(lambda: len(found) == 10)
    assert len(stopped) == 1


async def test_stop_hands_back_what_is_on_its_way(bus: Bus, other: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    await fill(bus, 50)
    stopped: list[Delivery] = []
    consumer = await bus.consume(CONSUMER, stopped.append)
    consumer.pull(50)
    await consumer.stop()
    found: list[Delivery] = []
    (await other.consume(CONSUMER, found.append)).pull(60)
    await eventually(lambda: len(found) + len(stopped) >= 50)
    assert sorted_numbers(found + stopped) == list(range(50))


async def test_handler_that_raises_gets_the_next_delivery(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    await bus.ensure_stream(QUEUE)
    await fill(bus, 2)
    found: list[Delivery] = []

    def handler(delivery: Delivery) -> None:
        found.append(delivery)
        raise RuntimeError("of the handler's own making")

    with caplog.at_level(logging.ERROR):
        (await bus.consume(CONSUMER, handler)).pull(2)
        await eventually(lambda: len(found) == 2)


async def test_many_small_pulls_get_every_message_once(bus: Bus, other: Bus) -> None:
    await bus.ensure_stream(QUEUE)
    found: list[Delivery] = []
    consumer = await other.consume(CONSUMER, lambda delivery: (found.append(delivery), consumer.pull(1))[0])
    for _ in range(8):
        consumer.pull(1)
    await fill(bus, 300)
    await eventually(lambda: len(found) == 300)
    await asyncio.gather(*(delivery.ack() for delivery in found))
    assert sorted_numbers(found) == list(range(300))
