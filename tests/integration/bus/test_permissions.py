"""`libs/bus/nats.conf` on a real server: each service can do its work, and nothing that is another's."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest

from libs import errors
from libs.bus import jetstream, rpc, streams
from libs.bus.port import Bus, ConsumerSpec, Delivery, Entry, Message, StreamSpec
from libs.bus.server import NATS_CONFIG
from libs.messages import subjects
from libs.messages.builds import BUILD_OPERATION, BuildReply, BuildRequest, build_subject
from libs.messages.catalog import Resolution
from libs.testing.nats import NatsServer, running_nats
from libs.testing.wait import eventually

SERVICES = ("gateway", "registry", "executor", "scheduler")
# Each looks like something else to the server's parser: number, duration, negative number, boolean.
PASSWORDS = {"gateway": "1e5ab", "registry": "10m", "executor": "-Abc_d", "scheduler": "true"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[NatsServer]:
    env = {f"FNBUS_NATS_{name.upper()}_PASSWORD": password for name, password in PASSWORDS.items()}
    async with running_nats(tmp_path, config=NATS_CONFIG, env=env) as running:
        yield running


@pytest.fixture
async def services(server: NatsServer) -> AsyncGenerator[dict[str, Bus]]:
    made: dict[str, Bus] = {}
    for name in SERVICES:
        made[name] = await jetstream.connect(url=server.url, user=name, password=PASSWORDS[name], name=name)
    yield made
    for bus in made.values():
        await bus.close()


async def prepare(bus: Bus, name: str) -> None:
    """Do what any service may do at its start."""
    await bus.ensure_stream(streams.JOBS)
    await bus.ensure_stream(streams.EVENTS)
    await bus.bucket(subjects.CATALOG_BUCKET)
    if name != "registry":
        await bus.objects(subjects.BODY_STORE, ttl_seconds=3600)
    if name in ("registry", "executor"):
        await bus.objects(subjects.BUNDLE_STORE)


async def stream_subjects(bus: Bus, spec: StreamSpec) -> list[str]:
    """Return what the server says that a stream takes."""
    told = await bus.request(f"$JS.API.STREAM.INFO.{spec.name}", b"", timeout=20)
    return json.loads(told.data)["config"]["subjects"]


async def first_of_watch(bus: Bus) -> Entry | None:
    bucket = await bus.bucket(subjects.CATALOG_BUCKET)
    async with asyncio.timeout(20), aclosing(cast("AsyncGenerator[Entry | None]", bucket.watch())) as entries:
        return await anext(entries)


@pytest.mark.parametrize("first", SERVICES)
async def test_any_service_may_start_first(services: dict[str, Bus], first: str) -> None:
    await prepare(services[first], first)
    for name, bus in services.items():
        await prepare(bus, name)


async def test_wrong_password_is_told_at_once(server: NatsServer) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(errors.PermanentError, match="credentials"):
            await jetstream.connect(url=server.url, user="gateway", password="wrong", name="gateway")
        with pytest.raises(errors.PermanentError, match="credentials"):
            await jetstream.connect(url=server.url, user="", password="", name="gateway")


async def test_call_goes_from_gateway_to_executor_and_back(services: dict[str, Bus]) -> None:
    gateway, executor = services["gateway"], services["executor"]
    await executor.subscribe(
        subjects.invoke_all("python"), lambda message: executor.post(message.reply, b"answer"), queue=subjects.EXECUTORS
    )
    found: list[Message] = []
    inbox = gateway.new_inbox()
    await gateway.subscribe(f"{inbox}.*", found.append)
    subject = subjects.invoke(runtime="python", namespace="default", function="hello")
    await gateway.publish(subject, b"", reply=f"{inbox}.1")
    await gateway.publish(subjects.invoke(runtime="php", namespace="default", function="x"), b"", reply=f"{inbox}.2")
    await eventually(lambda: len(found) == 2)
    assert {message.subject[-1]: message.data or message.no_responders for message in found} == {"1": b"answer", "2": True}


async def test_bodies_go_to_executors_and_nobody_listens_in(services: dict[str, Bus]) -> None:
    gateway, executor = services["gateway"], services["executor"]
    found: list[bytes] = []
    asked: list[bytes] = []
    inbox = gateway.new_inbox()
    await gateway.subscribe(f"{inbox}.*", lambda message: asked.append(message.data))
    await executor.subscribe(
        subjects.body_pieces("executor-1"), lambda message: found.append(message.data), queue=subjects.EXECUTORS
    )
    for name, bus in services.items():
        group = "" if name == "executor" else subjects.EXECUTORS
        with pytest.raises(errors.FnbusError, match="refused"):
            await bus.subscribe(subjects.body_pieces("executor-1"), lambda _: None, queue=group)
    await executor.publish(f"{inbox}.body-1", b"more")
    await eventually(lambda: asked == [b"more"])
    await gateway.publish(subjects.body_pieces("executor-1"), b"piece")
    await eventually(lambda: found == [b"piece"])


async def test_heartbeats_cancels_and_logs_arrive(services: dict[str, Bus]) -> None:
    gateway, executor, scheduler = services["gateway"], services["executor"], services["scheduler"]
    at_gateway: list[str] = []
    at_executor: list[str] = []
    for subject in (subjects.HEARTBEAT, "log.>"):
        await gateway.subscribe(subject, lambda message: at_gateway.append(message.subject))
    await executor.subscribe("ctl.>", lambda message: at_executor.append(message.subject))
    executor.post(subjects.HEARTBEAT, b"")
    executor.post(subjects.log(namespace="default", function="hello"), b"line")
    gateway.post(subjects.CANCEL_INVOCATION, b"")
    scheduler.post(subjects.CANCEL_JOB, b"")
    await eventually(lambda: len(at_gateway) == 2)
    await eventually(lambda: {subjects.CANCEL_INVOCATION, subjects.CANCEL_JOB} <= set(at_executor))


@pytest.mark.parametrize(
    ("asking", "operation", "serving"),
    [
        *(("gateway", operation, "scheduler") for operation in ("submit", "get", "list", "result", "cancel", "retry")),
        ("gateway", "dead-letters", "scheduler"),
        ("gateway", "schedules", "scheduler"),
        ("gateway", "executions", "registry"),
        ("executor", "claim", "scheduler"),
        ("executor", "outcome", "scheduler"),
    ],
)
async def test_requests_between_services_are_answered(
    services: dict[str, Bus], asking: str, operation: str, serving: str
) -> None:
    server = services[serving]
    await server.subscribe(subjects.rpc(serving, operation), lambda message: server.post(message.reply, b"done"), queue=serving)
    reply = await services[asking].request(subjects.rpc(serving, operation), b"", timeout=10)
    assert reply.data == b"done"


async def test_job_goes_from_scheduler_to_executor(services: dict[str, Bus]) -> None:
    scheduler, executor = services["scheduler"], services["executor"]
    await scheduler.ensure_stream(streams.JOBS)
    found: list[Delivery] = []
    spec = ConsumerSpec(
        stream=subjects.JOBS_STREAM, name=subjects.job_consumer(runtime="python"), filter=subjects.job_all(runtime="python")
    )
    consumer = await executor.consume(spec, found.append)
    consumer.pull(2)
    subject = subjects.job(runtime="python", namespace="default", function="hello")
    assert await scheduler.append(subject, b"job", message_id="1@1")
    await eventually(lambda: found)
    await found[0].in_progress()
    await found[0].nak()
    await eventually(lambda: len(found) == 2)
    await found[1].ack()
    await consumer.stop()


async def test_facts_go_from_executor_to_registry_and_scheduler(services: dict[str, Bus]) -> None:
    executor, registry, scheduler = services["executor"], services["registry"], services["scheduler"]
    await executor.ensure_stream(streams.EVENTS)
    finished: list[Delivery] = []
    given_up: list[Delivery] = []
    history = ConsumerSpec(stream=subjects.EVENTS_STREAM, name="registry-executions", filter=subjects.EXECUTION_FINISHED)
    letters = ConsumerSpec(stream=subjects.EVENTS_STREAM, name="scheduler-dead-letters", filter=subjects.DEAD_LETTER)
    (await registry.consume(history, finished.append)).pull(5)
    (await scheduler.consume(letters, given_up.append)).pull(5)
    assert await executor.append(subjects.EXECUTION_FINISHED, b"batch")
    for bus in (executor, registry, scheduler):
        assert await bus.append(subjects.DEAD_LETTER, b"letter")
    assert await registry.append(subjects.function_event("created"), b"")
    await eventually(lambda: finished and len(given_up) == 3)
    for delivery in (*finished, *given_up):
        await delivery.ack()


async def test_catalogue_is_written_by_the_registry_and_watched_by_all(services: dict[str, Bus]) -> None:
    bucket = await services["registry"].bucket(subjects.CATALOG_BUCKET)
    created = await bucket.update("fn.default.python.hello", b"1", revision=0)
    await bucket.update("fn.default.python.hello", b"2", revision=created)
    await bucket.put("gone", b"")
    await bucket.delete("gone")
    assert await bucket.keys() == ["fn.default.python.hello"]
    for bus in services.values():
        entry = await first_of_watch(bus)
        assert entry is not None
        assert (entry.key, entry.value) == ("fn.default.python.hello", b"2")
        assert await (await bus.bucket(subjects.CATALOG_BUCKET)).get("fn.default.python.hello") == entry


async def test_sessions_are_kept_by_gateways_and_read_by_nobody_else(services: dict[str, Bus]) -> None:
    bucket = await services["gateway"].bucket(subjects.CONSOLE_BUCKET)
    created = await bucket.update("sessions", b"1", revision=0)
    await bucket.update("sessions", b"2", revision=created)
    async with asyncio.timeout(20), aclosing(cast("AsyncGenerator[Entry | None]", bucket.watch())) as entries:
        entry = await anext(entries)
    assert entry is not None
    assert entry == await bucket.get("sessions")
    assert entry.value == b"2"


async def test_bundles_go_from_registry_to_executor(services: dict[str, Bus]) -> None:
    written = await services["registry"].objects(subjects.BUNDLE_STORE)
    await written.put("digest", b"code" * 500_000)
    await written.put("digest", b"code")
    read = await services["executor"].objects(subjects.BUNDLE_STORE)
    assert await read.get("digest") == b"code"
    await written.delete("digest")
    assert not await read.has("digest")


async def test_builds_are_asked_for_by_the_registry_and_answered_by_executors(services: dict[str, Bus]) -> None:
    registry, executor = services["registry"], services["executor"]
    reply = BuildReply(executor="executor-1", resolution=Resolution())
    request = BuildRequest(
        namespace="default", runtime="python", function="x", version="default", bundle="b", entrypoint="x.py"
    )

    async def answer(_request: BuildRequest, _traceparent: str) -> BuildReply:
        return reply

    async with asyncio.TaskGroup() as tasks:
        server = rpc.Server(executor, "executor", tasks, queue=subjects.EXECUTORS)
        for operation in (BUILD_OPERATION, f"{BUILD_OPERATION}-executor-1"):
            await server.serve(operation, BuildRequest, answer)
        assert await rpc.call(registry, build_subject(), request, BuildReply, timeout=20) == reply
        assert await rpc.call(registry, build_subject("executor-1"), request, BuildReply, timeout=20) == reply


async def test_layers_are_put_and_read_by_executors(services: dict[str, Bus]) -> None:
    layers = await services["executor"].objects(subjects.LAYER_STORE)
    await layers.put("key/part", b"layer" * 500_000)
    assert len(await layers.get("key/part")) == 2_500_000
    await layers.delete("key/part")
    assert not await layers.has("key/part")


async def test_layers_are_looked_through_and_removed_by_the_registry(services: dict[str, Bus]) -> None:
    written, seen = [await services[name].objects(subjects.LAYER_STORE) for name in ("executor", "registry")]
    await written.put("key", b"layer")
    (info,) = await seen.all_infos()
    assert await written.touch(info)
    assert not await seen.discard(info)
    (info,) = await seen.all_infos()
    assert await seen.discard(info)
    assert await written.info("key") is None
    assert await seen.all_infos() == []


async def test_bodies_are_put_read_and_deleted_by_gateway_executor_and_scheduler(services: dict[str, Bus]) -> None:
    for name in ("gateway", "executor", "scheduler"):
        bodies = await services[name].objects(subjects.BODY_STORE, ttl_seconds=3600)
        await bodies.put(name, b"body" * 500_000)
        assert len(await bodies.get(name)) == 2_000_000
        await bodies.delete(name)


@pytest.mark.parametrize(
    ("service", "subject"),
    [
        ("executor", "$KV.console.sessions"),
        ("scheduler", "$JS.API.STREAM.CREATE.KV_console"),
        ("registry", "$JS.API.DIRECT.GET.KV_console.$KV.console.sessions"),
        ("executor", "rpc.registry.executions"),
        ("executor", "event.function.created"),
        ("scheduler", "event.function.deleted"),
        ("executor", "rpc.scheduler.submit"),
        ("executor", "invoke.python.default.hello"),
        ("executor", "job.python.normal.default.hello"),
        ("executor", "$KV.catalog.meta"),
        ("executor", "$O.bundles.C.x"),
        ("executor", "ctl.cancel.job"),
        ("executor", "rpc.executor.build"),
        ("executor", "_INBOX_scheduler.x.r.1"),
        ("executor", "$JS.API.STREAM.UPDATE.JOBS"),
        ("executor", "$JS.API.STREAM.DELETE.JOBS"),
        ("executor", "$JS.API.STREAM.PURGE.JOBS"),
        ("executor", "$JS.API.STREAM.MSG.GET.JOBS"),
        ("executor", "$JS.API.CONSUMER.DELETE.JOBS.python-normal"),
        ("gateway", "rpc.scheduler.claim"),
        ("gateway", "rpc.scheduler.outcome"),
        ("gateway", "rpc.executor.build"),
        ("gateway", "ctl.cancel.job"),
        ("scheduler", "ctl.cancel.invocation"),
        ("scheduler", "event.job.started"),
        ("scheduler", "_INBOX_registry.x.r.1"),
        ("registry", "_INBOX_executor.x.r.1"),
        ("gateway", "$KV.catalog.meta"),
        ("gateway", "$O.bundles.C.x"),
        ("gateway", "$O.layers.C.x"),
        ("gateway", "job.python.normal.default.hello"),
        ("gateway", "event.execution.finished"),
        ("gateway", "ctl.executor.heartbeat"),
        ("gateway", "$JS.API.CONSUMER.MSG.NEXT.JOBS.python-normal"),
        ("gateway", "_INBOX_gateway.x.r.1"),
        ("registry", "invoke.python.default.hello"),
        ("registry", "job.python.normal.default.hello"),
        ("registry", "event.execution.finished"),
        ("registry", "$O.bodies.C.x"),
        ("registry", "$O.layers.C.x"),
        ("registry", "log.default.hello"),
        ("registry", "rpc.scheduler.submit"),
        ("scheduler", "invoke.python.default.hello"),
        ("scheduler", "$KV.catalog.meta"),
        ("scheduler", "$O.bundles.C.x"),
        ("scheduler", "$O.layers.C.x"),
        ("scheduler", "rpc.executor.build"),
        ("scheduler", "event.execution.finished"),
        ("scheduler", "$JS.API.CONSUMER.MSG.NEXT.JOBS.python-normal"),
    ],
)
async def test_service_may_not_publish_what_is_anothers(services: dict[str, Bus], service: str, subject: str) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(errors.PermanentError, match="refused"):
            await services[service].request(subject, b"{}", timeout=3600)
    assert services[service].connected


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("other", SERVICES)
async def test_nobody_reads_anothers_inbox(services: dict[str, Bus], service: str, other: str) -> None:
    if service == other:
        await services[service].subscribe(f"_INBOX_{service}.>", lambda _message: None)
        return
    for subject in (f"_INBOX_{other}.>", "_INBOX_*.>", "*.>", ">"):
        with pytest.raises(errors.PermanentError, match="refused"):
            await services[service].subscribe(subject, lambda _message: None)


@pytest.mark.parametrize(
    ("service", "subject"),
    [
        ("gateway", "invoke.>"),
        ("gateway", "rpc.>"),
        ("gateway", "job.>"),
        ("gateway", "event.>"),
        ("gateway", "$KV.catalog.>"),
        ("executor", "invoke.>"),  # not in the queue group
        ("executor", "rpc.scheduler.claim"),
        ("executor", "rpc.executor.>"),  # not in the queue group
        ("registry", "rpc.executor.>"),
        ("executor", "job.>"),
        ("executor", "log.>"),
        ("registry", "invoke.>"),
        ("registry", "rpc.scheduler.>"),
        ("scheduler", "invoke.>"),
        ("scheduler", "rpc.registry.>"),
    ],
)
async def test_service_may_not_listen_to_what_is_anothers(services: dict[str, Bus], service: str, subject: str) -> None:
    with pytest.raises(errors.PermanentError, match="refused"):
        await services[service].subscribe(subject, lambda _message: None)


async def test_service_that_does_not_own_a_stream_leaves_it_as_it_is(services: dict[str, Bus]) -> None:
    await services["scheduler"].ensure_stream(streams.JOBS)
    wider = dataclasses.replace(streams.JOBS, subjects=("job.>", "extra.>"))
    await services["executor"].ensure_stream(wider)
    assert await stream_subjects(services["scheduler"], streams.JOBS) == ["job.>"]
    await services["scheduler"].ensure_stream(wider)
    assert await stream_subjects(services["scheduler"], streams.JOBS) == ["job.>", "extra.>"]


async def test_static_files_go_from_the_registry_to_gateways_which_cannot_change_them(services: dict[str, Bus]) -> None:
    await (await services["registry"].objects(subjects.ASSET_STORE)).put("digest", b"x" * 200_000)
    at_gateway = await services["gateway"].objects(subjects.ASSET_STORE)
    assert await at_gateway.get("digest") == b"x" * 200_000
    with pytest.raises(errors.FnbusError):
        async with asyncio.timeout(20):
            await at_gateway.put("digest", b"other")
    assert await at_gateway.get("digest") == b"x" * 200_000
