"""The registry as its operators have it: a process between a folder, a store and NATS."""

from datetime import UTC, datetime

import pytest

from libs import errors
from libs.bus import rpc
from libs.bus.port import ConsumerSpec, Delivery
from libs.messages import codec, subjects
from libs.messages.catalog import Problem
from libs.messages.executions import (
    Execution,
    ExecutionBatch,
    ExecutionGet,
    ExecutionKind,
    ExecutionList,
    ExecutionRow,
    Executions,
)
from libs.messages.jobs import DeadLetter
from libs.testing.wait import eventually
from tests.integration.registry.stand import Stand


def execution(id: str) -> Execution:  # noqa: A002
    return Execution(
        id=id,
        namespace="default",
        runtime="python",
        function="get.hello.py",
        version="default",
        digest="d",
        kind=ExecutionKind.CALL,
        executor="one",
        started_at=datetime.now(UTC),
        status=200,
    )


async def listed(stand: Stand) -> list[str]:
    request = ExecutionList(function="get.hello.py")
    answer = await rpc.call(stand.bus, subjects.rpc("registry", "executions"), request, Executions, timeout=10)
    return [each.id for each in answer.executions]


async def test_registry_deploys_changes_and_deletes_as_the_folder_does(stand: Stand) -> None:
    await stand.shows({"get.hello.py": "one"})()

    stand.save("users/[id].js", "two")
    await eventually(stand.shows({"get.hello.py": "one", "users/[id].js": "two"}))
    stand.save("get.hello.py", "three")
    await eventually(stand.shows({"get.hello.py": "three", "users/[id].js": "two"}))
    (stand.functions / "get.hello.py").unlink()
    await eventually(stand.shows({"users/[id].js": "two"}))

    assert (await stand.meta()).functions == 1
    assert await stand.readiness() == (200, '{"status":"ready","service":"registry"}')


async def test_registry_rewrites_nothing_after_a_restart(stand: Stand) -> None:
    stand.save("hook/handler.py", "code")
    stand.save("hook/fn.env.json", '{"TOKEN": "s3cret"}')
    await eventually(stand.shows({"get.hello.py": "one", "hook/handler.py": "code"}))

    async def sealed() -> bool:
        return (await stand.shown())["hook/handler.py"].versions[0].env_sealed != b""

    await eventually(sealed)
    before = await stand.keys()
    registry = stand.cluster.of("registry")[0]

    assert await registry.stop() == 0
    await registry.start()
    await registry.ready()

    assert await stand.keys() == before
    assert await stand.written() == 0


async def test_registry_says_what_does_not_work_and_serves_the_rest(stand: Stand) -> None:
    stand.save("fine.py", "fine")
    stand.save("get.broken.py", "def handler(:")  # the guest's matter, at call time
    stand.save("odd/fn.config.json", "{")

    await eventually(stand.shows({"get.hello.py": "one", "fine.py": "fine", "get.broken.py": "def handler(:"}))

    async def told() -> tuple[Problem, ...]:
        return (await stand.meta()).problems

    [problem] = await eventually(told)
    assert problem.path == "odd/fn.config.json"
    assert stand.cluster.of("registry")[0].log.read_text().count("source_problem") == 1


async def test_registry_keeps_history_and_dead_letters_garbage(stand: Stand) -> None:
    batch = codec.encode(ExecutionBatch(executor="one", executions=[ExecutionRow.of(execution(each)) for each in ("a", "b")]))
    await stand.bus.append(subjects.EXECUTION_FINISHED, b"\xc1 garbage")
    await stand.bus.append(subjects.EXECUTION_FINISHED, batch)

    async def stored() -> bool:
        return sorted(await listed(stand)) == ["a", "b"]

    await eventually(stored)
    found = await rpc.call(stand.bus, subjects.rpc("registry", "execution"), ExecutionGet(id="b"), Execution)
    assert found.status == 200
    with pytest.raises(errors.NotFoundError):
        await rpc.call(stand.bus, subjects.rpc("registry", "execution"), ExecutionGet(id="nobody"), Execution)

    letters: list[DeadLetter] = []

    def take(delivery: Delivery) -> None:
        letters.append(codec.decode(DeadLetter, delivery.data))

    spec = ConsumerSpec(stream=subjects.EVENTS_STREAM, name="letters", filter=subjects.DEAD_LETTER)
    consumer = await stand.bus.consume(spec, take)
    consumer.pull(10)
    await eventually(lambda: letters)
    await consumer.stop()
    assert [letter.data for letter in letters] == [b"\xc1 garbage"]


async def test_registry_projects_again_what_nats_has_lost(stand: Stand) -> None:
    stand.save("new.py", "new")
    await eventually(stand.shows({"get.hello.py": "one", "new.py": "new"}))
    bucket = await stand.bus.bucket(subjects.CATALOG_BUCKET)
    objects = await stand.bus.objects(subjects.BUNDLE_STORE)

    for entry in (await stand.shown()).values():
        await objects.delete(entry.versions[0].bundle)
    for key in await bucket.keys():
        await bucket.delete(key)

    await eventually(stand.shows({"get.hello.py": "one", "new.py": "new"}))


async def test_registry_goes_on_when_nats_was_away(stand: Stand) -> None:
    await stand.cluster.nats.kill()

    async def unready() -> bool:
        return (await stand.readiness())[0] == 503

    await eventually(unready)
    stand.save("get.hello.py", "two")
    await stand.cluster.nats.start()
    await eventually(lambda: stand.bus.connected)

    await eventually(stand.shows({"get.hello.py": "two"}))
    await stand.cluster.ready()


async def test_registries_on_one_folder_and_store_converge(mongo_stand: Stand) -> None:
    stand = mongo_stand
    wanted = {f"get.f{number}.py": str(number) for number in range(30)} | {"get.hello.py": "two"}
    for name, code in wanted.items():
        stand.save(name, code)
    await eventually(stand.shows(wanted))
    stand.save("get.f7.py", "changed")
    await eventually(stand.shows(wanted | {"get.f7.py": "changed"}))

    async def settled() -> bool:
        before = (await stand.written(0), await stand.written(1))
        keys = await stand.keys()
        newcomer = await stand.cluster.add("registry")
        await newcomer.ready()
        await newcomer.stop()
        return before == (await stand.written(0), await stand.written(1)) and keys == await stand.keys()

    await eventually(settled)
    assert (await stand.shown())["get.f7.py"].revision <= 3


async def test_registry_outlives_its_store(mongo_stand: Stand) -> None:
    stand = mongo_stand
    assert stand.mongo is not None
    await stand.mongo.kill()

    async def unready() -> bool:
        return (await stand.readiness())[0] == 503

    await eventually(unready)
    await stand.shows({"get.hello.py": "one"})()
    with pytest.raises(errors.TemporaryError):
        await listed(stand)
    await stand.bus.append(
        subjects.EXECUTION_FINISHED, codec.encode(ExecutionBatch(executor="one", executions=[ExecutionRow.of(execution("a"))]))
    )
    stand.save("get.hello.py", "two")

    await stand.mongo.start()

    await stand.cluster.ready()
    await eventually(stand.shows({"get.hello.py": "two"}))

    async def stored() -> bool:
        return await listed(stand) == ["a"]

    await eventually(stored)
