"""Builds the scheduler: the only place that chooses its adapters."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

from libs import errors, lifecycle, processes, settings
from libs.bus import jetstream, rpc, streams
from libs.clock import SystemClock
from libs.lifecycle import Service
from libs.messages import subjects
from libs.storage import port
from libs.telemetry import ops, tracing
from services.scheduler import metrics
from services.scheduler.backlog import Backlog
from services.scheduler.catalogue import Catalogue
from services.scheduler.dead_letters import DeadLetterKeeper
from services.scheduler.dispatch import Dispatch
from services.scheduler.due import DueJobs
from services.scheduler.handlers import Handlers
from services.scheduler.publishing import Publisher
from services.scheduler.settings import SchedulerSettings
from services.scheduler.store import JobStore
from services.scheduler.ticks import Ticks

log = logging.getLogger(__name__)

_DUE_SECONDS = 0.25
_BACKLOG_SECONDS = 15.0
_SWEEP_SECONDS = 60.0
_PING_SECONDS = 1.0


def main() -> int:
    """Run the scheduler until it is told to stop; return the exit code."""
    chosen = settings.load(SchedulerSettings)
    return lifecycle.run("scheduler", chosen, partial(build, chosen))


async def build(chosen: SchedulerSettings, service: Service) -> None:
    """Connect, start everything, and push every undo on the service's stack."""
    replica = processes.replica_name()
    clock, keep = SystemClock(), timedelta(hours=chosen.job_keep_hours)
    tracer = tracing.connect(service="scheduler", endpoint=chosen.otlp_endpoint, replica=replica)
    service.stack.callback(tracer.close)
    bus = await jetstream.connect(
        url=chosen.nats_url, user=chosen.nats_user, password=chosen.nats_password.get_secret_value(), name="scheduler"
    )
    service.stack.push_async_callback(bus.close)
    database = await _database(chosen)
    service.stack.push_async_callback(database.close)
    store = JobStore(database)
    await store.prepare()
    for stream in (streams.JOBS, streams.EVENTS):
        await bus.ensure_stream(stream)
    bodies = await bus.objects(subjects.BODY_STORE, ttl_seconds=streams.BODY_TTL_SECONDS)

    catalogue, publisher = Catalogue(), Publisher(bus=bus, bodies=bodies)
    dispatch = Dispatch(
        bus=bus,
        store=store,
        catalogue=catalogue,
        publisher=publisher,
        bodies=bodies,
        tracer=tracer,
        clock=clock,
        keep=keep,
        replica=replica,
    )
    due = DueJobs(
        store=store,
        catalogue=catalogue,
        publisher=publisher,
        clock=clock,
        keep=keep,
        replica=replica,
        on_ended=dispatch.count,
    )
    ticks = Ticks(dispatch=dispatch, store=store, clock=clock, enabled=chosen.scheduler_enabled)
    letters = DeadLetterKeeper(store=store, clock=clock, keep=keep, tasks=service.tasks)
    backlog = Backlog(store=store, clock=clock)
    readiness = Readiness(bus, catalogue)

    bucket = await bus.bucket(subjects.CATALOG_BUCKET)
    service.spawn(catalogue.follow(bucket, ticks.take), name="catalogue watch")
    service.spawn(_every(_PING_SECONDS, partial(readiness.look, store)), name="store ping")
    service.spawn(_every(_DUE_SECONDS, due.publish), name="due jobs")
    service.spawn(_every(_SWEEP_SECONDS, lambda: store.sweep(clock.now())), name="expiry sweep")
    service.spawn(_every(_BACKLOG_SECONDS, backlog.look), name="backlog")
    service.spawn(ticks.run(), name="ticks")
    service.stack.push_async_callback((await letters.start(bus)).stop)
    server = rpc.Server(bus, "scheduler", service.tasks)
    handlers = Handlers(dispatch=dispatch, store=store, ticks=ticks, bodies=bodies, max_payload=bus.max_payload)
    await handlers.serve(server)
    service.stack.push_async_callback(server.stop)
    figures = metrics.registry(
        metrics.SchedulerCollector(bus=bus, dispatch=dispatch, ticks=ticks, letters=letters, backlog=backlog)
    )
    app = ops.OpsApp(service="scheduler", readiness=readiness.missing, metrics=figures)
    await ops.serve(service, app, host=chosen.ops_host, port=chosen.ops_port)


class Readiness:
    """What is missing before the scheduler can do its work."""

    def __init__(self, bus: jetstream.JetStreamBus, catalogue: Catalogue) -> None:
        self._bus = bus
        self._catalogue = catalogue
        self._store_error = "not asked yet"

    async def look(self, store: JobStore) -> None:
        """Ask the store whether it is there."""
        try:
            await store.ping()
            self._store_error = ""
        except errors.UnavailableError as error:
            self._store_error = str(error)

    def missing(self) -> str:
        """Return what is missing, empty when nothing is."""
        if not self._bus.connected:
            return "the bus cannot be reached"
        if self._store_error:
            return f"the store does not answer: {self._store_error}"
        return "" if self._catalogue.complete.is_set() else "the catalogue has not been read yet"


async def _database(chosen: SchedulerSettings) -> port.Store:
    url = chosen.mongo_url.get_secret_value()
    if url:
        from libs.storage.mongo import MongoStore  # an embedded platform runs without the driver

        return await MongoStore.open(url, database="fnbus_scheduler")
    from libs.storage.sqlite import SqliteStore

    return await SqliteStore.open(chosen.data_dir / "scheduler.sqlite3")


async def _every(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Do `work` again and again; a temporary fault is logged once and waited out."""
    failing = False
    while True:
        try:
            await work()
            failing = False
        except errors.TemporaryError as error:
            if not failing:
                log.warning("background work waits: %s", error, extra={"action": "background_deferred"})
            failing = True
        await asyncio.sleep(seconds)
