"""The gateway's parts put together, whatever the bus."""

import asyncio
import logging
import socket
import time
from dataclasses import dataclass

import uvicorn
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from libs import runtime_names
from libs.bus import port
from libs.clock import Clock, SystemClock
from libs.lifecycle import Service
from libs.outbound.client import Client
from libs.telemetry.ops import EmbeddedServer, OpsApp
from libs.telemetry.tracing import Tracing
from services.gateway.app import create_app
from services.gateway.calls import Caller
from services.gateway.catalogue import Catalogue
from services.gateway.connection import Connection
from services.gateway.desk import Desk
from services.gateway.dialects.fastfn.docs import Docs
from services.gateway.dialects.fastfn.login import Logins
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.tails import Tails
from services.gateway.edge import Edge
from services.gateway.executors import Executors
from services.gateway.fastpath import FastPath
from services.gateway.forwarding import Forwarding
from services.gateway.front.front import Front, Terms
from services.gateway.front.listing import Listing
from services.gateway.guard.board import Board
from services.gateway.guard.credentials import Verifier, credentials_of, text_of
from services.gateway.guard.gate import Guard, Rates
from services.gateway.guard.rates import Rate
from services.gateway.ledger import Ledger
from services.gateway.metrics import GatewayCollector, Meter
from services.gateway.requests import Origin
from services.gateway.routing.index import RUNTIME_ORDER
from services.gateway.settings import GatewaySettings

log = logging.getLogger(__name__)

_FIRST_CATALOGUE_SECONDS = 2.0
_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway that serves."""

    edge: Edge
    """Its ASGI application."""
    fast: FastPath | None
    """What takes plain calls out before they get there."""
    catalogue: Catalogue
    executors: Executors
    caller: Caller
    tails: Tails
    front: Front
    port: int
    """Where it listens."""


async def start(
    service: Service,
    bus: port.Bus,
    settings: GatewaySettings,
    tracer: Tracing,
    *,
    clock: Clock | None = None,
    fast: bool = True,
) -> Gateway:
    """Start a gateway as a part of `service`; what it started is undone by the service's stack.

    Args:
        service: whose part it is.
        bus: where executors, registry and scheduler are.
        settings: of the gateway.
        tracer: for the spans of calls.
        clock: to tell which executors are alive; the machine's by default.
        fast: False: plain calls go the long way as well, for tests that the two are alike.

    Raises:
        errors.PermanentError: the address cannot be bound, or a file with a secret cannot be read.
    """
    # First, for what a file says may be wrong, and nothing runs yet that would have to be stopped.
    verifier = Verifier(credentials_of(settings))
    board = Board(
        bus,
        clock=clock or SystemClock(),
        flags=settings.flags,
        secret=text_of(settings.console_session_secret, settings.console_session_secret_file, "SESSION_SECRET"),
    )
    served = [name for name in settings.runtimes if name in runtime_names.known()]
    catalogue = Catalogue(max_body_bytes=settings.max_body_bytes, runtime_order=served or RUNTIME_ORDER)
    executors = Executors(clock or SystemClock())
    caller = Caller(bus, service.tasks, lost=executors.lost)
    meter = Meter()
    outbound = Client(verify_tls=settings.http_verify_tls)
    service.stack.push_async_callback(outbound.close)
    forwarding = Forwarding(outbound)
    front = Front(bus, _terms(settings), listed=Listing(catalogue).routes)
    catalogue.tell(front.take)
    service.spawn(front.follow(), name="home pages and files")
    origin = Origin(settings.trusted_proxies)
    for subscription in (await executors.start(bus), await caller.start()):
        service.stack.push_async_callback(subscription.unsubscribe)
    service.stack.callback(caller.stop)
    service.spawn(caller.run(), name="call sweep")
    service.spawn(catalogue.follow(bus), name="catalogue")
    service.spawn(board.follow(), name="sessions and switches")

    metrics = CollectorRegistry()
    ProcessCollector(registry=metrics)
    PlatformCollector(registry=metrics)
    GCCollector(registry=metrics)
    metrics.register(
        GatewayCollector(
            meter=meter,
            gates=catalogue.gates.called,
            gone=catalogue.gates.gone,
            in_flight=lambda: caller.in_flight,
            late=lambda: caller.late_replies,
            bus_connected=lambda: bus.connected,
            functions=lambda: len(catalogue.table.names),
        )
    )
    plane = Plane(
        bus=bus,
        catalogue=catalogue,
        executors=executors,
        caller=caller,
        forwarding=forwarding,
        tracer=tracer,
        max_body_bytes=settings.max_body_bytes,
        jobs_enabled=settings.jobs_enabled,
    )
    tails = Tails(bus)
    failures = _failures(settings)
    docs = Docs(
        catalogue=catalogue,
        origin=origin,
        enabled=settings.docs_enabled,
        include_internal=settings.openapi_include_internal,
        public_base_url=settings.public_base_url,
    )
    control = create_app(
        plane=plane,
        tails=tails,
        docs=docs,
        ops=OpsApp(service="gateway", readiness=plane.missing, metrics=metrics),
        guard=_guard(settings, origin, board, failures),
        logins=Logins(
            board=board,
            verifier=verifier,
            failures=failures,
            origin=origin,
            seconds=settings.console_session_ttl_s,
        ),
    )
    desk = Desk(
        table=catalogue.table,
        caller=caller,
        origin=origin,
        ledger=Ledger(meter=meter, tracer=tracer, journal=plane.journal),
        forwarding=forwarding,
        front=front,
        max_in_flight=settings.max_in_flight,
    )
    short = FastPath(desk, service.tasks) if fast else None
    edge = Edge(desk=desk, fast=short, control=control)
    await _first_catalogue(catalogue)
    server = EmbeddedServer(
        uvicorn.Config(
            edge,
            host=settings.http_host,
            port=settings.http_port,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, int(settings.drain_seconds)),
        )
    )
    await server.start(service)
    service.stack.callback(tails.close)
    log.info("listening", extra={"action": "listening", "host": settings.http_host, "port": server.bound_port})
    return Gateway(
        edge=edge,
        fast=short,
        catalogue=catalogue,
        executors=executors,
        caller=caller,
        tails=tails,
        front=front,
        port=server.bound_port,
    )


def _failures(settings: GatewaySettings) -> Rate:
    """Return the counter of logins that fail."""
    return Rate(
        limit=settings.console_login_rate_limit_max,
        seconds=settings.console_login_rate_limit_window_s,
        now=time.monotonic,
    )


def _guard(settings: GatewaySettings, origin: Origin, board: Board, failures: Rate) -> Guard:
    """Return who may use the control plane."""
    window, now = settings.console_rate_limit_window_s, time.monotonic
    return Guard(
        origin=origin,
        admin_token=settings.admin_token.get_secret_value(),
        flags=lambda: board.flags,
        set_flags=settings.flags,
        user_of=board.user,
        rates=Rates(
            reads=Rate(limit=settings.console_rate_limit_max, seconds=window, now=now),
            writes=Rate(limit=settings.console_write_rate_limit_max, seconds=window, now=now),
            failures=failures,
        ),
        names=(socket.gethostname(),),
    )


def _terms(settings: GatewaySettings) -> Terms:
    return Terms(
        home_function=settings.home_function,
        home_redirect=settings.home_redirect,
        landing_page=settings.landing_page,
        docs=settings.docs_enabled,
        max_asset_bytes=settings.max_asset_bytes,
        cache_bytes=settings.asset_cache_bytes,
    )


async def _first_catalogue(catalogue: Catalogue) -> None:
    """Wait a little for the catalogue, so that a restarted gateway knows its routes when it starts to listen."""
    try:
        async with asyncio.timeout(_FIRST_CATALOGUE_SECONDS):
            await catalogue.complete.wait()
    except TimeoutError:
        log.warning("starting without a catalogue", extra={"action": "catalog_late"})
