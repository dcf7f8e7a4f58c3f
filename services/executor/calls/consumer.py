"""Calls from the bus to dispatch and their replies back.

For a warm call nothing here waits and no task is made: a message is decoded and handed on, and its answer posted. Only
bodies that travel by reference take a task.
"""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Sequence
from functools import partial

from libs import errors
from libs.bus.port import Bus, Message, Subscription
from libs.messages import codec, subjects
from libs.messages.calls import (
    BodyCredit,
    BodyPiece,
    CancelInvocation,
    FailureCode,
    Invocation,
    Reply,
    ReplyKind,
    StreamCredit,
    StreamPiece,
)
from libs.messages.codec import MalformedMessageError
from libs.messages.executions import ExecutionKind
from services.executor.calls.bodies import Bodies
from services.executor.calls.dispatch import Dispatch
from services.executor.calls.runs import Run
from services.executor.catalogue import VersionKey
from services.executor.workers.intake import Intake

log = logging.getLogger(__name__)


_MOST_CREDIT = 0xFFFF
"""What fits into a frame's field; nobody grants that much at once."""


class CallConsumer:
    """Answers the calls of the runtimes that are present here."""

    def __init__(self, *, bus: Bus, tasks: asyncio.TaskGroup, executor: str, dispatch: Dispatch, bodies: Bodies) -> None:
        self._bus = bus
        self._tasks = tasks
        self._executor = executor
        self._dispatch = dispatch
        self._bodies = bodies
        self._calls: list[Subscription] = []
        self._controls: list[Subscription] = []
        self.malformed = 0
        """Messages that could not be parsed."""

    async def start(self, runtimes: Sequence[str]) -> None:
        """Take calls of these runtimes from now on."""
        self._controls = [
            await self._bus.subscribe(subjects.CANCEL_INVOCATION, self._on_cancel),
            await self._bus.subscribe(subjects.stream_credit(self._executor), self._on_credit),
            await self._bus.subscribe(subjects.body_pieces(self._executor), self._on_body, queue=subjects.EXECUTORS),
        ]
        for runtime in runtimes:
            subject = subjects.invoke_all(runtime)
            self._calls.append(await self._bus.subscribe(subject, self._on_call, queue=subjects.EXECUTORS))

    async def stop(self) -> None:
        """Take no more calls; cancels are still heard."""
        for subscription in self._calls:
            await subscription.unsubscribe()
        self._calls.clear()

    async def close(self) -> None:
        """Hear nothing any more."""
        await self.stop()
        for subscription in self._controls:
            await subscription.unsubscribe()
        self._controls.clear()

    def _on_call(self, message: Message) -> None:
        received, received_ns = time.monotonic(), time.time_ns()
        try:
            call = codec.decode(Invocation, message.data)
        except MalformedMessageError as error:
            self.malformed += 1
            log.warning("a call cannot be parsed: %s", error, extra={"action": "call_malformed", "subject": message.subject})
            self._fail(message.reply, FailureCode.MALFORMED, str(error))
            return
        reply_to = message.reply
        run = Run(
            id=call.id,
            kind=ExecutionKind.CALL,
            key=VersionKey(call.namespace, call.runtime, call.function, call.digest),
            label=call.version,
            head=call.head,
            body=call.body,
            traceparent=message.traceparent,
            received=received,
            received_ns=received_ns,
            budget_ms=call.budget_ms,
            handle=reply_to,
            on_done=self._on_done if reply_to else _ignore,
            on_piece=self._on_piece if call.streams and reply_to else None,
        )
        if call.admit_us:
            run.admit_us = call.admit_us
        if call.body_from:
            run.intake = Intake(partial(self._ask, call.body_from))
        if call.body_ref:
            self._tasks.create_task(self._with_body(run, call.body_ref, reply_to), name=f"body {call.id}")
        else:
            self._dispatch.submit(run)

    def _on_cancel(self, message: Message) -> None:
        try:
            cancel = codec.decode(CancelInvocation, message.data)
        except MalformedMessageError as error:
            self.malformed += 1
            log.warning("a cancel cannot be parsed: %s", error, extra={"action": "cancel_malformed"})
        else:
            self._dispatch.cancel(cancel.id, handle=cancel.reply)

    async def _with_body(self, run: Run, key: str, reply_to: str) -> None:
        try:
            run.body = await self._bodies.fetch(key)
        except errors.FnbusError as error:
            self._fail(reply_to, FailureCode.UNAVAILABLE, f"the request's body could not be fetched: {error}")
            return
        self._dispatch.submit(run)
        await self._bodies.forget(key)

    def _on_done(self, run: Run, reply: Reply) -> None:
        self._answer(run.handle, reply)

    def _on_piece(self, handle: str, piece: StreamPiece) -> None:
        self._send(handle, codec.encode(piece))

    def _on_credit(self, message: Message) -> None:
        try:
            credit = codec.decode(StreamCredit, message.data)
        except MalformedMessageError as error:
            self.malformed += 1
            log.warning("a credit cannot be parsed: %s", error, extra={"action": "credit_malformed"})
        else:
            self._dispatch.credit(credit.reply, min(credit.pieces, _MOST_CREDIT))

    def _ask(self, body_from: str, pieces: int) -> None:
        """Have more of a body sent."""
        self._send(body_from, codec.encode(BodyCredit(executor=self._executor, pieces=pieces)))

    def _on_body(self, message: Message) -> None:
        try:
            piece = codec.decode(BodyPiece, message.data)
        except MalformedMessageError as error:
            self.malformed += 1
            log.warning("a piece of a body cannot be parsed: %s", error, extra={"action": "body_malformed"})
        else:
            self._dispatch.body(piece)

    def _answer(self, reply_to: str, reply: Reply) -> None:
        if not reply_to:
            return
        if self._bodies.fits(reply.body):
            self._post(reply_to, reply)
        else:
            self._tasks.create_task(self._answer_by_reference(reply_to, reply), name="large answer")

    async def _answer_by_reference(self, reply_to: str, reply: Reply) -> None:
        try:
            reply = dataclasses.replace(reply, body=b"", body_ref=await self._bodies.keep(reply.body))
        except errors.FnbusError as error:
            self._fail(reply_to, FailureCode.UNAVAILABLE, f"the answer's body could not be stored: {error}")
            return
        self._post(reply_to, reply)

    def _fail(self, reply_to: str, code: FailureCode, message: str) -> None:
        if reply_to:
            reply = Reply(kind=ReplyKind.FAILURE, executor=self._executor, code=code, message=message)
            self._post(reply_to, reply)

    def _post(self, reply_to: str, reply: Reply) -> None:
        self._send(reply_to, codec.encode(reply))

    def _send(self, reply_to: str, data: bytes) -> None:
        try:
            self._bus.post(reply_to, data)
        except errors.FnbusError as error:
            # The caller has learned from its own side of the bus that there will be no reply.
            log.info("a reply could not be sent: %s", error, extra={"action": "reply_not_sent"})


def _ignore(run: Run, reply: Reply) -> None:
    """Nobody waits for the reply."""
    del run, reply
