"""Pull requests with credit: as many deliveries as were asked for, as soon as they are there.

The server holds our requests until it has messages, so that a delivery costs no round trip. A `Puller` keeps the sum of
the requests at the server equal to the credit: it asks anew for what an expired request has left over, and starts afresh,
under a new inbox so that no forgotten request can be answered twice, when heartbeats fail to come or the connection was lost.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson

from libs import errors
from libs.bus import jetstream_api as api
from libs.bus import jetstream_client as raw
from libs.bus.jetstream_connection import Connection
from libs.bus.port import BusDisconnectedError

log = logging.getLogger(__name__)

_RETRY_SECONDS = (0.05, 2.0)
_IDLE_HEARTBEAT = 100
_CONFLICT = 409
_REQUEST_ENDED = frozenset({404, 408, _CONFLICT})
HAND_BACK = b"-NAK"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullTiming:
    """How long the server holds a request and how it shows that it does, in seconds."""

    expires: float = 30.0
    """After this it sends a request back, with what is left of it."""
    heartbeat: float = 5.0
    """Without messages it gives a sign so often; less than half of `expires`."""
    silence: float = 12.5
    """Without any sign for so long it has forgotten our requests."""


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
                self._connection.send(reply, HAND_BACK)
            return
        self._credit -= 1
        self._on_message(subject, reply, data, headers)

    def _on_status(self, code: int, headers: bytes) -> None:
        if code == _IDLE_HEARTBEAT:
            return
        if code in _REQUEST_ENDED:
            left = raw.header(headers, "Nats-Pending-Messages")
            if left.isdigit() and code != _CONFLICT:
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
