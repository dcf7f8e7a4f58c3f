"""Calls over the bus: send an invocation, wait for what comes of it, keep every promise about time.

There is one wildcard subscription for all replies and one table of waiters. No call has a timer or a task of its own: a
shared sweep looks at all waiters every 50 ms, ends those whose time is up, and starts to watch the client of those that
take long. A call is sent again only when an executor said that it ran nothing (busy).
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import Enum, auto

from libs import errors
from libs.bus import port, streams
from libs.messages import calls, codec, subjects

log = logging.getLogger(__name__)

SWEEP_SECONDS = 0.05
WATCH_AFTER_SECONDS = 0.1
"""A call that is older has its client watched."""
BACKSTOP_SECONDS = 1.0
"""The executor enforces the budget; this much later the gateway stops waiting for it."""

type Gone = Callable[[], Awaitable[None]]
"""Returns when the client has gone away."""


class Trouble(Enum):
    """Why there is no reply."""

    NO_RESPONDERS = auto()
    """Nobody listens: no executor has the runtime."""
    DISCONNECTED = auto()
    """The bus is, or went, away. A call that was under way may have run."""
    TIMEOUT = auto()
    """The executor did not even report that the budget was spent."""
    CLIENT_GONE = auto()
    """The client went away; the worker is being killed."""
    MALFORMED = auto()
    """The reply could not be parsed, or its body could not be fetched."""
    TOO_LARGE = auto()
    """The request's head does not fit into a message."""


type Outcome = calls.Reply | Trouble


class _Waiter:
    """A call under way."""

    __slots__ = ("deadline", "gone", "id", "reply", "result", "watch_at")

    def __init__(
        self,
        *,
        request_id: str,
        reply: str,
        deadline: float,
        gone: Gone | None,
        watch_at: float,
        result: asyncio.Future[Outcome],
    ) -> None:
        self.id = request_id
        self.reply = reply
        self.deadline = deadline
        self.gone = gone
        self.watch_at = watch_at
        self.result = result

    def settle(self, outcome: Outcome) -> None:
        """Give the caller its outcome, unless it has one."""
        if not self.result.done():
            self.result.set_result(outcome)


class Caller:
    """Sends invocations and hands back what came of them."""

    def __init__(self, bus: port.Bus, tasks: asyncio.TaskGroup) -> None:
        """Use `tasks` for what must not hold a call up: watching clients, telling of cancels."""
        self._bus = bus
        self._tasks = tasks
        self._inbox = bus.new_inbox() + "."
        self._waiters: dict[str, _Waiter] = {}
        self._tokens = itertools.count(1)
        self._clock = time.monotonic
        self._bodies: port.ObjectStore | None = None
        self.late_replies = 0
        """Replies for which nobody waited any more."""

    @property
    def in_flight(self) -> int:
        """How many calls wait for a reply."""
        return len(self._waiters)

    async def start(self) -> port.Subscription:
        """Listen for replies; the caller ends the subscription when all calls are over."""
        self._bus.on_state(self._on_state)
        return await self._bus.subscribe(self._inbox + "*", self._on_reply)

    async def run(self) -> None:
        """Sweep the waiters for ever."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if self._waiters:
                self._sweep(self._clock())

    async def call(self, subject: str, invocation: calls.Invocation, *, traceparent: str, gone: Gone | None = None) -> Outcome:
        """Run a function and return what came of it; never raises for what happens on the way.

        Args:
            subject: where executors of the function listen.
            invocation: the request; a large body is moved to the body store.
            traceparent: context that the executor's spans belong under.
            gone: returns when the client has gone away; awaited only for calls that take long.
        """
        if not self._bus.connected:
            return Trouble.DISCONNECTED
        began = self._clock()
        deadline = began + invocation.budget_ms / 1000 + BACKSTOP_SECONDS
        try:
            if len(invocation.body) + len(invocation.head) > self._bus.max_payload - streams.ENVELOPE_BYTES:
                invocation = await self._put_body(invocation)
            outcome = await self._ask(subject, invocation, traceparent=traceparent, deadline=deadline, gone=gone)
            if isinstance(outcome, calls.Reply) and outcome.kind is calls.ReplyKind.BUSY:
                spent_ms = int((self._clock() - began) * 1000)
                invocation = replace(invocation, budget_ms=max(1, invocation.budget_ms - spent_ms))
                outcome = await self._ask(subject, invocation, traceparent=traceparent, deadline=deadline, gone=gone)
            if isinstance(outcome, calls.Reply) and outcome.body_ref:
                outcome = await self._fetch_body(outcome)
        except port.PayloadTooLargeError:
            return Trouble.TOO_LARGE
        except errors.FnbusError as error:
            log.warning("a call could not be sent: %s", error, extra={"action": "call_not_sent", "request": invocation.id})
            return Trouble.DISCONNECTED
        return outcome

    async def body(self, inline: bytes, reference: str) -> bytes:
        """Return a body that came in a message, or that a message refers to; it stays in the store.

        Raises:
            errors.NotFoundError: the store does not have it any more.
        """
        return await (await self._store()).get(reference) if reference else inline

    async def _ask(
        self, subject: str, invocation: calls.Invocation, *, traceparent: str, deadline: float, gone: Gone | None
    ) -> Outcome:
        token = f"{next(self._tokens):x}"
        waiter = _Waiter(
            request_id=invocation.id,
            reply=self._inbox + token,
            deadline=deadline,
            gone=gone,
            watch_at=self._clock() + WATCH_AFTER_SECONDS,
            result=asyncio.get_running_loop().create_future(),
        )
        self._waiters[token] = waiter
        try:
            await self._bus.publish(subject, codec.encode(invocation), reply=waiter.reply, traceparent=traceparent)
            return await waiter.result
        except asyncio.CancelledError:
            self._cancel(waiter)
            raise
        finally:
            del self._waiters[token]

    def _on_reply(self, message: port.Message) -> None:
        waiter = self._waiters.get(message.subject[len(self._inbox) :])
        if waiter is None:
            self.late_replies += 1
        elif message.no_responders:
            waiter.settle(Trouble.NO_RESPONDERS)
        else:
            try:
                waiter.settle(codec.decode(calls.Reply, message.data))
            except codec.MalformedMessageError as error:
                log.error("a reply is malformed: %s", error, extra={"action": "reply_malformed", "request": waiter.id})
                waiter.settle(Trouble.MALFORMED)

    def _on_state(self, connected: bool) -> None:  # noqa: FBT001  the port's listener has this shape
        if not connected:
            for waiter in self._waiters.values():
                waiter.settle(Trouble.DISCONNECTED)

    def _sweep(self, now: float) -> None:
        for waiter in self._waiters.values():
            if now >= waiter.deadline and not waiter.result.done():
                self._cancel(waiter)
                waiter.settle(Trouble.TIMEOUT)
            elif waiter.gone is not None and now >= waiter.watch_at:
                self._tasks.create_task(self._watch(waiter, waiter.gone), name=f"client of {waiter.id}")
                waiter.gone = None

    async def _watch(self, waiter: _Waiter, gone: Gone) -> None:
        """Wait for the client beside the reply; the wait ends by itself once the client has been answered."""
        await gone()
        if not waiter.result.done():
            self._cancel(waiter)
            waiter.settle(Trouble.CLIENT_GONE)

    def _cancel(self, waiter: _Waiter) -> None:
        """Tell all executors to kill the worker that runs this call."""
        try:
            cancel = calls.CancelInvocation(id=waiter.id, reply=waiter.reply)
            self._bus.post(subjects.CANCEL_INVOCATION, codec.encode(cancel))
        except errors.FnbusError as error:
            log.info("a cancel could not be sent: %s", error, extra={"action": "cancel_not_sent", "request": waiter.id})

    async def _store(self) -> port.ObjectStore:
        if self._bodies is None:
            self._bodies = await self._bus.objects(subjects.BODY_STORE, ttl_seconds=streams.BODY_TTL_SECONDS)
        return self._bodies

    async def _put_body(self, invocation: calls.Invocation) -> calls.Invocation:
        key = f"call-{invocation.id}-{next(self._tokens):x}"
        await (await self._store()).put(key, invocation.body)
        return replace(invocation, body=b"", body_ref=key)

    async def _fetch_body(self, reply: calls.Reply) -> Outcome:
        store = await self._store()
        try:
            body = await store.get(reply.body_ref)
        except errors.NotFoundError:
            return Trouble.MALFORMED
        self._tasks.create_task(self._forget_body(store, reply.body_ref), name="delete body")
        return replace(reply, body=body, body_ref="")

    async def _forget_body(self, store: port.ObjectStore, key: str) -> None:
        try:
            await store.delete(key)
        except errors.FnbusError as error:
            log.info("a body was left to expire: %s", error, extra={"action": "body_left", "key": key})
