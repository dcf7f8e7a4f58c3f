"""Layers that no version needs go, by age and by size; what is needed, or was asked for lately, stays."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from libs import errors
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.bus.port import ObjectInfo, ObjectStore
from libs.clock import SystemClock
from libs.messages import codec, subjects
from libs.messages.builds import LayerManifest, LayerPart, part_key
from libs.messages.catalog import FunctionEntry, Policy, Resolution, VersionEntry
from libs.storage.memory import MemoryStore
from libs.storage.port import Document
from services.executor.disk import layer_store
from services.registry.deploys.layers import YOUNG, Layer, Layers, Spared, doomed, gathered
from services.registry.functions import documents
from services.registry.functions.store import Functions
from services.registry.metrics import Metrics

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def layer(key: str, *, age: timedelta, size: int = 10) -> Layer:
    return Layer(key=key, objects=(ObjectInfo(key, size, 1, NOON - age),))


def going(layers: Sequence[Layer], *, needed: Sequence[str] = (), total: int = 1000) -> list[str]:
    spared = Spared(age=DAY, total_bytes=total)
    return [each.key for each in doomed(layers, needed=needed, now=NOON, spared=spared)]


def test_layers_go_when_nothing_needs_them_and_they_are_old() -> None:
    layers = [layer("new", age=YOUNG), layer("old", age=DAY + YOUNG), layer("needed", age=9 * DAY), layer("day", age=DAY)]
    assert going(layers, needed=["needed"]) == ["old"]


def test_layers_that_are_too_much_go_the_oldest_first_and_no_young_one() -> None:
    layers = [layer(f"{hours}h", age=timedelta(hours=hours), size=400) for hours in (1, 2, 3, 4)]
    assert going(layers, total=1200) == ["4h"]
    assert going(layers, total=0) == ["4h", "3h", "2h"]
    assert going(layers, total=0, needed=["4h", "3h"]) == ["2h"]


def test_layer_is_its_manifest_and_its_parts_and_as_young_as_the_youngest() -> None:
    found = gathered([
        ObjectInfo(part_key("a", "1"), 5, 1, NOON - DAY),
        ObjectInfo("a", 2, 3, NOON),
        ObjectInfo(part_key("b", "2"), 7, 2, NOON - DAY),
    ])  # fmt: skip
    told = [(each.key, [info.key for info in each.objects], each.size, NOON - each.modified) for each in found]
    assert told == [("a", ["a", "a/1"], 7, timedelta()), ("b", ["b/2"], 7, DAY)]


class Stand:
    """A registry and an object store, in which time goes by as it is told."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.bus = MemoryBus(MemoryBroker())
        self.functions = Functions(store=MemoryStore(), clock=self.clock)
        self.metrics = Metrics()
        self.layers = Layers(
            bus=self.bus,
            functions=self.functions,
            clock=self.clock,
            metrics=self.metrics,
            spared=Spared(age=DAY, total_bytes=10**9),
        )
        self.revision = 0

    async def objects(self) -> ObjectStore:
        return await self.bus.objects(subjects.LAYER_STORE)

    def wait(self, time: timedelta) -> None:
        """Have so much time gone by since everything was stored."""
        self.bus.broker.objects[subjects.LAYER_STORE].age(time)

    async def built(self, key: str) -> None:
        """Put a layer of two parts into the store."""
        objects, parts = await self.objects(), tuple(LayerPart(digest=f"{key}-{number}", size=3) for number in range(2))
        for part in parts:
            await objects.put(part_key(key, part.digest), b"xyz")
        manifest = LayerManifest(
            key=key, platform="p", mount=".deps", resolution=Resolution(state="ok"), parts=parts, files=1, size=6
        )
        await layer_store.put(objects, manifest)

    async def deploy(self, key: str) -> None:
        """Have one function run with that layer."""
        version = VersionEntry(
            label="default", digest=key, bundle="b", entrypoint="handler.py", policy=Policy(), layer=key, layer_mount=".deps"
        )
        entry = FunctionEntry(
            namespace="default", runtime="python", name="f", revision=self.revision, source="folder", versions=(version,)
        )
        self.revision = (await self.functions.write(entry, {})).revision

    async def there(self) -> set[str]:
        """Return the layers that are there in full."""
        objects = await self.objects()
        found = {info.key.partition("/")[0] for info in await objects.all_infos()}
        for key in found:
            assert len([info for info in await objects.all_infos() if info.key.startswith(key)]) == 3
        return found

    def figure(self, name: str, state: str) -> float | None:
        return self.metrics.collector.get_sample_value(name, {"state": state})


@pytest.fixture
async def stand() -> Stand:
    made = Stand()
    await made.functions.ensure()
    return made


async def test_layers_of_present_and_former_versions_stay(stand: Stand) -> None:
    for key in ("a", "b", "c"):
        await stand.built(key)
    await stand.deploy("a")
    await stand.deploy("b")
    stand.wait(3 * DAY)
    assert await stand.layers.prune() == 1
    assert await stand.there() == {"a", "b"}
    assert stand.figure("fnbus_registry_layers", "needed") == 2
    assert stand.figure("fnbus_registry_layers", "unneeded") == 0
    assert stand.metrics.collector.get_sample_value("fnbus_registry_layers_removed_total") == 1


async def test_layer_that_an_executor_was_asked_for_lately_stays(stand: Stand) -> None:
    await stand.built("a")
    stand.wait(3 * DAY)
    assert await layer_store.find(await stand.objects(), "a") is not None
    assert await stand.layers.prune() == 0
    stand.wait(3 * DAY)
    assert await stand.layers.prune() == 1


async def test_layer_that_an_executor_is_asked_for_while_others_are_looked_at_stays(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stand.built("a")
    stand.wait(3 * DAY)
    objects, needed = await stand.objects(), stand.functions.all_versions

    async def asked_meanwhile() -> list[Document]:
        assert await layer_store.find(objects, "a") is not None
        return await needed()

    monkeypatch.setattr(stand.functions, "all_versions", asked_meanwhile)
    assert await stand.layers.prune() == 0
    assert await stand.there() == {"a"}


async def test_layer_that_is_removed_while_an_executor_looks_is_not_told(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    await stand.built("a")
    stand.wait(3 * DAY)
    objects = await stand.objects()
    touch = objects.touch

    async def removed_first(info: ObjectInfo) -> bool:
        assert await stand.layers.prune() == 1
        return await touch(info)

    monkeypatch.setattr(objects, "touch", removed_first)
    assert await layer_store.find(objects, "a") is None
    await stand.built("a")
    assert await stand.there() == {"a"}


async def test_nothing_goes_while_there_are_versions_that_cannot_be_read(stand: Stand) -> None:
    await stand.built("a")
    store = stand.functions._store  # pyright: ignore[reportPrivateUsage]  a newer registry writes it
    await store.insert(documents.VERSIONS, {"_id": "f@new", "function": "f", "version": codec.encode(Resolution())})
    stand.wait(3 * DAY)
    assert await stand.layers.prune() == 0
    assert await stand.there() == {"a"}


async def test_parts_without_a_manifest_go_too(stand: Stand) -> None:
    objects = await stand.objects()
    await objects.put(part_key("a", "1"), b"x")
    stand.wait(3 * DAY)
    assert await stand.layers.prune() == 1
    assert await objects.all_infos() == []


async def test_prune_raises_while_the_bus_is_gone(stand: Stand) -> None:
    stand.bus.broker.stop()
    with pytest.raises(errors.TemporaryError):
        await stand.layers.prune()
