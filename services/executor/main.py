"""Builds the executor: the only place that chooses its adapters."""

import asyncio
import logging
import resource
from collections.abc import Collection
from functools import partial

from libs import lifecycle, processes, settings
from libs.bus import jetstream, streams
from libs.bus.port import Bus
from libs.clock import SystemClock
from libs.lifecycle import Service
from libs.messages import subjects
from libs.secrets import KeyRing
from libs.telemetry import ops, tracing
from services.executor import metrics
from services.executor.assembly import Executor, Parts, assemble
from services.executor.runtimes import installed
from services.executor.runtimes.base import Runtime
from services.executor.sandbox.choice import choose
from services.executor.settings import ExecutorSettings, fenced, programs, worker_limit
from services.executor.workers.descriptor import GuestDescriptor

log = logging.getLogger(__name__)


def main() -> int:
    """Run the executor until it is told to stop; return the exit code."""
    chosen = settings.load(ExecutorSettings)
    descriptor = GuestDescriptor()  # first, while low numbers are free
    return lifecycle.run("executor", chosen, partial(build, chosen, descriptor))


async def build(chosen: ExecutorSettings, descriptor: GuestDescriptor, service: Service) -> None:
    """Connect, start everything, and push every undo on the service's stack."""
    name = processes.replica_name()
    _allow_open_files()
    state = (chosen.data_dir / "executor").absolute()
    sandbox = await choose(chosen.isolation, state=state, fenced_ports=fenced(chosen))
    service.stack.callback(sandbox.close)
    runtimes = await present(installed.runtimes(programs(chosen)), served=chosen.runtimes)
    tracer = tracing.connect(service="executor", endpoint=chosen.otlp_endpoint, replica=name)
    service.stack.callback(tracer.close)
    bus = await jetstream.connect(
        url=chosen.nats_url, user=chosen.nats_user, password=chosen.nats_password.get_secret_value(), name="executor"
    )
    service.stack.push_async_callback(bus.close)
    for stream in (streams.JOBS, streams.EVENTS):
        await bus.ensure_stream(stream)
    parts = Parts(
        executor=name,
        bus=bus,
        catalog=await bus.bucket(subjects.CATALOG_BUCKET),
        bundles=await bus.objects(subjects.BUNDLE_STORE, projected=True),
        bodies=await bus.objects(subjects.BODY_STORE, ttl_seconds=streams.BODY_TTL_SECONDS),
        runtimes=runtimes,
        sandbox=sandbox,
        descriptor=descriptor,
        keys=_keys(chosen),
        tracer=tracer,
        clock=SystemClock(),
        state=state,
        max_workers=worker_limit(chosen),
        settings=chosen,
    )
    executor = await assemble(service, parts)
    figures = metrics.registry(executor.collector)
    app = ops.OpsApp(service="executor", readiness=partial(missing, bus, executor), metrics=figures)
    await ops.serve(service, app, host=chosen.ops_host, port=chosen.ops_port)
    log.info(
        "runs %s, at most %d workers, isolation: %s",
        ", ".join(runtimes) or "nothing",
        parts.max_workers,
        sandbox.features,
        extra={"action": "executor_ready", "executor": name, "isolation": sandbox.name, "features": sandbox.features},
    )


async def present(known: tuple[Runtime, ...], *, served: Collection[str] = ()) -> dict[str, Runtime]:
    """Return the runtimes that this machine has and that are served (empty: all), by name; say how to get those it lacks."""
    found: dict[str, Runtime] = {}
    known = tuple(each for each in known if not served or each.name in served)
    for runtime, availability in zip(known, await asyncio.gather(*(each.probe() for each in known)), strict=True):
        if availability.present:
            found[runtime.name] = runtime
        else:
            log.warning(
                "runtime %s is missing: %s",
                runtime.name,
                availability.hint,
                extra={"action": "runtime_missing", "runtime": runtime.name},
            )
    return found


def missing(bus: Bus, executor: Executor) -> str:
    """Return what is missing before calls can be taken, empty when nothing is."""
    if not bus.connected:
        return "the bus cannot be reached"
    return "" if executor.catalogue.complete.is_set() else "the catalogue has not been read yet"


def _keys(chosen: ExecutorSettings) -> KeyRing | None:
    text = chosen.secret_keys.get_secret_value()
    return KeyRing.parse(text) if text else None


def _allow_open_files() -> None:
    """Use what the system allows: each worker has four descriptors here."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
