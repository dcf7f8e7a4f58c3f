"""The executor put together from its parts, whatever adapters these are, and taken apart in the right order."""

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from libs.bus.port import Bucket, Bus, ObjectStore
from libs.clock import Clock
from libs.lifecycle import Service
from libs.secrets import KeyRing
from libs.telemetry.tracing import Tracing
from services.executor.builds import building
from services.executor.calls import boot
from services.executor.calls.bodies import Bodies
from services.executor.calls.boot import Boot
from services.executor.calls.consumer import CallConsumer
from services.executor.calls.dispatch import Dispatch
from services.executor.calls.live import LiveLogs
from services.executor.calls.records import Records
from services.executor.catalogue import Catalogue, Known
from services.executor.disk.bundles import Bundles
from services.executor.heartbeat import Pulse
from services.executor.jobs.jobs import JobConsumer
from services.executor.metrics import ExecutorCollector
from services.executor.pool.slots import Limits
from services.executor.profile import of_version
from services.executor.runtimes.base import Runtime
from services.executor.sandbox.base import Sandbox
from services.executor.settings import ExecutorSettings, allowed, idle_seconds, memory_budget
from services.executor.workers import guests
from services.executor.workers.descriptor import GuestDescriptor
from services.executor.workers.guests import Guests
from services.executor.workers.places import Places
from services.executor.workers.shelves import Kind
from services.executor.workers.spares import Spares
from services.executor.workers.watchdog import Watchdog

_CORES_BOOTING = 2
"""Processes that boot at the same time, for each core."""
_CORES_COMPUTING = 1
"""Workers of a version whose handlers only compute, for each core: with more of them each call wakes a process that could have
had two, on a cold cache."""
_LEAST_COMPUTING = 2
"""One gets its next call while another runs."""
_MOST_SPARES = 100
_SPARE_PART = 8
"""Spares may use one such part of the memory for workers."""
_QUIET_PART = 32
"""And such a part although there was no burst; at least `_QUIET_BYTES`, which holds enough of one language."""
_QUIET_BYTES = 160 * 1024 * 1024
_CATALOG_SECONDS = 60.0
_LAST_OUTCOMES_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an executor is made of."""

    executor: str
    """Its id."""
    bus: Bus
    catalog: Bucket
    bundles: ObjectStore
    bodies: ObjectStore
    runtimes: Mapping[str, Runtime]
    """Those that were found on this machine, by name."""
    sandbox: Sandbox
    descriptor: GuestDescriptor
    keys: KeyRing | None
    tracer: Tracing
    clock: Clock
    state: Path
    max_workers: int
    settings: ExecutorSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """A running executor, as operators and tests see it."""

    dispatch: Dispatch
    catalogue: Catalogue
    records: Records
    jobs: JobConsumer
    collector: ExecutorCollector


class _Undo:
    """The end of an executor: intake stops first, workers last."""

    def __init__(
        self, *, pulse: Pulse, calls: CallConsumer, jobs: JobConsumer, dispatch: Dispatch, records: Records, seconds: float
    ) -> None:
        self._pulse = pulse
        self._calls = calls
        self._jobs = jobs
        self._dispatch = dispatch
        self._records = records
        self._seconds = seconds

    async def __call__(self) -> None:
        """Drain: no more work, finish what runs, hand back the rest."""
        deadline = time.monotonic() + self._seconds
        self._pulse.stop()
        await self._calls.stop()
        await self._jobs.stop()
        await self._dispatch.drain(self._seconds)
        await self._jobs.close(max(deadline - time.monotonic(), _LAST_OUTCOMES_SECONDS))
        await self._records.flush()
        await self._calls.close()


async def assemble(service: Service, parts: Parts) -> Executor:
    """Start an executor and push its end on the service's stack."""
    chosen, bus, tasks = parts.settings, parts.bus, service.tasks
    cores = _cores()
    bundles = Bundles(store=parts.bundles, folder=parts.state / "bundles", tasks=tasks)
    records = Records(bus=bus, executor=parts.executor)
    logs = LiveLogs(bus=bus, executor=parts.executor)
    site = building.Site(
        executor=parts.executor,
        bus=bus,
        bundles=bundles,
        runtimes=parts.runtimes,
        isolation=parts.sandbox.name,
        state=parts.state,
        settings=chosen,
    )
    layers = await building.start(service, site)

    def on_new(known: Known) -> None:
        if known.key.runtime in parts.runtimes:
            bundles.use(known.version.bundle)
            layers.use(known.version.layer)
            spares.use(Kind(known.key.runtime, of_version(known.version)))
            dispatch.warm(known)

    def relieve(missing_bytes: int) -> None:
        dispatch.relieve(missing_bytes)

    def on_gone(known: Known) -> None:
        dispatch.pool.retire(known.key)
        if known.key.runtime in parts.runtimes:
            bundles.disuse(known.version.bundle)
            layers.disuse(known.version.layer)
            spares.disuse(Kind(known.key.runtime, of_version(known.version)))

    catalogue = Catalogue(clock=parts.clock, on_new=on_new, on_gone=on_gone, idle_seconds=idle_seconds(chosen))
    places = await asyncio.to_thread(Places, parts.state / "workers")
    service.stack.callback(places.close)
    booting = Guests(
        runtimes=parts.runtimes,
        sandbox=parts.sandbox,
        descriptor=parts.descriptor,
        places=places,
        bounds=guests.Bounds(
            ready_seconds=chosen.ready_seconds,
            max_body_bytes=chosen.max_body_bytes,
            max_booting=_CORES_BOOTING * cores,
            visible=allowed(chosen),
        ),
    )
    budget = memory_budget(chosen)
    spares = Spares(
        guests=booting,
        tasks=tasks,
        each=chosen.spares,
        most=_MOST_SPARES,
        at_once=cores,
        room=lambda: min(dispatch.pool.room_bytes, budget // _SPARE_PART),
        quiet=lambda: not dispatch.unfinished,
        quiet_bytes=max(budget // _QUIET_PART, _QUIET_BYTES),
    )
    watchdog = Watchdog(on_pressure=relieve, headroom=parts.sandbox.headroom_bytes)
    dispatch = Dispatch(
        spares=spares,
        tasks=tasks,
        executor=parts.executor,
        limits=Limits(
            max_workers=parts.max_workers,
            memory_bytes=budget,
            max_waiting=chosen.max_waiting,
            max_waiting_per_version=max(chosen.max_waiting // 2, 1),
            max_starting=_CORES_BOOTING * cores,
            max_computing=max(_CORES_COMPUTING * cores, _LEAST_COMPUTING),
            idle_seconds=chosen.idle_seconds,
        ),
        boot=Boot(
            spares=spares,
            watchdog=watchdog,
            bundles=bundles,
            layers=layers,
            keys=parts.keys,
            bounds=boot.Bounds(load_seconds=chosen.load_seconds, max_body_bytes=chosen.max_body_bytes),
        ),
        catalogue=catalogue,
        record=records.add,
        logs=logs,
        tracer=parts.tracer,
        max_body_bytes=chosen.max_body_bytes,
    )
    kept = Bodies(bus=bus, store=parts.bodies)
    calls = CallConsumer(bus=bus, tasks=tasks, executor=parts.executor, dispatch=dispatch, bodies=kept)
    jobs = JobConsumer(
        bus=bus,
        tasks=tasks,
        executor=parts.executor,
        dispatch=dispatch,
        catalogue=catalogue,
        bodies=kept,
        clock=parts.clock,
        slots=chosen.job_slots,
    )
    names = tuple(parts.runtimes)
    pulse = Pulse(
        bus=bus,
        executor=parts.executor,
        runtimes=names,
        isolation=parts.sandbox.name,
        dispatch=dispatch,
        limit=parts.max_workers,
    )
    service.spawn(catalogue.follow(parts.catalog), name="catalogue watch")
    service.spawn(records.run(), name="execution records")
    service.stack.callback(logs.flush)
    service.spawn(watchdog.run(), name="watchdog")
    service.stack.push_async_callback(
        _Undo(pulse=pulse, calls=calls, jobs=jobs, dispatch=dispatch, records=records, seconds=chosen.drain_seconds)
    )
    async with asyncio.timeout(_CATALOG_SECONDS):
        await catalogue.complete.wait()
    await bundles.tidy()
    await layers.tidy()
    await calls.start(names)
    if chosen.job_slots:
        await jobs.start(names)
        service.spawn(jobs.keep_alive(), name="jobs in progress")
    service.spawn(pulse.run(), name="heartbeat")
    collector = ExecutorCollector(bus=bus, dispatch=dispatch, calls=calls, jobs=jobs, records=records, logs=logs)
    return Executor(dispatch=dispatch, catalogue=catalogue, records=records, jobs=jobs, collector=collector)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
