"""The endpoints that operators and orchestrators ask: `/healthz`, `/readyz`, `/metrics`.

A plain ASGI application without a framework, so that services without an HTTP API need none. The gateway serves the same
three on its own port.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from libs import errors
from libs.lifecycle import Service

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
type Readiness = Callable[[], str]
"""Returns what is missing, in words; empty when the service can do its work."""

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 5

PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


class OpsApp:
    """Answers the three operator endpoints of a service."""

    def __init__(self, *, service: str, readiness: Readiness, metrics: CollectorRegistry) -> None:
        self._service = service
        self._readiness = readiness
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
        status, kind, body = self.answer(scope["path"], accept=accept.decode("latin-1"))
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def answer(self, path: str, *, accept: str = "") -> tuple[int, bytes, bytes]:
        """Return status, content type and body for a path; figures with examples for those who accept OpenMetrics."""
        if path == "/metrics":
            encode, kind = choose_encoder(accept)
            return 200, kind.encode(), encode(self._metrics)
        if path == "/healthz":
            return 200, b"application/json", orjson.dumps({"status": "ok", "service": self._service})
        if path == "/readyz":
            missing = self._readiness()
            state = {"status": "not ready", "reason": missing} if missing else {"status": "ready"}
            return (503 if missing else 200), b"application/json", orjson.dumps(state | {"service": self._service})
        return 404, b"application/json", b'{"error":"not found"}'


async def serve(service: Service, app: OpsApp, *, host: str, port: int) -> None:
    """Serve the endpoints until the service stops.

    Raises:
        errors.PermanentError: the address cannot be bound.
    """
    server = EmbeddedServer(uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False, lifespan="off"))
    await server.start(service)


class EmbeddedServer(uvicorn.Server):
    """A uvicorn server that is a part of a service: the service owns signals, start and stop."""

    async def start(self, service: Service) -> None:
        """Bind, serve in a task of the service, and push the undo on its stack.

        Raises:
            errors.PermanentError: the address cannot be bound; its text names address and reason.
        """
        config = self.config
        if not config.loaded:
            config.load()
        self.lifespan = config.lifespan_class(config)
        try:
            await self.startup()
        except SystemExit:
            raise errors.PermanentError(f"cannot listen on {config.host}:{config.port}: in use or not allowed") from None
        service.spawn(self.main_loop(), name=f"http server {config.port}")
        service.stack.push_async_callback(self._stop)

    @property
    def bound_port(self) -> int:
        """The port that was bound; useful when 0 was asked for."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    async def _stop(self) -> None:
        self.should_exit = True
        allowed = self.config.timeout_graceful_shutdown or _CLOSE_SECONDS
        try:
            async with asyncio.timeout(allowed + 1):  # uvicorn's own patience first: it cancels and says so
                await self.shutdown()
        except TimeoutError:
            log.warning("connections are still open after %s s", allowed, extra={"action": "connections_dropped"})
