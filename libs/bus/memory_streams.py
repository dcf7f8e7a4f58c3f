"""Streams and their consumers in memory, with the rules of JetStream that fnbus relies on."""

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from libs import errors
from libs.bus.port import BusDisconnectedError, ConsumerSpec, DeliveryHandler, Message, StreamFullError, StreamSpec
from libs.bus.subject_filter import matches, overlap

log = logging.getLogger(__name__)

type Enqueue = Callable[[Callable[[], None]], None]
"""Runs something later on, in order, on the connection of whoever consumes."""


@dataclass(frozen=True, slots=True)
class _Stored:
    subject: str
    data: bytes
    traceparent: str
    expires: float


class MemoryStream:
    """One stream: messages in order, known message ids, consumers."""

    def __init__(self, spec: StreamSpec, loop: asyncio.AbstractEventLoop) -> None:
        self.spec = spec
        self._loop = loop
        self._messages: dict[int, _Stored] = {}
        self._ids: dict[str, float] = {}
        self._bytes = 0
        self._sequence = 0
        self._consumers: dict[str, _Durable] = {}

    def takes(self, subject: str) -> bool:
        """Return whether the stream keeps messages of this subject."""
        return any(matches(pattern, subject) for pattern in self.spec.subjects)

    def append(self, message: Message, message_id: str) -> bool:
        """Store a message; False when its id is known.

        Raises:
            StreamFullError: a work queue is at its bound.
        """
        now = self._loop.time()
        self._prune(now)
        if message_id and message_id in self._ids:
            return False
        size = len(message.data)
        if self.spec.work_queue and self._bytes + size > self.spec.max_bytes:
            raise StreamFullError(f"the stream of {message.subject} is full")
        if message_id:
            self._ids[message_id] = now + self.spec.duplicate_window_seconds
        self._sequence += 1
        age = self.spec.max_age_seconds
        expires = now + age if age else float("inf")
        self._messages[self._sequence] = _Stored(message.subject, message.data, message.traceparent, expires)
        self._bytes += size
        while self._bytes > self.spec.max_bytes and len(self._messages) > 1:
            self.remove(next(iter(self._messages)))
        for consumer in self._consumers.values():
            consumer.offer(self._sequence)
        return True

    def join(self, spec: ConsumerSpec) -> "_Durable":
        """Return the durable consumer, made when it is missing.

        Raises:
            errors.PermanentError: another consumer of a work queue takes the same messages.
        """
        durable = self._consumers.get(spec.name)
        if durable is None:
            for other in self._consumers.values():
                if self.spec.work_queue and overlap(other.spec.filter, spec.filter):
                    raise errors.PermanentError(f"consumer {other.spec.name} takes messages of {spec.filter} already")
            durable = self._consumers[spec.name] = _Durable(self, spec, self._loop)
            self._prune(self._loop.time())
            for sequence in self._messages:
                durable.offer(sequence)
        durable.spec = spec
        return durable

    def unsettled(self, consumer: str) -> int:
        """Return how many messages a consumer has before it or with its subscribers."""
        return self._consumers[consumer].unsettled

    def read(self, sequence: int) -> _Stored | None:
        """Return a message that is still there."""
        return self._messages.get(sequence)

    def remove(self, sequence: int) -> None:
        """Forget a message."""
        stored = self._messages.pop(sequence, None)
        if stored is not None:
            self._bytes -= len(stored.data)

    def _prune(self, now: float) -> None:
        for sequence in [sequence for sequence, stored in self._messages.items() if stored.expires <= now]:
            self.remove(sequence)
        for known in [known for known, expires in self._ids.items() if expires <= now]:
            del self._ids[known]


class _Durable:
    """The server's side of a consumer: what is to be delivered, and what is with a subscriber."""

    def __init__(self, stream: MemoryStream, spec: ConsumerSpec, loop: asyncio.AbstractEventLoop) -> None:
        self.stream = stream
        self.spec = spec
        self._loop = loop
        self._ready: list[int] = []
        self._in_flight: dict[int, asyncio.TimerHandle] = {}
        self._tries: dict[int, int] = {}
        self.subscribers: list[MemoryConsumer] = []
        self._turn = itertools.count()

    @property
    def unsettled(self) -> int:
        """Messages that are to be delivered, and those that are with subscribers."""
        return len(self._ready) + len(self._in_flight)

    def offer(self, sequence: int) -> None:
        """Take a message of the stream up, if it is for this consumer."""
        stored = self.stream.read(sequence)
        if stored is not None and matches(self.spec.filter, stored.subject):
            heapq.heappush(self._ready, sequence)
            self.dispatch()

    def dispatch(self) -> None:
        """Deliver as far as there are messages and credit."""
        while self._ready and len(self._in_flight) < self.spec.max_ack_pending:
            willing = [subscriber for subscriber in self.subscribers if subscriber.credit > 0]
            if not willing:
                return
            sequence = heapq.heappop(self._ready)
            stored = self.stream.read(sequence)
            if stored is None:
                continue
            self._tries[sequence] = self._tries.get(sequence, 0) + 1
            self._hold(sequence, self.spec.ack_wait_seconds)
            willing[next(self._turn) % len(willing)].deliver(sequence, stored, self._tries[sequence])

    def settle(self, sequence: int) -> None:
        """End a message for this consumer."""
        timer = self._in_flight.pop(sequence, None)
        if timer is not None:
            timer.cancel()
        elif sequence in self._ready:
            self._ready.remove(sequence)
            heapq.heapify(self._ready)
        self._tries.pop(sequence, None)
        if self.stream.spec.work_queue:
            self.stream.remove(sequence)
        self.dispatch()

    def extend(self, sequence: int) -> None:
        """Start the wait for an acknowledgement anew."""
        if sequence in self._in_flight:
            self._hold(sequence, self.spec.ack_wait_seconds)

    def give_back(self, sequence: int, delay: float) -> None:
        """Deliver the message again after `delay` seconds."""
        if sequence not in self._in_flight:
            return
        if delay > 0:
            self._hold(sequence, delay)
        else:
            self._return(sequence)

    def _hold(self, sequence: int, seconds: float) -> None:
        if (timer := self._in_flight.get(sequence)) is not None:
            timer.cancel()
        self._in_flight[sequence] = self._loop.call_later(seconds, self._return, sequence)

    def _return(self, sequence: int) -> None:
        timer = self._in_flight.pop(sequence, None)
        if timer is not None:
            timer.cancel()
        heapq.heappush(self._ready, sequence)
        self.dispatch()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryDelivery:
    """A message of a stream at a subscriber (`port.Delivery`)."""

    subject: str
    data: bytes
    traceparent: str
    sequence: int
    deliveries: int
    durable: _Durable = field(repr=False)
    check: Callable[[], None] = field(repr=False)
    """Raises while the bus is disconnected."""

    async def ack(self, *, confirm: bool = True) -> None:
        """Settle it (`port.Delivery.ack`)."""
        self.check()
        self.durable.settle(self.sequence)

    async def nak(self, *, delay: float = 0) -> None:
        """Hand it back (`port.Delivery.nak`)."""
        self.check()
        self.durable.give_back(self.sequence, delay)

    async def term(self) -> None:
        """Give it up (`port.Delivery.term`)."""
        self.check()
        self.durable.settle(self.sequence)

    async def in_progress(self) -> None:
        """Ask for more time (`port.Delivery.in_progress`)."""
        self.check()
        self.durable.extend(self.sequence)


class MemoryConsumer:
    """The subscriber's side of a consumer (`port.Consumer`)."""

    def __init__(self, durable: _Durable, handler: DeliveryHandler, *, enqueue: Enqueue, connected: Callable[[], bool]) -> None:
        self._durable = durable
        self._handler = handler
        self._enqueue = enqueue
        self._connected = connected
        self._credit = 0
        self._stopped = False
        durable.subscribers.append(self)

    @property
    def credit(self) -> int:
        """Deliveries that may come now; none while the bus is disconnected."""
        return self._credit if self._connected() else 0

    def pull(self, count: int) -> None:
        """Allow `count` more deliveries (`port.Consumer.pull`)."""
        if not self._stopped:
            self._credit += count
            self._durable.dispatch()

    def resume(self) -> None:
        """Take deliveries up again after a gap."""
        self._durable.dispatch()

    async def stop(self) -> None:
        """End intake (`port.Consumer.stop`)."""
        self._stopped = True
        self._credit = 0
        if self in self._durable.subscribers:
            self._durable.subscribers.remove(self)

    def deliver(self, sequence: int, stored: _Stored, deliveries: int) -> None:
        """Hand a message to the handler, in turn."""
        self._credit -= 1
        delivery = MemoryDelivery(
            subject=stored.subject,
            data=stored.data,
            traceparent=stored.traceparent,
            sequence=sequence,
            deliveries=deliveries,
            durable=self._durable,
            check=self._check,
        )
        self._enqueue(lambda: self._handle(delivery))

    def _check(self) -> None:
        if not self._connected():
            raise BusDisconnectedError("not connected to the broker")

    def _handle(self, delivery: MemoryDelivery) -> None:
        if self._stopped:
            self._durable.give_back(delivery.sequence, 0)
        else:
            self._handler(delivery)
