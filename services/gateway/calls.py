"""Calls over the bus: send an invocation, wait for what comes of it, keep every promise about time.

There is one wildcard subscription for all replies and one table of waiters, each with a function to be called with the
outcome. No call has a timer or a task of its own: a shared sweep looks at all waiters every 50 ms, ends those whose time is up,
and starts to watch the client of those that take long. A call is sent again only when an executor said that it ran nothing
(busy).
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from libs import errors
from libs.bus import port
from libs.messages import calls, codec, subjects
from libs.messages.calls import ReplyKind
from services.gateway.bodies import Bodies
from services.gateway.outcomes import CLIENT_LEFT, Done, Gone, Outcome, Trouble, Waiter
from services.gateway.pieces import Streamed
from services.gateway.uploads import Upload, Uploads

log = logging.getLogger(__name__)

SWEEP_SECONDS = 0.05
WATCH_AFTER_SECONDS = 0.1
"""A call that is older has its client watched."""


class Caller:
    """Sends invocations and hands back what came of them."""

    def __init__(self, bus: port.Bus, tasks: asyncio.TaskGroup, *, lost: Callable[[str], bool] = lambda _: False) -> None:
        """Use `tasks` for what must not hold a call up.

        Args:
            bus: where executors are.
            tasks: for watching clients, and deleting bodies.
            lost: whether an executor, by id, has died.
        """
        self.bodies = Bodies(bus, tasks)
        self._bus = bus
        self._tasks = tasks
        self._lost = lost
        self._inbox = bus.new_inbox() + "."
        self._token_at = len(self._inbox)
        self._uploads = Uploads(bus, tasks, inbox=self._inbox)
        self._waiters: dict[str, Waiter] = {}
        self._streams: dict[str, Streamed] = {}
        self._tokens = itertools.count(1)
        self._clock = time.monotonic
        self.late_replies = 0
        """Replies for which nobody waited any more."""

    @property
    def in_flight(self) -> int:
        """How many calls wait for a reply, or for the rest of one."""
        return len(self._waiters) + len(self._streams)

    async def start(self) -> port.Subscription:
        """Listen for replies; the caller ends the subscription when all calls are over."""
        self._bus.on_state(self._on_state)
        return await self._bus.subscribe(self._inbox + "*", self._on_reply)

    async def run(self) -> None:
        """Sweep the waiters for ever."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if self._waiters or self._streams:
                self._sweep(self._clock())

    async def call(
        self,
        subject: str,
        invocation: calls.Invocation,
        *,
        traceparent: str,
        gone: Gone | None = None,
        upload: Upload | None = None,
    ) -> Outcome:
        """Run a function and return what came of it; never raises for what happens on the way.

        Args:
            subject: where executors of the function listen.
            invocation: the request; a large body is moved to the store of bodies. Only when it says `streams` the outcome may
                be a `Streamed`, which the caller has to close.
            traceparent: context that the executor's spans belong under.
            gone: returns when the client has gone away; awaited only for calls that take long.
            upload: the body, when that is still being sent; the caller closes it when the answer is complete.
        """
        if not self._bus.connected:
            return Trouble.DISCONNECTED
        try:
            if not self.bodies.fits(invocation):
                invocation = await self.bodies.put(invocation, key=f"call-{invocation.id}-{next(self._tokens):x}")
            outcome = await self._ask(subject, invocation, traceparent=traceparent, gone=gone, upload=upload)
        except port.PayloadTooLargeError:
            return Trouble.TOO_LARGE
        except errors.FnbusError as error:
            log.warning("a call could not be sent: %s", error, extra={"action": "call_not_sent", "request": invocation.id})
            return Trouble.DISCONNECTED
        return await self.fetch(outcome) if isinstance(outcome, calls.Reply) and outcome.body_ref else outcome

    def begin(self, subject: str, invocation: calls.Invocation, *, traceparent: str, gone: Gone, done: Done) -> bool:
        """As `call`, without a task: `done` is called with the outcome, once, from the event loop.

        An outcome whose body is in the store has to be fetched (`fetch`). Returns False, and nothing happens, when there is
        more to do than to send one message.
        """
        bus = self._bus
        if not bus.connected or not self.bodies.fits(invocation):
            return False
        waiter = self._wait(subject, invocation, traceparent=traceparent, gone=gone, done=done)
        try:
            bus.post(subject, codec.encode(invocation), reply=waiter.reply, traceparent=traceparent)
        except BaseException:
            del self._waiters[waiter.token]
            raise
        return True

    async def fetch(self, reply: calls.Reply) -> calls.Reply | Trouble:
        """Return a reply with the body that it refers to."""
        try:
            return await self.bodies.fetch(reply) or Trouble.MALFORMED
        except errors.FnbusError as error:
            log.warning("a body could not be fetched: %s", error, extra={"action": "body_not_fetched", "key": reply.body_ref})
            return Trouble.DISCONNECTED

    def stop(self) -> None:
        """End what is still under way: nobody will be there to be answered."""
        for waiter in list(self._waiters.values()):
            self._cancel(waiter)
            self._settle(waiter, Trouble.DISCONNECTED)
        for stream in self._streams.values():
            stream.break_off("the gateway stops")

    async def _ask(
        self, subject: str, invocation: calls.Invocation, *, traceparent: str, gone: Gone | None, upload: Upload | None
    ) -> Outcome:
        result: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if not result.done():
                result.set_result(outcome)

        waiter = self._wait(subject, invocation, traceparent=traceparent, gone=gone, done=done)
        if upload is not None:
            fail = partial(self._give_up, waiter)
            body_from = self._uploads.open(upload, token=waiter.token, reply=waiter.reply, fail=fail)
            invocation = waiter.invocation = replace(invocation, body_from=body_from)
        try:
            await self._bus.publish(subject, codec.encode(invocation), reply=waiter.reply, traceparent=traceparent)
            return await result
        except asyncio.CancelledError:
            stream = self._streams.get(waiter.token)
            if stream is not None:
                stream.close()
            elif waiter.token in self._waiters:
                self._cancel(waiter)
            raise
        finally:
            self._waiters.pop(waiter.token, None)

    def _wait(self, subject: str, invocation: calls.Invocation, *, traceparent: str, gone: Gone | None, done: Done) -> Waiter:
        token = f"{next(self._tokens):x}"
        waiter = self._waiters[token] = Waiter(
            subject=subject,
            invocation=invocation,
            traceparent=traceparent,
            token=token,
            reply=self._inbox + token,
            began=self._clock(),
            gone=gone,
            done=done,
        )
        return waiter

    def _settle(self, waiter: Waiter, outcome: Outcome) -> None:
        """Give a caller its outcome, unless it has one."""
        if self._waiters.pop(waiter.token, None) is not None:
            waiter.done(outcome)

    def _on_reply(self, message: port.Message) -> None:
        token = message.subject[self._token_at :]
        waiter = self._waiters.get(token)
        if waiter is None:
            self._on_piece(token, message)
            return
        if message.no_responders:
            self._settle(waiter, Trouble.NO_RESPONDERS)
            return
        try:
            reply = codec.decode(calls.Reply, message.data)
        except codec.MalformedMessageError as error:
            log.error("a reply is malformed: %s", error, extra={"action": "reply_malformed", "request": waiter.invocation.id})
            self._settle(waiter, Trouble.MALFORMED)
            return
        if reply.kind is ReplyKind.STREAM:
            self._settle(waiter, self._stream(waiter, reply))
        elif reply.kind is ReplyKind.BUSY and not waiter.again:
            self._ask_again(waiter)
        else:
            self._settle(waiter, reply)

    def _ask_again(self, waiter: Waiter) -> None:
        """Send a call a second time, with what is left of its budget."""
        waiter.again = True
        spent_ms = int((self._clock() - waiter.began) * 1000)
        invocation = replace(waiter.invocation, budget_ms=max(1, waiter.invocation.budget_ms - spent_ms))
        self._bus.post(waiter.subject, codec.encode(invocation), reply=waiter.reply, traceparent=waiter.traceparent)

    def _stream(self, waiter: Waiter, reply: calls.Reply) -> Outcome:
        """Return the streamed answer that begins with a reply."""
        if not waiter.invocation.streams:
            self._cancel(waiter)
            return Trouble.MALFORMED
        credit = codec.encode(calls.StreamCredit(reply=waiter.reply, pieces=1))
        subject = subjects.stream_credit(reply.executor)

        stream = self._streams[waiter.token] = Streamed(
            reply=reply,
            budget_ms=waiter.invocation.budget_ms,
            clock=self._clock,
            grant=lambda: self._bus.post(subject, credit),
            stop=lambda: self._cancel(waiter),
            closed=partial(self._streams.__delitem__, waiter.token),
        )
        if waiter.gone is not None:
            self._tasks.create_task(self._watch(waiter, waiter.gone), name=f"client of {waiter.invocation.id}")
        return stream

    def _on_piece(self, token: str, message: port.Message) -> None:
        stream = self._streams.get(token)
        if stream is None:
            if not self._uploads.take(token, message.data):
                self.late_replies += 1
            return
        try:
            stream.put(codec.decode(calls.StreamPiece, message.data))
        except codec.MalformedMessageError as error:
            stream.break_off(str(error))

    def _on_state(self, connected: bool) -> None:  # noqa: FBT001  the port's listener has this shape
        if not connected:
            for waiter in list(self._waiters.values()):
                self._settle(waiter, Trouble.DISCONNECTED)
            for stream in self._streams.values():
                stream.break_off("the bus was lost")

    def _sweep(self, now: float) -> None:
        for waiter in list(self._waiters.values()):
            if now >= waiter.deadline:
                self._cancel(waiter)
                self._settle(waiter, Trouble.TIMEOUT)
            elif waiter.gone is not None and now >= waiter.began + WATCH_AFTER_SECONDS:
                self._tasks.create_task(self._watch(waiter, waiter.gone), name=f"client of {waiter.invocation.id}")
                waiter.gone = None
        for stream in self._streams.values():
            stream.check(now)
            if self._lost(stream.reply.executor):
                stream.break_off("the executor was lost")

    async def _watch(self, waiter: Waiter, gone: Gone) -> None:
        """Wait for the client beside the reply; the wait ends by itself once the client has been answered."""
        await gone()
        self._give_up(waiter, Trouble.CLIENT_GONE, CLIENT_LEFT)

    def _give_up(self, waiter: Waiter, trouble: Trouble, text: str) -> None:
        """End a call from this side, in words when its answer has begun."""
        stream = self._streams.get(waiter.token)
        if stream is not None:
            if not stream.answered:
                stream.break_off(text)
        elif waiter.token in self._waiters:
            self._cancel(waiter)
            self._settle(waiter, trouble)

    def _cancel(self, waiter: Waiter) -> None:
        """Tell all executors to kill the worker that runs this call."""
        request_id = waiter.invocation.id
        try:
            self._bus.post(subjects.CANCEL_INVOCATION, codec.encode(calls.CancelInvocation(id=request_id, reply=waiter.reply)))
        except errors.FnbusError as error:
            log.info("a cancel could not be sent: %s", error, extra={"action": "cancel_not_sent", "request": request_id})
