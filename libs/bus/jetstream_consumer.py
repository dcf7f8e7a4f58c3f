"""Durable consumers and their deliveries; how deliveries are asked for is in `jetstream_pull`."""

from typing import NamedTuple

from libs import errors
from libs.bus import jetstream_api as api
from libs.bus import jetstream_client as raw
from libs.bus.jetstream_connection import Connection
from libs.bus.jetstream_pull import HAND_BACK, Puller, PullTiming
from libs.bus.port import ConsumerSpec, DeliveryHandler

_ACK_SECONDS = 5.0
_MAX_WAITING = 4096
"""Requests that a consumer holds for all its subscribers together; the server's own default of 512 is soon reached by
executors that free one slot at a time."""

_ACK = b"+ACK"
_TERM = b"+TERM"
_PROGRESS = b"+WPI"


class Origin(NamedTuple):
    """What the reply subject of a delivery tells: `$JS.ACK.<stream>.<consumer>.<tries>.<seq>.<consumer seq>.<ns>.<pending>`."""

    deliveries: int
    sequence: int
    pending: int


def origin(reply: str) -> Origin:
    """Return what a delivery's reply subject tells.

    Raises:
        ValueError: it is not one of a delivery.
    """
    tokens = reply.split(".")
    # Newer servers may put domain and account hash in front of the stream's name.
    at = 4 if len(tokens) == 9 else 6
    return Origin(int(tokens[at]), int(tokens[at + 1]), int(tokens[at + 4]))


def delay_nak(delay: float) -> bytes:
    """Return the payload that hands a delivery back, to come again after `delay` seconds."""
    return b'-NAK {"delay": %d}' % int(delay * api.NANOSECONDS) if delay > 0 else HAND_BACK


class JetStreamDelivery:
    """A message of a stream on its way through us."""

    __slots__ = ("_connection", "_headers", "_origin", "_reply", "data", "subject")

    def __init__(self, connection: Connection, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        self._connection = connection
        self._reply = reply
        self._headers = headers
        self._origin: Origin | None = None
        self.subject = subject
        self.data = data

    @property
    def traceparent(self) -> str:
        """W3C trace context, empty when none came."""
        return raw.traceparent_of(self._headers) if self._headers else ""

    @property
    def sequence(self) -> int:
        """Position in the stream."""
        return self._where().sequence

    @property
    def deliveries(self) -> int:
        """How often it was delivered, from 1."""
        return self._where().deliveries

    async def ack(self, *, confirm: bool = True) -> None:
        """Settle it, and wait until the server has confirmed that (`port.Delivery.ack`)."""
        if not confirm:
            self._connection.send(self._reply, _ACK)
            return
        try:
            await self._connection.request(self._reply, _ACK, timeout=_ACK_SECONDS)
        except errors.DeadlineError as error:
            raise errors.UnavailableError("the acknowledgement was not confirmed") from error

    async def nak(self, *, delay: float = 0) -> None:
        """Hand it back (`port.Delivery.nak`)."""
        self._connection.send(self._reply, delay_nak(delay))

    async def term(self) -> None:
        """Give it up (`port.Delivery.term`)."""
        self._connection.send(self._reply, _TERM)

    async def in_progress(self) -> None:
        """Ask for more time (`port.Delivery.in_progress`)."""
        self._connection.send(self._reply, _PROGRESS)

    def _where(self) -> Origin:
        if self._origin is None:
            self._origin = origin(self._reply)
        return self._origin


class JetStreamConsumer:
    """The subscriber side of a durable consumer (`port.Consumer`)."""

    def __init__(
        self, connection: Connection, spec: ConsumerSpec, handler: DeliveryHandler, *, timing: PullTiming | None = None
    ) -> None:
        self._connection = connection
        self._spec = spec
        self._handler = handler
        self._puller = Puller(
            connection,
            stream=spec.stream,
            create=self._create,
            on_message=self._on_message,
            timing=timing or PullTiming(),
        )

    async def start(self) -> None:
        """Create or join the consumer."""
        await self._puller.start()

    def pull(self, count: int) -> None:
        """Allow `count` more deliveries (`port.Consumer.pull`)."""
        self._puller.pull(count)

    async def stop(self) -> None:
        """End intake (`port.Consumer.stop`)."""
        await self._puller.stop()

    async def _create(self) -> str:
        spec = self._spec
        config = {
            "name": spec.name,
            "durable_name": spec.name,
            "ack_policy": "explicit",
            "deliver_policy": "all",
            "filter_subject": spec.filter,
            "ack_wait": int(spec.ack_wait_seconds * api.NANOSECONDS),
            "max_ack_pending": spec.max_ack_pending,
            "max_waiting": _MAX_WAITING,
        }
        verb = f"CONSUMER.CREATE.{spec.stream}.{spec.name}.{spec.filter}"
        await api.call(self._connection, verb, {"stream_name": spec.stream, "config": config})
        return spec.name

    def _on_message(self, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        self._handler(JetStreamDelivery(self._connection, subject, reply, data, headers))
