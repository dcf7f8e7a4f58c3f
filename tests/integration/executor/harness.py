"""A whole executor on some bus, with the scripted guest as its runtimes, and the others' sides of the conversation."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from libs.bus import rpc, streams
from libs.bus.port import Bus, ObjectStore
from libs.clock import SystemClock
from libs.lifecycle import Service
from libs.messages import bundles, codec, subjects
from libs.messages.calls import CancelInvocation, Heartbeat, Invocation, Reply
from libs.messages.catalog import Bundle, BundleFile, FunctionEntry, Limits, Policy, VersionEntry
from libs.messages.executions import Execution, ExecutionBatch
from libs.messages.jobs import ClaimedJobs, ClaimJobs, JobEvent, Outcome, OutcomesRecorded, RecordOutcomes
from libs.secrets import KeyRing
from libs.telemetry.tracing import Tracing
from libs.testing.buses import Net
from libs.testing.wait import eventually
from services.executor.assembly import Executor, Parts, assemble
from services.executor.runtimes.base import Runtime
from services.executor.sandbox.base import Sandbox
from services.executor.sandbox.process import ProcessSandbox
from services.executor.settings import ExecutorSettings
from services.executor.workers.descriptor import GuestDescriptor
from tests.unit.executor.scripted import ScriptedRuntime

PATIENCE = 60.0
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SCRIPTS = ("well", "reads", "never-ready", "load-fails", "load-dies", "dies")


@dataclass(slots=True)
class Scheduler:
    """The scheduler's side: says yes to every claim unless told otherwise, keeps outcomes."""

    run: bool = True
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    claims: list[ClaimJobs] = field(default_factory=list[ClaimJobs])

    async def claim(self, request: ClaimJobs, _: str) -> ClaimedJobs:
        """Answer claims."""
        self.claims.append(request)
        return ClaimedJobs(run=tuple(self.run for _ in request.claims))

    async def record(self, request: RecordOutcomes, _: str) -> OutcomesRecorded:
        """Keep outcomes."""
        self.outcomes += request.outcomes
        return OutcomesRecorded(recorded=tuple(True for _ in request.outcomes))


class Platform:
    """An executor and everybody around it."""

    def __init__(self, net: Net, folder: Path) -> None:
        self.net = net
        self.folder = folder
        self.keys = KeyRing.parse(KeyRing.generate())
        self.scheduler = Scheduler()
        self.executions: list[Execution] = []
        self.heartbeats: list[Heartbeat] = []
        self.sandbox: Sandbox = ProcessSandbox()
        self.runtimes: Mapping[str, Runtime] = {script: ScriptedRuntime(script) for script in SCRIPTS}
        self.bundles: Callable[[ObjectStore], ObjectStore] = lambda store: store
        """What the executor has instead of the store of bundles."""
        self.budget_ms = int(PATIENCE * 1000)
        self.bus: Bus
        self.executor: Executor
        self.service: Service
        self._ids = itertools.count(1)

    @contextlib.asynccontextmanager
    async def running(self, *, max_workers: int = 4, **settings: float | bool) -> AsyncGenerator["Platform"]:
        """Run the executor."""
        numbers = {"drain_seconds": 5.0, "spares": 0, "max_body_bytes": 1 << 20, **settings}
        chosen = ExecutorSettings.model_validate({"data_dir": self.folder / "data", **numbers})
        self.bus = await self.net.connect("gateway")
        for stream in (streams.JOBS, streams.EVENTS):
            await self.bus.ensure_stream(stream)
        await self._listen()
        async with asyncio.TaskGroup() as tasks:
            server = rpc.Server(self.bus, "scheduler", tasks)
            await server.serve("claim", ClaimJobs, self.scheduler.claim)
            await server.serve("outcome", RecordOutcomes, self.scheduler.record)
            stack = contextlib.AsyncExitStack()
            self.service = Service("executor", tasks, stack)
            async with stack:
                self.executor = await assemble(self.service, await self._parts(chosen, max_workers))
                yield self
                self.service.stopping.set()
            self.service.cancel_loops()
            await server.stop()

    async def deploy(
        self,
        name: str = "echo",
        *,
        runtime: str = "well",
        files: Mapping[str, bytes] | None = None,
        env_sealed: bytes = b"",
        policy: Policy | None = None,
        limits: Limits | None = None,
        entrypoint: str = "handler.py",
        wait: bool = True,
    ) -> VersionEntry:
        """Deploy a function and wait until the executor knows it."""
        content = files or {"handler.py": name.encode()}
        bundle = Bundle(
            files=tuple(
                BundleFile(path=path, data=data, executable=data.startswith(b"\x7fELF"))
                for path, data in sorted(content.items())
            )
        )
        digest = bundles.bundle_digest(bundle)
        await (await self.bus.objects(subjects.BUNDLE_STORE)).put(digest, codec.encode(bundle))
        version = VersionEntry(
            label="default",
            digest=bundles.version_digest(
                bundle=digest,
                runtime=runtime,
                entrypoint=entrypoint,
                handler="handler",
                handler_style="native",
                env_sealed=env_sealed,
            ),
            bundle=digest,
            entrypoint=entrypoint,
            env_sealed=env_sealed,
            policy=policy or Policy(),
            limits=limits or Limits(),
        )
        await self.publish(name, runtime, version)
        if wait:
            await eventually(
                lambda: self.executor.catalogue.labelled(namespace="default", runtime=runtime, function=name, label="default")
            )
        return version

    async def publish(self, name: str, runtime: str, version: VersionEntry) -> None:
        """Put a function into the catalogue."""
        entry = FunctionEntry(
            namespace="default", runtime=runtime, name=name, revision=next(self._ids), source="folder", versions=(version,)
        )
        key = subjects.catalog_key(namespace="default", runtime=runtime, function=name)
        await (await self.bus.bucket(subjects.CATALOG_BUCKET)).put(key, codec.encode(entry))

    def invocation(self, version: VersionEntry, body: bytes = b"", **fields: object) -> Invocation:
        """Return a call."""
        known = {
            "id": f"req-{next(self._ids)}",
            "namespace": "default",
            "function": "echo",
            "runtime": "well",
            "version": "default",
            "digest": version.digest,
            "budget_ms": self.budget_ms,
            "head": b"{}",
            "body": body,
        }
        return Invocation(**(known | fields))  # pyright: ignore[reportArgumentType]  the record checks on the other side

    async def call(self, version: VersionEntry, body: bytes = b"", **fields: object) -> Reply:
        """Call a function."""
        return await self.send(self.invocation(version, body, **fields))

    async def send(self, call: Invocation) -> Reply:
        """Send an invocation as the gateway does and return the reply."""
        subject = subjects.invoke(runtime=call.runtime, namespace=call.namespace, function=call.function)
        message = await self.bus.request(subject, codec.encode(call), timeout=PATIENCE, traceparent=TRACEPARENT)
        return codec.decode(Reply, message.data)

    def cancel(self, request_id: str) -> None:
        """Tell executors that the caller went away."""
        self.bus.post(subjects.CANCEL_INVOCATION, codec.encode(CancelInvocation(id=request_id)))

    async def submit(
        self, job_id: str, body: bytes = b"", *, function: str = "echo", runtime: str = "well", **fields: object
    ) -> None:
        """Put an attempt of a job on the work queue."""
        known = {
            "job_id": job_id,
            "attempt": 1,
            "max_attempts": 3,
            "namespace": "default",
            "runtime": runtime,
            "function": function,
            "version": "default",
            "timeout_ms": int(PATIENCE * 1000),
            "head": b"{}",
            "body": body,
        }
        event = JobEvent(**(known | fields))  # pyright: ignore[reportArgumentType]  the record checks on the other side
        await self.queue(codec.encode(event), function=function, runtime=runtime)

    async def queue(self, data: bytes, *, function: str = "echo", runtime: str = "well") -> None:
        """Put bytes on the work queue."""
        subject = subjects.job(runtime=runtime, namespace="default", function=function)
        await self.bus.append(subject, data, traceparent=TRACEPARENT)

    async def outcome(self, job_id: str) -> Outcome:
        """Return the outcome of a job once the scheduler has it."""
        found = await eventually(lambda: [each for each in self.scheduler.outcomes if each.job_id == job_id], within=PATIENCE)
        return found[0]

    async def execution(self, id: str) -> Execution:  # noqa: A002  the record's own name for it
        """Return an execution once its record has been sent."""
        found = await eventually(lambda: [each for each in self.executions if each.id == id], within=PATIENCE)
        return found[0]

    async def _listen(self) -> None:
        def on_batch(data: bytes) -> None:
            self.executions += [row.execution() for row in codec.decode(ExecutionBatch, data).rows()]

        await self.bus.subscribe(subjects.EXECUTION_FINISHED, lambda message: on_batch(message.data))
        await self.bus.subscribe(
            subjects.HEARTBEAT, lambda message: self.heartbeats.append(codec.decode(Heartbeat, message.data))
        )

    async def _parts(self, chosen: ExecutorSettings, max_workers: int) -> Parts:
        bus = await self.net.connect("executor")
        return Parts(
            executor="executor-1",
            bus=bus,
            catalog=await bus.bucket(subjects.CATALOG_BUCKET),
            bundles=self.bundles(await bus.objects(subjects.BUNDLE_STORE)),
            bodies=await bus.objects(subjects.BODY_STORE, ttl_seconds=3600),
            runtimes=self.runtimes,
            sandbox=self.sandbox,
            descriptor=GuestDescriptor(),
            keys=self.keys,
            tracer=Tracing(),
            clock=SystemClock(),
            state=self.folder / "data" / "executor",
            max_workers=max_workers,
            settings=chosen,
        )
