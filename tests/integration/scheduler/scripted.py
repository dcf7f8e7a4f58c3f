"""Schedulers on a bus and a store in memory, and an executor that does as it is told."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from libs.bus import port, rpc
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.bus.port import ConsumerSpec
from libs.clock import SystemClock
from libs.messages import codec, subjects
from libs.messages.catalog import FunctionEntry, KeepWarm, Policy, RouteEntry, Schedule, VersionEntry
from libs.messages.jobs import (
    Claim,
    ClaimedJobs,
    ClaimJobs,
    JobEvent,
    JobRequest,
    Outcome,
    OutcomesRecorded,
    RecordOutcomes,
    SubmitJob,
)
from libs.storage.memory import MemoryStore
from libs.telemetry.tracing import Tracing
from services.scheduler.catalogue import Catalogue
from services.scheduler.dead_letters import DeadLetterKeeper
from services.scheduler.dispatch import Dispatch
from services.scheduler.due import DueJobs
from services.scheduler.handlers import Handlers
from services.scheduler.publishing import Publisher
from services.scheduler.store import JobStore
from services.scheduler.ticks import Ticks

type Answer = Callable[[JobEvent], Outcome]


@dataclass(kw_only=True)
class Platform:
    """Broker and store that the replicas of a test share."""

    broker: MemoryBroker
    tasks: asyncio.TaskGroup
    database: MemoryStore = field(default_factory=MemoryStore)
    stops: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    async def scheduler(self, *, enabled: bool = True) -> "Replica":
        """Start a replica; `enabled`: whether schedules fire."""
        bus = MemoryBus(self.broker)
        store = JobStore(self.database)
        await store.prepare()
        bodies = await bus.objects(subjects.BODY_STORE)
        catalogue, publisher = Catalogue(), Publisher(bus=bus, bodies=bodies)
        clock = SystemClock()
        dispatch = Dispatch(
            bus=bus,
            store=store,
            catalogue=catalogue,
            publisher=publisher,
            bodies=bodies,
            tracer=Tracing(),
            clock=clock,
            keep=timedelta(hours=1),
            replica="test",
        )
        ticks = Ticks(dispatch=dispatch, store=store, clock=clock, enabled=enabled)
        due = DueJobs(
            store=store,
            catalogue=catalogue,
            publisher=publisher,
            clock=clock,
            keep=timedelta(hours=1),
            replica="test",
            on_ended=dispatch.count,
        )
        replica = Replica(bus=bus, store=store, dispatch=dispatch, due=due, ticks=ticks)

        async def publish() -> None:
            while True:
                await due.publish()
                await asyncio.sleep(0.01)

        bucket = await bus.bucket(subjects.CATALOG_BUCKET)
        for name, loop in (("watch", catalogue.follow(bucket, ticks.take)), ("due", publish()), ("ticks", ticks.run())):
            replica.loops.append(self.tasks.create_task(loop, name=name))
        self.stops.append(replica.kill)
        keeper = DeadLetterKeeper(store=store, clock=clock, keep=timedelta(hours=1), tasks=self.tasks)
        await keeper.start(bus)
        replica.server = rpc.Server(bus, "scheduler", self.tasks)
        handlers = Handlers(dispatch=dispatch, store=store, ticks=ticks, bodies=bodies, max_payload=bus.max_payload)
        await handlers.serve(replica.server)
        await catalogue.complete.wait()
        return replica

    async def deploy(
        self,
        name: str = "hello",
        *,
        schedule: Schedule | None = None,
        timeout_ms: int = 2500,
        keep_warm: KeepWarm = KeepWarm(),  # noqa: B008  a frozen record
    ) -> None:
        """Put a function into the catalogue."""
        version = VersionEntry(
            label="default",
            digest="d",
            bundle="b",
            entrypoint="handler.py",
            policy=Policy(timeout_ms=timeout_ms, keep_warm=keep_warm),
            schedule=schedule,
        )
        entry = FunctionEntry(
            namespace="default",
            runtime="python",
            name=name,
            revision=1,
            source="folder",
            versions=(version,),
            routes=(RouteEntry(pattern=f"/{name}", methods=("GET",)),),
        )
        bucket = await MemoryBus(self.broker).bucket(subjects.CATALOG_BUCKET)
        await bucket.put(subjects.catalog_key(namespace="default", runtime="python", function=name), codec.encode(entry))

    async def executor(self, answer: Answer) -> "Executor":
        """Start an executor that answers every event by `answer`."""
        executor = Executor(MemoryBus(self.broker), self.tasks, answer)
        await executor.start()
        return executor


@dataclass(kw_only=True)
class Replica:
    """One scheduler."""

    bus: port.Bus
    store: JobStore
    dispatch: Dispatch
    due: DueJobs
    ticks: Ticks
    server: rpc.Server | None = None
    loops: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    def kill(self) -> None:
        """End its loops without a word."""
        for loop in self.loops:
            loop.cancel()


class Executor:
    """Pulls, claims, answers and acknowledges, as the real one does."""

    def __init__(self, bus: port.Bus, tasks: asyncio.TaskGroup, answer: Answer) -> None:
        self.bus = bus
        self.tasks = tasks
        self.answer = answer
        self.runs: list[JobEvent] = []
        self.dropped = 0
        self.consumer: port.Consumer | None = None

    async def start(self) -> None:
        spec = ConsumerSpec(
            stream=subjects.JOBS_STREAM,
            name=subjects.job_consumer(runtime="python"),
            filter=subjects.job_all(runtime="python"),
            ack_wait_seconds=5,
        )
        self.consumer = await self.bus.consume(spec, self._on_delivery)
        self.consumer.pull(64)

    def _on_delivery(self, delivery: port.Delivery) -> None:
        self.tasks.create_task(self._run(delivery))

    async def _run(self, delivery: port.Delivery) -> None:
        event = codec.decode(JobEvent, delivery.data)
        claim = Claim(job_id=event.job_id, attempt=event.attempt, sequence=delivery.sequence)
        wanted = ClaimJobs(executor="e", claims=(claim,))
        claimed = await rpc.call(self.bus, subjects.rpc("scheduler", "claim"), wanted, ClaimedJobs)
        if claimed.run[0]:
            self.runs.append(event)
            outcome = replace(self.answer(event), sequence=delivery.sequence)
            report = RecordOutcomes(executor="e", outcomes=(outcome,))
            await rpc.call(self.bus, subjects.rpc("scheduler", "outcome"), report, OutcomesRecorded)
        else:
            self.dropped += 1
        await delivery.ack()
        assert self.consumer is not None
        self.consumer.pull(1)


def submission(name: str = "hello", *, max_attempts: int = 1, retry_delay_ms: int = 10, body: bytes = b"") -> SubmitJob:
    request = JobRequest(namespace="default", runtime="python", function=name, route=f"/{name}", body=body)
    return SubmitJob(request=request, max_attempts=max_attempts, retry_delay_ms=retry_delay_ms)
