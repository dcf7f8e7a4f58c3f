"""Many deploys with other manifests leave no more layers than versions need, whatever else goes on."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from libs.bus.memory import MemoryBroker, MemoryBus
from libs.clock import ManualClock, SystemClock
from libs.messages import subjects
from libs.messages.catalog import FunctionEntry, Policy, VersionEntry
from libs.storage.memory import MemoryStore
from services.registry.deploys.layers import Layers, Spared
from services.registry.deploys.pruning import Pruning
from services.registry.functions.store import Functions
from services.registry.metrics import Metrics
from tests.unit.executor.building import Stand, standing

DEPLOYS = 20
KEPT = 3


def code(number: int) -> dict[str, str]:
    return {"build.sh": f"mkdir out; echo {number} > out/number", "handler.sh": "a"}


class Registry:
    """The registry's part of it, before which a day goes by for all that is stored."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.clock = ManualClock(datetime.now(UTC))
        store, bus = MemoryStore(), MemoryBus(broker)
        self.functions = Functions(store=store, clock=self.clock)
        self.pruning = Pruning(bus=bus, store=store, clock=self.clock, keep=KEPT)
        self.layers = Layers(
            bus=bus,
            functions=self.functions,
            clock=SystemClock(),
            metrics=Metrics(),
            spared=Spared(age=timedelta(hours=1), total_bytes=0),
        )
        self.revision = 0

    async def deploy(self, layer: str) -> None:
        version = VersionEntry(
            label="default",
            digest=layer,
            bundle=layer,
            entrypoint="handler.sh",
            policy=Policy(),
            layer=layer,
            layer_mount=".deps",
        )
        entry = FunctionEntry(
            namespace="default", runtime="shell", name="f", revision=self.revision, source="folder", versions=(version,)
        )
        self.revision = (await self.functions.write(entry, {})).revision
        self.clock.advance(timedelta(seconds=1))

    async def prune(self) -> int:
        self.clock.advance(timedelta(days=1))
        self.broker.objects[subjects.LAYER_STORE].age(timedelta(days=1))
        await self.pruning.prune()
        return await self.layers.prune()


async def layers_in(stand: Stand) -> set[str]:
    return {info.key.partition("/")[0] for info in await stand.store.all_infos()}


async def test_store_holds_what_kept_versions_need_after_many_deploys(tmp_path: Path) -> None:
    broker = MemoryBroker()
    registry = Registry(broker)
    await registry.functions.ensure()
    async with standing(MemoryBus(broker), tmp_path) as stand:
        built: list[str] = []
        for number in range(DEPLOYS):
            built.append((await stand.build(code(number))).layer)
            await registry.deploy(built[-1])
        assert await layers_in(stand) == set(built)
        assert await registry.prune() == DEPLOYS - 1 - KEPT
        assert await layers_in(stand) == set(built[-1 - KEPT :])


async def test_layer_that_is_needed_again_while_it_is_removed_is_there_for_both_executors(tmp_path: Path) -> None:
    broker = MemoryBroker()
    registry = Registry(broker)
    async with standing(MemoryBus(broker), tmp_path / "one") as one:
        for number in range(DEPLOYS):
            layer = (await one.build(code(number))).layer
            # Nothing names it: it is removed just as it is asked for again.
            _, again = await asyncio.gather(registry.prune(), one.build(code(number)))
            assert (again.resolution.state, again.layer) == ("ok", layer)
            assert await one.store.info(layer) is not None
        last = (await one.build(code(0))).layer
        await one.builds.stop()
        async with standing(MemoryBus(broker), tmp_path / "two", executor="executor-2") as two:
            assert (await two.build(code(0))).layer == last
            assert ((await two.layers.folder(last)) / "number").read_text() == "0\n"
