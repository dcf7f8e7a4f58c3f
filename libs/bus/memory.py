"""The bus in one process: a real adapter for tests, held to the same suite as the one for NATS.

Several `MemoryBus` share one `MemoryBroker`, as connections share a server. The broker can be stopped and started, which
looks to its buses like a server that restarts with its store. Streams are in `memory_streams`, buckets and objects in
`memory_stores`.
"""

import asyncio
import itertools
import logging
import random
import re
from collections import deque
from collections.abc import Callable

from libs import errors
from libs.bus.memory_stores import BucketState, MemoryBucket, MemoryObjects, ObjectState
from libs.bus.memory_streams import MemoryConsumer, MemoryStream
from libs.bus.port import (
    BusDisconnectedError,
    ConsumerSpec,
    DeliveryHandler,
    Handler,
    Message,
    NoRespondersError,
    PayloadTooLargeError,
    RequestTimeoutError,
    StreamSpec,
)
from libs.bus.subject_filter import matches

log = logging.getLogger(__name__)

_UNSAFE = re.compile(r"[\s\x00]").search


class MemoryBroker:
    """What the buses of a test share: interest, streams, buckets, objects."""

    def __init__(self, *, max_payload: int = 8 * 1024 * 1024) -> None:
        self.max_payload = max_payload
        self.up = True
        self.buses: list[MemoryBus] = []
        self.subscriptions: list[MemorySubscription] = []
        self.streams: dict[str, MemoryStream] = {}
        self.buckets: dict[str, BucketState] = {}
        self.objects: dict[str, ObjectState] = {}
        self._names = itertools.count(1)

    def stop(self) -> None:
        """Be unreachable, as a server that went down; what it stores is kept."""
        self._set_up(up=False)

    def start(self) -> None:
        """Be reachable again."""
        self._set_up(up=True)

    def new_name(self) -> int:
        """Return a number for a connection."""
        return next(self._names)

    def route(self, message: Message) -> int:
        """Hand a message to everybody it is for: all plain subscribers, one of each queue group; return how many."""
        groups: dict[tuple[str, str], list[MemorySubscription]] = {}
        chosen: list[MemorySubscription] = []
        for subscription in self.subscriptions:
            if not matches(subscription.subject, message.subject):
                continue
            if subscription.queue:
                groups.setdefault((subscription.subject, subscription.queue), []).append(subscription)
            else:
                chosen.append(subscription)
        chosen.extend(random.choice(members) for members in groups.values())  # noqa: S311  no secret
        for subscription in chosen:
            subscription.deliver(message)
        return len(chosen)

    def stream_of(self, subject: str) -> MemoryStream | None:
        """Return the stream that keeps messages of a subject."""
        return next((stream for stream in self.streams.values() if stream.takes(subject)), None)

    def _set_up(self, *, up: bool) -> None:
        if self.up == up:
            return
        self.up = up
        for bus in tuple(self.buses):
            bus.state_changed(up=up)


class MemorySubscription:
    """Interest in a subject (`port.Subscription`)."""

    def __init__(self, bus: "MemoryBus", subject: str, queue: str, handler: Handler) -> None:
        self.subject = subject
        self.queue = queue
        self._bus = bus
        self._handler = handler

    def owned_by(self, bus: "MemoryBus") -> bool:
        """Return whether it is a subscription of that connection."""
        return self._bus is bus

    def deliver(self, message: Message) -> None:
        """Have the message handled, in turn."""
        self._bus.enqueue(lambda: self._handler(message))

    async def unsubscribe(self) -> None:
        """End it; messages that were on their way by then are handled before this returns."""
        self._bus.forget(self)


class MemoryBus:
    """A connection to a broker in memory (`port.Bus`)."""

    def __init__(self, broker: MemoryBroker | None = None) -> None:
        self.broker = broker or MemoryBroker()
        self._listeners: list[Callable[[bool], None]] = []
        self._arrived: deque[Callable[[], None]] = deque()
        self._consumers: list[MemoryConsumer] = []
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._tokens = itertools.count(1)
        self._inbox = f"_INBOX_memory.{self.broker.new_name()}"
        self._closed = False
        self.dropped = 0
        """Messages given to `post` that were dropped because the bus was disconnected."""
        self.broker.buses.append(self)
        self.broker.subscriptions.append(MemorySubscription(self, f"{self._inbox}.r.*", "", self._on_reply))

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached at the moment."""
        return self.broker.up and not self._closed

    @property
    def max_payload(self) -> int:
        """Largest message, in bytes."""
        return self.broker.max_payload

    def on_state(self, listener: Callable[[bool], None]) -> None:
        """Call `listener` whenever `connected` changes."""
        self._listeners.append(listener)

    async def publish(self, subject: str, data: bytes, *, reply: str = "", traceparent: str = "") -> None:
        """Send a message (`port.Bus.publish`)."""
        self._send(Message(subject, data, reply, traceparent))

    def post(self, subject: str, data: bytes, *, reply: str = "", traceparent: str = "") -> None:
        """Send a message without waiting (`port.Bus.post`)."""
        try:
            self._send(Message(subject, data, reply, traceparent))
        except BusDisconnectedError:
            self.dropped += 1

    async def request(self, subject: str, data: bytes, *, timeout: float, traceparent: str = "") -> Message:  # noqa: ASYNC109
        """Send a message and return the first reply (`port.Bus.request`)."""
        reply = f"{self._inbox}.r.{next(self._tokens)}"
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[reply] = future
        try:
            self._send(Message(subject, data, reply, traceparent))
            async with asyncio.timeout(timeout):
                answer = await future
        except TimeoutError:
            raise RequestTimeoutError(f"no reply from {subject} in {timeout:g} s") from None
        finally:
            self._waiting.pop(reply, None)
        if answer.no_responders:
            raise NoRespondersError(f"nobody listens on {subject}")
        return answer

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> MemorySubscription:
        """Call `handler` for each message (`port.Bus.subscribe`)."""
        self._check()
        _require_safe(subject)
        subscription = MemorySubscription(self, subject, queue, handler)
        self.broker.subscriptions.append(subscription)
        return subscription

    def new_inbox(self) -> str:
        """Return a subject prefix of this connection's own for replies."""
        return f"{self._inbox}.{next(self._tokens)}"

    async def ensure_stream(self, spec: StreamSpec) -> None:
        """Create the stream or bring it to the spec (`port.Bus.ensure_stream`)."""
        self._check()
        present = self.broker.streams.get(spec.name)
        if present is None:
            self.broker.streams[spec.name] = MemoryStream(spec, asyncio.get_running_loop())
        else:
            present.spec = spec

    async def append(self, subject: str, data: bytes, *, message_id: str = "", traceparent: str = "") -> bool:
        """Publish to a stream and wait until it is stored (`port.Bus.append`)."""
        message = Message(subject, data, "", traceparent)
        self._require_sendable(message)
        stream = self.broker.stream_of(subject)
        if stream is None:
            raise NoRespondersError(f"no stream takes {subject}")
        new = stream.append(message, message_id)
        self.broker.route(message)
        return new

    async def consume(self, spec: ConsumerSpec, handler: DeliveryHandler) -> MemoryConsumer:
        """Create or join the durable consumer (`port.Bus.consume`)."""
        self._check()
        stream = self.broker.streams.get(spec.stream)
        if stream is None:
            raise errors.NotFoundError(f"no stream {spec.stream}")
        consumer = MemoryConsumer(stream.join(spec), handler, enqueue=self.enqueue, connected=lambda: self.connected)
        self._consumers.append(consumer)
        return consumer

    async def bucket(self, name: str) -> MemoryBucket:
        """Return the key-value bucket (`port.Bus.bucket`)."""
        self._check()
        return MemoryBucket(self.broker.buckets.setdefault(name, BucketState()), self._check)

    async def objects(self, name: str, *, ttl_seconds: float = 0, projected: bool = False) -> MemoryObjects:
        """Return the object store (`port.Bus.objects`)."""
        del projected  # nothing here outlives its process
        self._check()
        state = self.broker.objects.setdefault(name, ObjectState())
        state.ttl_seconds = ttl_seconds or state.ttl_seconds
        return MemoryObjects(state, self._check, asyncio.get_running_loop())

    async def close(self) -> None:
        """Deliver what is on its way, then end everything (`port.Bus.close`)."""
        if self._closed:
            return
        self._pump()
        for consumer in self._consumers:
            await consumer.stop()
        broker = self.broker
        broker.subscriptions = [each for each in broker.subscriptions if not each.owned_by(self)]
        broker.buses.remove(self)
        was_up = broker.up
        self._closed = True
        if was_up:
            self.state_changed(up=False)

    def state_changed(self, *, up: bool) -> None:
        """Tell listeners, fail what waits for a reply, resume consumers."""
        if up:
            for consumer in self._consumers:
                consumer.resume()
        else:
            self._arrived.clear()
            waiting, self._waiting = self._waiting, {}
            for future in waiting.values():
                if not future.done():
                    future.set_exception(BusDisconnectedError("the connection to the broker was lost"))
        for listener in self._listeners:
            _guarded(lambda listener=listener: listener(up))

    def enqueue(self, work: Callable[[], None]) -> None:
        """Run `work` in a later turn of the loop, in the order of arrival."""
        self._arrived.append(work)
        asyncio.get_running_loop().call_soon(self._pump)

    def forget(self, subscription: MemorySubscription) -> None:
        """End a subscription after what has arrived for it."""
        if subscription in self.broker.subscriptions:
            self.broker.subscriptions.remove(subscription)
            self._pump()

    def _pump(self) -> None:
        while self._arrived:
            _guarded(self._arrived.popleft())

    def _send(self, message: Message) -> None:
        self._require_sendable(message)
        stream = self.broker.stream_of(message.subject)
        if stream is not None:
            stream.append(message, "")
        if not self.broker.route(message) and message.reply and stream is None:
            self.broker.route(Message(message.reply, b"", no_responders=True))

    def _on_reply(self, message: Message) -> None:
        future = self._waiting.get(message.subject)
        if future is not None and not future.done():
            future.set_result(message)

    def _require_sendable(self, message: Message) -> None:
        self._check()
        _require_safe(message.subject)
        if "\n" in message.traceparent or "\r" in message.traceparent:
            raise ValueError("line break in traceparent")
        if len(message.data) > self.max_payload:
            raise PayloadTooLargeError(f"message of {len(message.data)} bytes to {message.subject}")

    def _check(self) -> None:
        if not self.connected:
            raise BusDisconnectedError("not connected to the broker")


def _require_safe(subject: str) -> None:
    if not subject or _UNSAFE(subject):
        raise ValueError(f"not a subject: {subject!r}")


def _guarded(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:
        log.exception("a message handler failed", extra={"action": "handler_failed"})
