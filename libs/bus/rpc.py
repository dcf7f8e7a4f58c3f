"""Typed requests between services: a record goes out, a record or a typed error comes back.

The reply is a map with either `ok` (the answer's bytes) or `error` (`kind`, `message`), so that an error raised by the
serving side is raised again, as the same class, by the calling side.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from libs import errors
from libs.bus import port
from libs.messages import codec, subjects
from libs.messages.codec import record

log = logging.getLogger(__name__)

_KINDS: dict[str, Callable[[str], errors.FnbusError]] = {
    "not_found": errors.NotFoundError,
    "conflict": errors.ConflictError,
    "permanent": errors.PermanentError,
    "unavailable": errors.UnavailableError,
    "temporary": errors.TemporaryError,
}


@record()
class RpcReply:
    """Answer to a request: bytes of a record, or an error."""

    ok: bytes = b""
    error: str = ""
    """Kind of the error, empty when there is none."""
    message: str = ""
    retry_after: float = 0.0
    """Seconds after which to ask again, as the serving side has it; 0: it does not say."""


async def call[T](
    bus: port.Bus,
    subject: str,
    request: codec.Record,
    reply: type[T],
    *,
    timeout: float = 5.0,  # noqa: ASYNC109  the bus's own deadline
    traceparent: str = "",
) -> T:
    """Send `request` to a service and return its answer.

    Raises:
        errors.FnbusError: what the service raised, or that it cannot be reached (`UnavailableError`, `DeadlineError`).
    """
    message = await bus.request(subject, codec.encode(request), timeout=timeout, traceparent=traceparent)
    answer = codec.decode(RpcReply, message.data)
    if answer.error:
        raise _raised(answer)
    return codec.decode(reply, answer.ok)


class Server:
    """Serves typed requests of one service, at most `limit` at once; more are answered `temporary` immediately."""

    def __init__(self, bus: port.Bus, service: str, tasks: asyncio.TaskGroup, *, limit: int = 1024, queue: str = "") -> None:
        """Make it; `queue` is the queue group of its replicas, the service's name unless said otherwise."""
        self._bus = bus
        self._service = service
        self._queue = queue or service
        self._tasks = tasks
        self._limit = limit
        self._running = 0
        self._subscriptions: list[port.Subscription] = []

    async def serve[T](
        self,
        operation: str,
        request: type[T],
        handler: Callable[[T, str], Awaitable[codec.Record]],
    ) -> None:
        """Answer `rpc.<service>.<operation>`; `handler` gets the request and its traceparent."""

        def on_message(message: port.Message) -> None:
            if self._running >= self._limit:
                self._answer(message, _error(errors.TemporaryError(f"{self._service} is overloaded")))
                return
            self._running += 1
            self._tasks.create_task(self._handle(operation, request, handler, message), name=f"rpc {operation}")

        subscription = await self._bus.subscribe(subjects.rpc(self._service, operation), on_message, queue=self._queue)
        self._subscriptions.append(subscription)

    async def stop(self) -> None:
        """Take no more requests; those under way go on."""
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        self._subscriptions.clear()

    async def _handle(
        self, operation: str, request: type[Any], handler: Callable[[Any, str], Awaitable[codec.Record]], message: port.Message
    ) -> None:
        try:
            answer = await handler(codec.decode(request, message.data), message.traceparent)
            reply = RpcReply(ok=codec.encode(answer))
        except errors.FnbusError as error:
            reply = _error(error)
        except Exception:
            log.exception("a request failed", extra={"action": "rpc_failed", "operation": operation})
            reply = RpcReply(error="temporary", message="internal error")
        finally:
            self._running -= 1
        self._answer(message, reply)

    def _answer(self, message: port.Message, reply: RpcReply) -> None:
        if not message.reply:
            return
        try:
            self._bus.post(message.reply, codec.encode(reply))
        except port.PayloadTooLargeError as error:
            self._bus.post(message.reply, codec.encode(_error(error)))


def _raised(answer: RpcReply) -> errors.FnbusError:
    error = _KINDS.get(answer.error, errors.TemporaryError)(answer.message)
    if isinstance(error, errors.TemporaryError):
        error.retry_after = answer.retry_after or None
    return error


def _error(error: errors.FnbusError) -> RpcReply:
    match error:
        case errors.NotFoundError():
            kind = "not_found"
        case errors.ConflictError():
            kind = "conflict"
        case errors.PermanentError():
            kind = "permanent"
        case errors.UnavailableError():
            kind = "unavailable"
        case _:
            kind = "temporary"
    after = error.retry_after if isinstance(error, errors.TemporaryError) else None
    return RpcReply(error=kind, message=str(error), retry_after=float(after or 0))
