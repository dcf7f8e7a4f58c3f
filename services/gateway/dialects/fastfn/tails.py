"""`GET /_fn/logs/stream?fn=NAME`: what a function prints, while it prints it, as server-sent events.

Each follower has a subscription of its own. Nothing waits for one that is slow: what it has no room for is counted and told.
A follower hears of lines from the moment of the first comment on; what was before is in the executions.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import anyio
import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from libs import errors
from libs.bus import port
from libs.messages import codec, logs, subjects
from libs.messages.logs import LogBatch
from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn.shapes import namespace

PATH = "/_fn/logs/stream"

_MOST = 64
"""Followers at once."""
_BATCHES = 256
"""Batches that wait for one follower."""
_BEAT_SECONDS = 5.0
"""A comment at least this often tells the follower that the gateway is there."""
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class Tails:
    """Those who follow functions through this gateway."""

    def __init__(self, bus: port.Bus) -> None:
        self._bus = bus
        self._queues: set[asyncio.Queue[LogBatch | None]] = set()
        self._closed = False

    @property
    def routes(self) -> list[Route]:
        """The endpoint, for the application."""
        return [Route(PATH, self._endpoint, methods=["GET"])]

    def close(self) -> None:
        """End all streams, so that nobody's following keeps the gateway from stopping."""
        self._closed = True
        for queue in self._queues:
            while queue.full():
                queue.get_nowait()
            queue.put_nowait(None)

    async def _endpoint(self, request: Request) -> Response:
        function = request.query_params.get("fn", "")
        if not function:
            raise Refusal(400, "fn is required")
        if len(self._queues) >= _MOST or self._closed:
            raise errors.UnavailableError("too many follow functions here")
        if not self._bus.connected:
            raise errors.UnavailableError("the bus is not connected")
        subject = subjects.log(namespace=namespace(request), function=function)
        return StreamingResponse(self._follow(subject), media_type="text/event-stream", headers=_HEADERS)

    async def _follow(self, subject: str) -> AsyncGenerator[bytes]:
        queue: asyncio.Queue[LogBatch | None] = asyncio.Queue(_BATCHES)
        lost = 0

        def take(message: port.Message) -> None:
            nonlocal lost
            with suppress(codec.MalformedMessageError):  # a newer executor's
                batch = codec.decode(LogBatch, message.data)
                try:
                    queue.put_nowait(batch)
                except asyncio.QueueFull:
                    lost += len(batch.live_lines()) + batch.dropped

        subscription = await self._bus.subscribe(subject, take)
        self._queues.add(queue)
        try:
            yield b": following\n\n"
            while (batch := await _next(queue)) is not None:
                yield _events(batch) + _dropped(lost) if isinstance(batch, LogBatch) else b":\n\n"
                lost = 0
        finally:
            self._queues.discard(queue)
            with anyio.CancelScope(shield=True), suppress(errors.TemporaryError):
                await subscription.unsubscribe()


async def _next(queue: asyncio.Queue[LogBatch | None]) -> LogBatch | str | None:
    """Return what comes next, an empty text when nothing came for a while, None at the end."""
    try:
        async with asyncio.timeout(_BEAT_SECONDS):
            return await queue.get()
    except TimeoutError:
        return ""


def _events(batch: LogBatch) -> bytes:
    try:
        lines = batch.live_lines()
    except codec.MalformedMessageError:
        return b""
    events = [
        b"data: %b\n\n"
        % orjson.dumps(
            {
                "ms": line.ms,
                "level": logs.level(line.stream),
                "stream": line.stream,
                "name": batch.function,
                "version": batch.version,
                "execution": line.execution,
                "executor": batch.executor,
                "text": line.text,
            }
        )
        for line in lines
    ]
    return b"".join(events) + _dropped(batch.dropped)


def _dropped(lines: int) -> bytes:
    return b'event: dropped\ndata: {"lines":%d}\n\n' % lines if lines else b""
