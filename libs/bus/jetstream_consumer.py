"""Pull consumers with credit: as many deliveries as were asked for, as soon as they are there.

The server holds our requests until it has messages, so that a delivery costs no round trip. A `Puller` keeps the sum of
the requests at the server equal to the credit: it asks anew for what an expired request has left over, and starts afresh,
under a new inbox so that no forgotten request can be answered twice, when heartbeats fail to come or the connection was lost.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from libs import errors
from libs.bus import jetstream_api as api
from libs.bus import jetstream_client as raw
from libs.bus.jetstream_connection import Connection
from libs.bus.port import BusDisconnectedError, ConsumerSpec, DeliveryHandler

log = logging.getLogger(__name__)

_RETRY_SECONDS = (0.05, 2.0)
_ACK_SECONDS = 5.0
_MAX_WAITING = 4096
"""Requests that a consumer holds for all its subscribers together; the server's own default of 512 is soon reached by
executors that free one slot at a time."""

_IDLE_HEARTBEAT = 100
_NO_RESPONDERS = 503
_REQUEST_ENDED = frozenset({404, 408, 409})

_ACK = b"+ACK"
_TERM = b"+TERM"
_PROGRESS = b"+WPI"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullTiming:
    """How long the server holds a request and how it shows that it does, in seconds."""

    expires: float = 30.0
    """After this it sends a request back, with what is left of it."""
    heartbeat: float = 5.0
    """Without messages it gives a sign so often; less than half of `expires`."""
    silence: float = 12.5
    """Without any sign for so long it has forgotten our requests."""


class Origin(NamedTuple):
    """What the reply subject of a delivery tells: `$JS.ACK.<stream>.<consumer>.<tries>.<seq>.<consumer seq>.<ns>.<pending>`."""

    deliveries: int
    sequence: int
    consumer_sequence: int
    pending: int


def origin(reply: str) -> Origin:
    """Return what a delivery's reply subject tells.

    Raises:
        ValueError: it is not one of a delivery.
    """
    tokens = reply.split(".")
    # Newer servers may put domain and account hash in front of the stream's name.
    at = 4 if len(tokens) == 9 else 6
    return Origin(int(tokens[at]), int(tokens[at + 1]), int(tokens[at + 2]), int(tokens[at + 4]))


def delay_nak(delay: float) -> bytes:
    """Return the payload that hands a delivery back, to come again after `delay` seconds."""
    return b'-NAK {"delay": %d}' % int(delay * api.NANOSECONDS) if delay > 0 else b"-NAK"


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

    async def ack(self) -> None:
        """Settle it, and wait until the server has confirmed that (`port.Delivery.ack`)."""
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


class Puller:
    """Keeps requests at the server for exactly the deliveries that were allowed."""

    def __init__(
        self,
        connection: Connection,
        *,
        stream: str,
        create: Callable[[], Awaitable[str]],
        on_message: raw.RawHandler,
        timing: PullTiming,
    ) -> None:
        """Prepare a puller.

        Args:
            connection: where to.
            stream: name of the stream.
            create: makes sure that the consumer exists and returns its name; called at the start and after each gap.
            on_message: called with each delivery.
            timing: of the requests.
        """
        self._connection = connection
        self._create = create
        self._on_message = on_message
        self._timing = timing
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}."
        self._stream = stream
        self._consumer = ""
        self._inbox = ""
        self._sid = 0
        self._serial = 0
        self._credit = 0
        self._requested = 0
        self._asking = False
        self._stopped = False
        self._renewal: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._last_sign = 0.0
        self._watch: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Create the consumer and listen; raises what prevents it."""
        await self._open()
        self._connection.on_state(self._on_state)
        self._check()

    def pull(self, count: int) -> None:
        """Allow `count` more deliveries."""
        self._credit += count
        self._ask_soon()

    async def stop(self) -> None:
        """Take credit back; what is on its way is handed back to the server."""
        if self._stopped:
            return
        self._stopped = True
        self._credit = 0
        self._connection.remove_listener(self._on_state)
        if self._watch is not None:
            self._watch.cancel()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])
        with contextlib.suppress(BusDisconnectedError):
            await self._connection.client.end(self._sid)

    async def _open(self) -> None:
        self._consumer = await self._create()
        self._inbox = self._connection.new_inbox()
        self._sid = await self._connection.client.listen(f"{self._inbox}.*", "", self._on_raw)
        self._last_sign = self._loop.time()
        self._requested = 0
        self._ask_soon()

    def _ask_soon(self) -> None:
        # Slots that fall free in one turn of the loop share one request.
        if not self._asking:
            self._asking = True
            self._loop.call_soon(self._ask)

    def _ask(self) -> None:
        self._asking = False
        missing = self._credit - self._requested
        if missing <= 0 or self._stopped or self._renewal is not None or not self._connection.up:
            return
        if self._requested == 0:
            self._last_sign = self._loop.time()
        self._serial += 1
        self._requested += missing
        request = {
            "batch": missing,
            "expires": int(self._timing.expires * api.NANOSECONDS),
            "idle_heartbeat": int(self._timing.heartbeat * api.NANOSECONDS),
        }
        self._connection.send(self._next + self._consumer, orjson.dumps(request), reply=f"{self._inbox}.{self._serial}")

    def _on_raw(self, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        self._last_sign = self._loop.time()
        if not reply.startswith("$JS.ACK."):
            self._on_status(raw.status(headers), headers)
            return
        if self._requested > 0:
            self._requested -= 1
        if self._credit <= 0 or self._stopped:
            with contextlib.suppress(BusDisconnectedError):
                self._connection.send(reply, delay_nak(0))
            return
        self._credit -= 1
        self._on_message(subject, reply, data, headers)

    def _on_status(self, code: int, headers: bytes) -> None:
        if code == _IDLE_HEARTBEAT:
            return
        if code in _REQUEST_ENDED:
            left = raw.header(headers, "Nats-Pending-Messages")
            if left.isdigit() and code != 409:
                self._requested = max(0, self._requested - int(left))
                self._ask_soon()
                return
        log.debug("pull requests refused: %d", code, extra={"action": "pull_refused", "stream": self._stream})
        self._renew()

    def _on_state(self, up: bool) -> None:  # noqa: FBT001  the port's listener
        if up:
            self._renew()

    def _check(self) -> None:
        if self._connection.closed:
            return
        if self._requested > 0 and self._connection.up:
            silence = self._loop.time() - self._last_sign
            if silence > self._timing.silence:
                log.warning(
                    "no sign of the consumer for %.0f s", silence, extra={"action": "pull_silent", "stream": self._stream}
                )
                self._renew()
        self._watch = self._loop.call_later(self._timing.heartbeat, self._check)

    def _renew(self) -> None:
        if self._renewal is None and not self._stopped:
            self._renewal = self._connection.spawn(self._reopen(), name=f"renew consumer of {self._stream}")

    async def _reopen(self) -> None:
        pause, most = _RETRY_SECONDS
        try:
            while self._connection.up:
                await asyncio.sleep(pause)
                try:
                    await self._connection.client.end(self._sid)
                    await self._open()
                except errors.FnbusError as error:
                    log.debug("consumer not renewed: %s", error, extra={"action": "pull_retry", "stream": self._stream})
                    pause = min(most, pause * 2)
                else:
                    return
        finally:
            self._renewal = None
            self._ask_soon()


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
