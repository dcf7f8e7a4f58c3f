"""Stand-ins for whole services, on the bus like the real ones: an executor, a scheduler, a catalogue without a registry.

They are for tests of what talks to those services. Each subscribes and answers exactly where the real one does.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from libs import errors
from libs.bus import port, rpc
from libs.messages import calls, codec, jobs, subjects
from libs.messages.catalog import CatalogMeta, FunctionEntry, Policy, RouteEntry, VersionEntry

type Behaviour = Callable[[calls.Invocation], calls.Reply | None]
"""What a fake executor replies to a call; None: nothing at all."""


def answer(body: bytes = b'{"ok":true}', *, status: int = 200, head: bytes | None = None, cold: bool = False) -> calls.Reply:
    """Return the reply of a guest that answered; `head` is JSON by default."""
    head = b'[["content-type","application/json"]]' if head is None else head
    return calls.Reply(
        kind=calls.ReplyKind.ANSWER, executor="fake", status=status, head=head, body=body, cold=cold, run_us=1500
    )


class FakeExecutor:
    """Takes calls of some runtimes and replies as it is told."""

    def __init__(
        self, bus: port.Bus, behaviour: Behaviour | None = None, *, runtimes: tuple[str, ...] = ("python", "node")
    ) -> None:
        self.behaviour: Behaviour = behaviour or (lambda _: answer())
        self.invocations: list[calls.Invocation] = []
        self.traceparents: list[str] = []
        self.canceled: list[str] = []
        self.reply_to: list[str] = []
        self.reads = False
        """Whether its handlers read bodies by and by; otherwise it has such calls sent again with the whole body."""
        self.declined = 0
        """How many it has had sent again."""
        self._bus = bus
        self._runtimes = runtimes
        self._subscriptions: list[port.Subscription] = []

    async def start(self) -> None:
        """Listen for calls and cancels, and say so with one heartbeat."""
        for runtime in self._runtimes:
            subscription = await self._bus.subscribe(subjects.invoke_all(runtime), self._on_call, queue=subjects.EXECUTORS)
            self._subscriptions.append(subscription)
        self._subscriptions.append(await self._bus.subscribe(subjects.CANCEL_INVOCATION, self._on_cancel))
        await self.beat()

    async def beat(self) -> None:
        """Send a heartbeat."""
        heartbeat = calls.Heartbeat(
            executor="fake", runtimes=self._runtimes, isolation="process", workers=1, busy=0, waiting=0, limit=4
        )
        await self._bus.publish(subjects.HEARTBEAT, codec.encode(heartbeat))

    async def stop(self) -> None:
        """Listen no more."""
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        self._subscriptions.clear()

    def reply(self, at: int, reply: calls.Reply) -> None:
        """Reply late to the call number `at`."""
        self._bus.post(self.reply_to[at], codec.encode(reply))

    def _on_call(self, message: port.Message) -> None:
        invocation = codec.decode(calls.Invocation, message.data)
        if invocation.body_from and not self.reads:
            self.declined += 1
            self._bus.post(message.reply, codec.encode(calls.Reply(kind=calls.ReplyKind.WHOLE, executor="fake")))
            return
        self.invocations.append(invocation)
        self.traceparents.append(message.traceparent)
        self.reply_to.append(message.reply)
        reply = self.behaviour(invocation)
        if reply is not None:
            self._bus.post(message.reply, codec.encode(reply))

    def _on_cancel(self, message: port.Message) -> None:
        self.canceled.append(codec.decode(calls.CancelInvocation, message.data).id)


class FakeScheduler:
    """Keeps jobs in memory and never runs them; tests set their state."""

    def __init__(self, bus: port.Bus, tasks: asyncio.TaskGroup) -> None:
        self.jobs: dict[str, jobs.JobView] = {}
        self.results: dict[str, jobs.JobResult] = {}
        self.submitted: list[jobs.SubmitJob] = []
        self._server = rpc.Server(bus, "scheduler", tasks)

    async def start(self) -> None:
        """Answer the requests about jobs and schedules."""
        await self._server.serve("submit", jobs.SubmitJob, self._submit)
        await self._server.serve("get", jobs.JobGet, self._get)
        await self._server.serve("list", jobs.JobList, self._list)
        await self._server.serve("cancel", jobs.JobCancel, self._cancel)
        await self._server.serve("retry", jobs.JobRetry, self._retry)
        await self._server.serve("result", jobs.JobResultGet, self._result)
        await self._server.serve("schedules", jobs.ScheduleList, self._schedules)
        await self._server.serve("dead-letters", jobs.DeadLetterList, self._dead_letters)

    async def stop(self) -> None:
        """Answer no more."""
        await self._server.stop()

    async def _submit(self, request: jobs.SubmitJob, _: str) -> jobs.JobView:
        self.submitted.append(request)
        now = datetime.now(UTC)
        view = jobs.JobView(
            id=f"job-{len(self.submitted)}",
            state=jobs.JobState.QUEUED,
            created_at=now,
            updated_at=now,
            request=replace(request.request, body=b""),
            attempt=0,
            max_attempts=request.max_attempts,
            retry_delay_ms=request.retry_delay_ms,
        )
        self.jobs[view.id] = view
        return view

    async def _get(self, request: jobs.JobGet, _: str) -> jobs.JobView:
        if request.id not in self.jobs:
            raise errors.NotFoundError("job not found")
        return self.jobs[request.id]

    async def _list(self, request: jobs.JobList, _: str) -> jobs.JobViews:
        return jobs.JobViews(jobs=tuple(list(self.jobs.values())[::-1][: request.limit]))

    async def _retry(self, request: jobs.JobRetry, _: str) -> jobs.JobView:
        view = await self._get(jobs.JobGet(id=request.id), "")
        if view.state is not jobs.JobState.FAILED:
            raise errors.ConflictError(f"job is {view.state.value}")
        self.jobs[view.id] = replace(view, state=jobs.JobState.QUEUED)
        return self.jobs[view.id]

    async def _cancel(self, request: jobs.JobCancel, _: str) -> jobs.JobView:
        view = await self._get(jobs.JobGet(id=request.id), "")
        if view.state in jobs.TERMINAL:
            raise errors.ConflictError(f"job {view.id} has ended")
        self.jobs[view.id] = replace(view, state=jobs.JobState.CANCELED)
        return self.jobs[view.id]

    async def _result(self, request: jobs.JobResultGet, _: str) -> jobs.JobResult:
        view = await self._get(jobs.JobGet(id=request.id), "")
        return self.results.get(view.id) or jobs.JobResult(job=view, ready=False)

    async def _schedules(self, _request: jobs.ScheduleList, _: str) -> jobs.ScheduleViews:
        view = jobs.ScheduleView(
            namespace="default",
            runtime="python",
            function="tick",
            version="default",
            schedule={"every_seconds": 1},
            last_status=200,
        )
        ping = replace(view, schedule={"every_seconds": 45}, last_at=datetime.now(UTC), keep_warm={"min_warm": 1})
        return jobs.ScheduleViews(schedules=(view, ping))

    async def _dead_letters(self, _request: jobs.DeadLetterList, _: str) -> jobs.DeadLetters:
        letter = jobs.DeadLetter(
            subject="job.python.normal.default.x", reason="not msgpack", data=b"\xff", source="executor", at=datetime.now(UTC)
        )
        return jobs.DeadLetters(letters=(letter,))


def function_entry(
    name: str,
    *patterns: str,
    runtime: str = "python",
    methods: tuple[str, ...] = ("GET",),
    hosts: tuple[str, ...] = (),
    policy: Policy | None = None,
    labels: tuple[str, ...] = ("default",),
    file_route: bool = False,
) -> FunctionEntry:
    """Return a function as the registry would project it; without patterns its route is `/<name>`."""
    policy = replace(policy or Policy(), methods=methods)
    versions = tuple(
        VersionEntry(label=label, digest=f"{label}-digest", bundle="bundle", entrypoint="handler.py", policy=policy)
        for label in labels
    )
    routes = tuple(
        RouteEntry(pattern=pattern, methods=methods, hosts=hosts, version=labels[0]) for pattern in patterns or (f"/{name}",)
    )
    return FunctionEntry(
        namespace="default",
        runtime=runtime,
        name=name,
        revision=1,
        source="folder",
        versions=versions,
        routes=routes,
        file_route=file_route,
    )


async def project(bus: port.Bus, *functions: FunctionEntry, conflicts: tuple[str, ...] = ()) -> None:
    """Write functions into the catalogue, and what concerns all of them."""
    bucket = await bus.bucket(subjects.CATALOG_BUCKET)
    for each in functions:
        key = subjects.catalog_key(namespace=each.namespace, runtime=each.runtime, function=each.name)
        await bucket.put(key, codec.encode(each))
    meta = CatalogMeta(generated_at=datetime.now(UTC), functions=len(functions), conflicts=conflicts)
    await bucket.put(subjects.CATALOG_META, codec.encode(meta))
