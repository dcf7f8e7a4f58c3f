"""The port to the bus: everything a service may do with NATS, and nothing else.

Message handlers are plain functions that run on the event loop and must not block: they start a task for anything that
waits. Subjects follow NATS: tokens separated by `.`, `*` matches one token, a last `>` matches one or more.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from libs import errors


class NoRespondersError(errors.UnavailableError):
    """A request was sent to a subject that nobody listens on; known at once, without waiting."""


class BusDisconnectedError(errors.UnavailableError):
    """The connection to the server is down at the moment; nothing was sent. The adapter reconnects for ever by itself."""


class RequestTimeoutError(errors.DeadlineError):
    """No reply came in time."""


class StreamFullError(errors.TemporaryError):
    """The stream is at its bound and takes no more messages."""


class PayloadTooLargeError(errors.PermanentError):
    """The message is larger than `Bus.max_payload`."""


class KeyConflictError(errors.ConflictError):
    """The key's revision was not the expected one."""


class Message(NamedTuple):
    """A message that arrived."""

    subject: str
    data: bytes
    reply: str = ""
    """Where an answer is expected; empty when none is."""
    traceparent: str = ""
    """W3C trace context, the only header that fnbus uses."""
    no_responders: bool = False
    """True for the server's notice, on a reply subject, that nobody listens on the request's subject."""


type Handler = Callable[[Message], None]


class Subscription(Protocol):
    """Interest in a subject."""

    async def unsubscribe(self) -> None:
        """End it: no message is handled after this returns. Calling it twice does no harm."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """A JetStream stream."""

    name: str
    subjects: tuple[str, ...]
    work_queue: bool = False
    """True: a message is removed when it is acknowledged, and has one consumer. False: kept until the limits."""
    max_bytes: int = 1 << 30
    """A full work queue refuses new messages (`StreamFullError`); any other stream drops its oldest."""
    max_age_seconds: float = 0
    """0: no limit."""
    duplicate_window_seconds: float = 120
    """How long message ids are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSpec:
    """A durable pull consumer with explicit acknowledgement."""

    stream: str
    name: str
    filter: str
    ack_wait_seconds: float = 30
    """A delivery without `ack`, `nak`, `term` or `in_progress` for this long is delivered again."""
    max_ack_pending: int = 4096
    """Deliveries in flight to all subscribers together."""


class Delivery(Protocol):
    """A message of a stream, to be settled exactly once by `ack`, `nak` or `term`."""

    @property
    def subject(self) -> str: ...  # noqa: D102

    @property
    def data(self) -> bytes: ...  # noqa: D102

    @property
    def traceparent(self) -> str: ...  # noqa: D102

    @property
    def sequence(self) -> int:
        """Position in the stream, the same for every delivery of one message."""
        ...

    @property
    def deliveries(self) -> int:
        """How often it was delivered, from 1."""
        ...

    async def ack(self, *, confirm: bool = True) -> None:
        """Done: the server confirms that it will not come again.

        Args:
            confirm: False: do not wait for that, for who can tell a message that comes again in spite of it.

        Raises:
            errors.UnavailableError: the server cannot be reached or did not confirm; the message may come again.
        """
        ...

    async def nak(self, *, delay: float = 0) -> None:
        """Deliver it again after `delay` seconds."""
        ...

    async def term(self) -> None:
        """Never deliver it again; the caller has dead-lettered it."""
        ...

    async def in_progress(self) -> None:
        """Work goes on: start `ack_wait_seconds` anew."""
        ...


type DeliveryHandler = Callable[[Delivery], None]


class Consumer(Protocol):
    """A pull consumer with credit: deliveries come only as far as they were asked for."""

    def pull(self, count: int) -> None:
        """Allow `count` more deliveries. The adapter renews its requests to the server until they have come."""
        ...

    async def stop(self) -> None:
        """Take back outstanding credit; deliveries that arrive after this are handed back to the server."""
        ...


class Entry(NamedTuple):
    """A key's state in a bucket."""

    key: str
    value: bytes | None
    """None: the key was deleted."""
    revision: int


class Bucket(Protocol):
    """A replicated map with history of one value per key."""

    async def get(self, key: str) -> Entry | None:
        """Return the key's entry, or None when there is none."""
        ...

    async def put(self, key: str, value: bytes) -> int:
        """Set the key; return its new revision."""
        ...

    async def update(self, key: str, value: bytes, *, revision: int) -> int:
        """Set the key if its revision is `revision` (0: if it does not exist); return the new one.

        Raises:
            KeyConflictError: it is another one.
        """
        ...

    async def delete(self, key: str) -> None:
        """Delete the key; a key that is not there is no error."""
        ...

    async def keys(self) -> list[str]:
        """Return all keys."""
        ...

    def watch(self) -> AsyncIterator[Entry | None]:
        """Yield every key's present entry, then None once, then each change as it happens, for ever.

        Reconnects by itself. After a gap it may yield entries again; it never misses the last state of a key, and yields
        None again when it has caught up. Close it with `aclose()` (it is an async generator).
        """
        ...


class ObjectInfo(NamedTuple):
    """What is known of an object without reading it."""

    key: str
    size: int
    """Bytes."""
    revision: int
    """Rises whenever the object is stored, touched or removed."""
    modified: datetime
    """When it was last stored or touched."""


class ObjectStore(Protocol):
    """Large immutable values by key."""

    async def put(self, key: str, data: bytes) -> None:
        """Store `data` under `key`; an existing object is replaced."""
        ...

    async def get(self, key: str) -> bytes:
        """Return the object.

        Raises:
            errors.NotFoundError: there is none.
        """
        ...

    async def has(self, key: str) -> bool:
        """Return whether there is an object of that key."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""
        ...

    async def info(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object; None when there is none."""
        ...

    async def all_infos(self) -> list[ObjectInfo]:
        """Return what is known of all objects. For rare use: it asks for each of them."""
        ...

    async def touch(self, info: ObjectInfo) -> bool:
        """Note that an object is in use now; False when it is not as it was said to be, or not there any more."""
        ...

    async def discard(self, info: ObjectInfo) -> bool:
        """Remove an object without a trace; False when it is not as it was said to be: stored anew or touched, perhaps.

        Of `touch` and `discard` of the same state one succeeds, whoever calls them.
        """
        ...


class Bus(Protocol):
    """A connection to the bus.

    While the server cannot be reached every method that sends raises `BusDisconnectedError`; only `post` and a watch do not.
    """

    @property
    def connected(self) -> bool:
        """Whether the server can be reached at the moment."""
        ...

    @property
    def max_payload(self) -> int:
        """Largest message, in bytes, that the server takes."""
        ...

    def on_state(self, listener: Callable[[bool], None]) -> None:
        """Call `listener` with the new value whenever `connected` changes."""
        ...

    async def publish(self, subject: str, data: bytes, *, reply: str = "", traceparent: str = "") -> None:
        """Send a message to whoever listens: at most once.

        Raises:
            PayloadTooLargeError: the data is too large; nothing was sent.
        """
        ...

    def post(self, subject: str, data: bytes, *, reply: str = "", traceparent: str = "") -> None:
        """As `publish`, without waiting: messages are sent in order, many at once.

        While the bus is disconnected the message is dropped and counted instead of raising: callers are callbacks and ends
        of tasks that could do nothing else.
        """
        ...

    async def request(self, subject: str, data: bytes, *, timeout: float, traceparent: str = "") -> Message:  # noqa: ASYNC109
        """Send a message and return the first reply.

        Raises:
            NoRespondersError: nobody listens.
            RequestTimeoutError: no reply within `timeout` seconds.
        """
        ...

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Call `handler` for each message; with `queue`, each message goes to one member of that group.

        Returns after the server knows the subscription. It survives reconnects.
        """
        ...

    def new_inbox(self) -> str:
        """Return a subject prefix of this connection's own for replies; append `.<token>`."""
        ...

    async def ensure_stream(self, spec: StreamSpec) -> None:
        """Create the stream, or bring an existing one to the spec."""
        ...

    async def append(self, subject: str, data: bytes, *, message_id: str = "", traceparent: str = "") -> bool:
        """Publish to a stream and wait until it is stored; True when it is new, False for a known `message_id`.

        Raises:
            StreamFullError: the stream is at its bound.
            NoRespondersError: no stream takes the subject.
        """
        ...

    async def consume(self, spec: ConsumerSpec, handler: DeliveryHandler) -> Consumer:
        """Create or join the durable consumer; `handler` is called for each delivery that was allowed by `pull`."""
        ...

    async def bucket(self, name: str) -> Bucket:
        """Return the key-value bucket, created when it is missing.

        It is for projections: what was written last may be lost with the server's machine, and is written again by its owner.
        """
        ...

    async def objects(self, name: str, *, ttl_seconds: float = 0, projected: bool = False) -> ObjectStore:
        """Return the object store, created when it is missing.

        Objects vanish after `ttl_seconds`; 0: never, or as whoever else opened the store has said. `projected`: their owner has
        them elsewhere and stores them again when they are lost with the server's machine, so that they need not reach its disk
        at once. All who open a store say the same.
        """
        ...

    async def close(self) -> None:
        """Send what is waiting, then end all subscriptions and the connection."""
        ...
