"""The short way of a plain call: from the parser to the bus, and from the reply to the socket, by function calls alone.

A task, a future and five nested coroutines cost a warm call a sixth of what the gateway spends on it, and a plain call waits
for nothing but its reply. So the connection offers each request whose body is complete here first. What needs more than that
(the control plane, a client that does not read, a queue in front of the function, a body for the store, a bus that is away) is
left to the ASGI application, which does the same things in the same order; an answer that turns out to need a task gets one.
"""

import asyncio
import time
from functools import partial
from typing import cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from libs.messages import calls
from libs.telemetry.ops import Receive, Scope, Send
from services.gateway.answers import Forward, Refusal
from services.gateway.callee import Callee
from services.gateway.desk import Desk, is_control
from services.gateway.exchange import Exchange
from services.gateway.finish import Answer
from services.gateway.outcomes import Outcome
from services.gateway.pieces import Streamed


class FastPath:
    """Takes plain calls."""

    def __init__(self, desk: Desk, tasks: asyncio.TaskGroup) -> None:
        """Use `tasks` for answers that turn out to be streamed, stored, or for a client that does not read."""
        self._desk = desk
        self._tasks = tasks
        self.taken = 0
        """Requests that went this way."""

    def take(self, cycle: RequestResponseCycle) -> bool:
        """Take a request whose body is complete; False: nothing was done with it, and it is for the ASGI application."""
        if is_control(cycle.scope["path"]) or cycle.flow.write_paused or cycle.disconnected:
            return False
        desk = self._desk
        exchange = desk.open(cast("Scope", cycle.scope), cast("Receive", cycle.receive), cast("Send", cycle.send))
        try:
            if not self._begin(exchange, cycle):
                desk.close(exchange)
                return False
        except Exception as error:  # noqa: BLE001  whatever it is, there is an answer to it
            if desk.is_page(exchange, error):
                desk.close(exchange)
                return False
            self._send(exchange, desk.failed(exchange, error))
        self.taken += 1
        return True

    def _begin(self, exchange: Exchange, cycle: RequestResponseCycle) -> bool:
        """Put a call on the bus; False when it has to wait before that."""
        desk = self._desk
        callee, params = desk.route(exchange)
        body = bytes(cycle.body) if cycle.body else b""
        if len(body) > callee.max_body_bytes:
            raise Refusal(413, "payload too large")
        if callee.checks is not None:
            exchange.check(callee.checks, body)
        gate = callee.gate
        desk.require_room(gate)
        if not gate.enter():
            return False
        begun = False
        try:
            invocation = exchange.invocation(callee, params, body, origin=desk.origin)
            exchange.admit_ms = (time.perf_counter() - exchange.began) * 1000
            begun = desk.caller.begin(
                callee.subject,
                invocation,
                traceparent=exchange.traceparent,
                gone=exchange.gone,
                done=partial(self._done, exchange, callee),
            )
        finally:
            if not begun:
                gate.leave()
        return begun

    def _done(self, exchange: Exchange, callee: Callee, outcome: Outcome) -> None:
        """Answer a call; runs in the bus's own callback."""
        if isinstance(outcome, Streamed) or (isinstance(outcome, calls.Reply) and outcome.body_ref):
            self._tasks.create_task(self._slowly(exchange, callee, outcome), name=f"answer to {exchange.id}")
            return
        try:
            answer = self._desk.finish.answer(exchange, callee, outcome)
        except Forward as asked:
            self._tasks.create_task(self._slowly(exchange, callee, asked.reply), name=f"fetch for {exchange.id}")
            return
        except Exception as error:  # noqa: BLE001  whatever it is, there is an answer to it
            answer = self._desk.failed(exchange, error)
        callee.gate.leave()
        self._send(exchange, answer)

    async def _slowly(self, exchange: Exchange, callee: Callee, outcome: calls.Reply | Streamed) -> None:
        """Answer what comes in pieces, from the store, or from elsewhere."""
        try:
            if isinstance(outcome, Streamed):
                await self._desk.stream(exchange, callee, outcome)
                self._desk.close(exchange)
                return
            answer = await self._fetched(exchange, callee, outcome)
        finally:
            callee.gate.leave()
        self._send(exchange, answer)

    async def _fetched(self, exchange: Exchange, callee: Callee, reply: calls.Reply) -> Answer:
        desk = self._desk
        try:
            return await desk.answer(exchange, callee, await desk.caller.fetch(reply) if reply.body_ref else reply)
        except Exception as error:  # noqa: BLE001  whatever it is, there is an answer to it
            return desk.failed(exchange, error)

    def _send(self, exchange: Exchange, answer: Answer) -> None:
        self._desk.close(exchange)
        if not self._desk.send_now(exchange, answer):
            self._tasks.create_task(self._desk.send(exchange, answer), name=f"answer to {exchange.id}")
