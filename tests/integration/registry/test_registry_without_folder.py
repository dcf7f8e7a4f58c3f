"""Registries without a folder, as processes: what is changed through one is the others', and stays when one is killed."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from libs import errors
from libs.bus import rpc
from libs.bus.jetstream import JetStreamBus, connect
from libs.bus.port import ConsumerSpec
from libs.messages import subjects
from libs.messages.codec import Record
from libs.messages.functions import Changed, ChangeFunction, ChangeKind, FunctionDetail, FunctionRef, GetFunction
from libs.messages.trees import ChangeTree, NewFile, TreeChanged
from libs.testing.cluster import Cluster, running_cluster
from libs.testing.mongo import running_mongo
from libs.testing.wait import eventually

pytestmark = pytest.mark.timeout(240)

DEMO = FunctionRef(runtime="python", name="demo")


@asynccontextmanager
async def running(folder: Path, settings: dict[str, str], *, registries: int) -> AsyncGenerator[tuple[Cluster, JetStreamBus]]:
    counts = {"registry": registries, "scheduler": 0, "executor": 0, "gateway": 0}
    async with running_cluster(folder, None, counts=counts, settings=settings) as cluster:
        bus = await connect(url=cluster.nats.url, user="", password="", name="test")
        try:
            yield cluster, bus
        finally:
            await bus.close()


async def ask[T](bus: JetStreamBus, operation: str, request: Record, reply: type[T]) -> T:
    """Ask any registry; one that has just ended may be the one that is asked."""
    answers: list[T] = []

    async def asked() -> bool:
        try:
            answers.append(await rpc.call(bus, subjects.rpc("registry", operation), request, reply, timeout=20))
        except errors.TemporaryError:
            return False
        return True

    await eventually(asked, within=60)
    return answers[0]


async def change(bus: JetStreamBus, kind: ChangeKind, body: Any = b"", **more: Any) -> Changed:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return await ask(bus, "change", ChangeFunction(target=DEMO, kind=kind, body=data, **more), Changed)


@pytest.mark.parametrize("kind", ["sqlite", "mongo"])
async def test_everything_is_there_after_the_registry_was_killed(tmp_path: Path, kind: str) -> None:
    async with AsyncExitStack() as stack:
        settings: dict[str, str] = {}
        if kind == "mongo":
            settings["FNBUS_MONGO_URL"] = (await stack.enter_async_context(running_mongo(tmp_path / "mongo"))).url
        cluster, bus = await stack.enter_async_context(running(tmp_path / "cluster", settings, registries=1))
        told: list[str] = []
        spec = ConsumerSpec(stream=subjects.EVENTS_STREAM, name="test", filter="event.function.>")
        (await bus.consume(spec, lambda delivery: told.append(delivery.subject))).pull(10)
        await change(bus, ChangeKind.CREATE)
        await change(bus, ChangeKind.ENV, {"TOKEN": "s3cret"})
        assert (await change(bus, ChangeKind.CONFIG, {"timeout_ms": 77}, expected=2)).revision == 3
        (registry,) = cluster.of("registry")
        await registry.kill()
        await registry.start()
        await registry.ready()
        found = await ask(bus, "function", GetFunction(target=DEMO), FunctionDetail)
        assert (found.entry.revision, found.entry.versions[0].policy.timeout_ms, found.env[0].name) == (3, 77, "TOKEN")
        assert (await change(bus, ChangeKind.CODE, b"def handler(event): ...\n", expected=2)).outdated
        assert (await change(bus, ChangeKind.DELETE)).revision == 0
        await eventually(lambda: "event.function.deleted" in told, within=60)
        assert told[0] == "event.function.created"


async def test_change_through_one_is_the_other_s_when_the_one_is_killed(tmp_path: Path) -> None:
    async with (
        running_mongo(tmp_path / "mongo") as mongo,
        running(tmp_path / "cluster", {"FNBUS_MONGO_URL": mongo.url}, registries=2) as (cluster, bus),
    ):
        one, other = cluster.of("registry")
        await other.stop()
        await change(bus, ChangeKind.CREATE)
        await other.start()
        await other.ready()
        await one.kill()
        found = await ask(bus, "function", GetFunction(target=DEMO), FunctionDetail)
        assert (found.entry.source, found.entry.revision) == ("api", 1)
        files = tuple(NewFile(path=f"python/more/{name}.py", data=b"def handler(event): ...\n") for name in ("handler", "lib"))
        assert (await ask(bus, "change-tree", ChangeTree(put=files), TreeChanged)).problems == ()
        await one.start()
        await one.ready()
        await other.kill()
        more = FunctionRef(runtime="python", name="more")
        assert len((await ask(bus, "function", GetFunction(target=more), FunctionDetail)).files) == 2
