"""The connection to NATS: its state, publishing, requests over one reply subscription, and background tasks.

It speaks raw messages; what the bus makes of them is in `jetstream`, JetStream's own requests are in `jetstream_api`.
"""

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from nats.aio.client import Server

from libs import errors
from libs.bus import jetstream_client as raw
from libs.bus.port import BusDisconnectedError, NoRespondersError, PayloadTooLargeError, RequestTimeoutError

log = logging.getLogger(__name__)

_HIGH_WATER = 256 * 1024
"""Bytes waiting to be written above which `publish` waits for the socket."""
_RETRY_SECONDS = (0.02, 2.0)
"""Pause before a try to reconnect: the first, and the most."""
_NO_RESPONDERS = 503


class RawReply(NamedTuple):
    """A reply as it came."""

    subject: str
    data: bytes
    headers: bytes


class _Request(NamedTuple):
    """A request that waits for its reply."""

    subject: str
    reply: asyncio.Future[RawReply]


class Connection:
    """One connection that reconnects for ever and refuses work while it is down."""

    def __init__(self, client: raw.FastClient, *, name: str, inbox: str) -> None:
        self.name = name
        self.client = client
        self._inbox = inbox
        self._loop = asyncio.get_running_loop()
        self._up = False
        self._listeners: list[Callable[[bool], None]] = []
        self._replies = f"{inbox}.r."
        self._waiting: dict[str, _Request] = {}
        self._tokens = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._tries = 0
        self._opened = False
        self._closing = False

    @property
    def up(self) -> bool:
        """Whether messages can be sent."""
        return self._up and self.client.is_connected

    @property
    def closed(self) -> bool:
        """Whether it was ended on purpose."""
        return self._closing

    def on_state(self, listener: Callable[[bool], None]) -> None:
        """Call `listener` with each change of `up`."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[bool], None]) -> None:
        """Undo `on_state`."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def require_up(self) -> None:
        """Do nothing while the connection is up.

        Raises:
            BusDisconnectedError: it is down.
        """
        if not self.up:
            raise BusDisconnectedError("not connected to NATS")

    def new_inbox(self) -> str:
        """Return an unused subject below this connection's own prefix."""
        return f"{self._inbox}.{next(self._tokens)}"

    async def open(self, servers: list[str], *, user: str, password: str) -> None:
        """Connect, trying until the server can be reached.

        Raises:
            errors.PermanentError: the server does not accept the credentials.
        """
        await self.client.connect(
            servers,
            name=self.name,
            user=user or None,
            password=password or None,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            reconnect_to_server_handler=self._next_server,
            reconnect_time_wait=1,
            max_reconnect_attempts=-1,
            ping_interval=10,
            max_outstanding_pings=2,
        )
        self._opened = True
        self._set_up(up=True)
        while True:
            try:
                await self.client.listen(f"{self._replies}*", "", self._on_reply)
            except BusDisconnectedError:
                await asyncio.sleep(_RETRY_SECONDS[0])
            else:
                return

    def send(self, subject: str, data: bytes, *, reply: str = "", headers: bytes = b"") -> None:
        """Send a message at the end of this turn of the loop.

        Raises:
            BusDisconnectedError: the connection is down; nothing was sent.
            PayloadTooLargeError: nothing was sent.
        """
        client = self.client
        if not (self._up and client.is_connected):
            raise BusDisconnectedError("not connected to NATS")
        if len(data) + len(headers) > client.max_payload:
            raise PayloadTooLargeError(f"message of {len(data)} bytes to {subject}; the server takes {client.max_payload}")
        client.send(subject, data, reply, headers)

    @property
    def congested(self) -> bool:
        """Whether a sender that can wait should `drain` before it sends more."""
        return self.client.unwritten > _HIGH_WATER

    async def drain(self) -> None:
        """Wait until the socket takes more."""
        await self.client.drain_socket()

    async def request(self, subject: str, data: bytes, *, timeout: float, headers: bytes = b"") -> RawReply:  # noqa: ASYNC109
        """Send a message and return the first reply.

        Raises:
            NoRespondersError: nobody listens.
            RequestTimeoutError: no reply within `timeout` seconds.
            RefusedError: the user may not publish there.
            BusDisconnectedError: the connection is down, or was lost before the reply came.
        """
        token = str(next(self._tokens))
        future: asyncio.Future[RawReply] = self._loop.create_future()
        self._waiting[token] = _Request(subject, future)
        try:
            self.send(subject, data, reply=self._replies + token, headers=headers)
            if self.congested:
                await self.drain()
            timer = self._loop.call_later(timeout, self._expire, token, timeout)
            try:
                reply = await future
            finally:
                timer.cancel()
        finally:
            self._waiting.pop(token, None)
            if not future.cancel() and not future.cancelled():
                future.exception()  # marks it as seen, should the socket have failed before it was awaited
        if reply.headers and raw.status(reply.headers) == _NO_RESPONDERS:
            raise NoRespondersError(f"nobody listens on {subject}")
        return reply

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run `work` in a task that ends with the connection at the latest; a failure is logged."""
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    async def close(self) -> None:
        """Send what waits, then end everything."""
        if self._closing:
            return
        self._closing = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            if self.up:
                await self.client.end_all()
        except BusDisconnectedError as error:
            log.warning("could not send what was waiting: %s", error, extra={"action": "nats_close_failed"})
        await self.client.close()
        self._set_up(up=False)

    def _on_reply(self, subject: str, _reply: str, data: bytes, headers: bytes) -> None:
        request = self._waiting.get(subject[len(self._replies) :])
        if request is not None and not request.reply.done():
            request.reply.set_result(RawReply(subject, data, headers))

    def _expire(self, token: str, seconds: float) -> None:
        request = self._waiting.get(token)
        if request is not None and not request.reply.done():
            request.reply.set_exception(RequestTimeoutError(f"no reply from {request.subject} in {seconds:g} s"))

    def _refuse(self, refusal: raw.RefusedError) -> None:
        """Fail requests that the server refused instead of letting them wait for a reply that cannot come."""
        for subject, reply in self._waiting.values():
            if subject.lower() == refusal.subject and not reply.done():
                reply.set_exception(refusal)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %r died", task.get_name(), exc_info=error, extra={"action": "task_died", "task": task.get_name()})

    def _set_up(self, *, up: bool) -> None:
        if self._up == up:
            return
        self._up = up
        if not up:
            self.client.lost()
            waiting, self._waiting = self._waiting, {}
            for _, reply in waiting.values():
                if not reply.done():
                    reply.set_exception(BusDisconnectedError("the connection to NATS was lost"))
        for listener in tuple(self._listeners):
            try:
                listener(up)
            except Exception:
                log.exception("a state listener failed", extra={"action": "handler_failed"})

    async def _on_disconnected(self) -> None:
        if not self._closing:
            log.warning("connection to NATS lost", extra={"action": "nats_disconnected"})
        self._set_up(up=False)

    async def _on_reconnected(self) -> None:
        self._tries = 0
        log.info("connected to NATS again", extra={"action": "nats_reconnected"})
        self._set_up(up=True)

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, raw.RefusedError):
            log.error("%s", error, extra={"action": "nats_refused", "subject": error.subject})
            if error.publishing:
                self._refuse(error)
        elif self._up:
            log.warning("NATS: %s", error, extra={"action": "nats_error", "kind": type(error).__name__})
        elif not self._opened and "authorization" in str(error).lower():
            raise errors.PermanentError(f"NATS refused the credentials of {self.name}") from error
        else:
            log.debug("NATS not reached: %s", error, extra={"action": "nats_unreachable"})

    def _next_server(self, servers: list[Server], _info: dict[str, Any]) -> tuple[Server | None, float]:
        first, most = _RETRY_SECONDS
        pause = min(most, first * 2 ** min(self._tries, 10)) * random.uniform(0.5, 1.0)  # noqa: S311  jitter
        server = servers[self._tries % len(servers)]
        self._tries += 1
        return server, pause
