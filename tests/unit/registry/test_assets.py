"""Static files on their way into their store."""

import hashlib

import pytest

from libs import errors
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.bus.port import ObjectStore
from libs.messages import codec, subjects
from libs.messages.web import AssetFile, AssetIndex, Assets
from services.registry.deploys.assets import AssetStore
from services.registry.source.found import LoadedAssets


class Files:
    """A folder of static files."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts
        self.read: list[str] = []

    def found(self) -> LoadedAssets:
        files = tuple(
            AssetFile(path=name, digest=self.digest(name), size=len(text), modified=1) for name, text in self.texts.items()
        )
        return LoadedAssets(directory="public", files=files, single_page=True, functions_first=False)

    def digest(self, name: str) -> str:
        return hashlib.sha256(self.texts[name].encode()).hexdigest()

    async def __call__(self, path: str, digest: str) -> bytes:
        name = path.removeprefix("public/")
        if self.digest(name) != digest:
            raise errors.TemporaryError("it has changed")
        self.read.append(name)
        return self.texts[name].encode()


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(MemoryBroker())


@pytest.fixture
async def objects(bus: MemoryBus) -> ObjectStore:
    return await bus.objects(subjects.ASSET_STORE)


async def index_of(objects: ObjectStore, assets: Assets | None) -> AssetIndex:
    assert assets is not None
    return codec.decode(AssetIndex, await objects.get(assets.index))


async def test_files_and_their_index_are_put_into_the_store(bus: MemoryBus, objects: ObjectStore) -> None:
    files = Files(a="one", b="two")
    assets = await AssetStore(bus).keep(files.found(), before=None, read=files)
    assert assets is not None
    assert assets.single_page
    index = await index_of(objects, assets)
    assert [(each.path, await objects.get(each.digest)) for each in index.files] == [("a", b"one"), ("b", b"two")]


async def test_only_what_is_missing_is_read(bus: MemoryBus) -> None:
    files = Files(a="one", b="two")
    store = AssetStore(bus)
    first = await store.keep(files.found(), before=None, read=files)
    files.texts["b"] = "three"
    second = await store.keep(files.found(), before=first, read=files)
    assert second != first
    assert files.read == ["a", "b", "b"]
    assert await AssetStore(bus).keep(files.found(), before=second, read=files) == second
    assert files.read == ["a", "b", "b"]


async def test_former_files_go_with_the_second_sweep_after_they_left(bus: MemoryBus, objects: ObjectStore) -> None:
    files = Files(a="one", b="two")
    store = AssetStore(bus)
    first = await store.keep(files.found(), before=None, read=files)
    former, kept = files.digest("b"), files.digest("a")
    files.texts["b"] = "three"
    await store.keep(files.found(), before=first, read=files)
    await store.sweep()
    assert await objects.has(former)
    await store.sweep()
    assert not await objects.has(former)
    assert await objects.has(kept)
    assert await objects.has(files.digest("b"))


async def test_a_file_that_comes_back_is_not_removed(bus: MemoryBus, objects: ObjectStore) -> None:
    files = Files(a="one")
    store = AssetStore(bus)
    first = await store.keep(files.found(), before=None, read=files)
    files.texts["a"] = "two"
    second = await store.keep(files.found(), before=first, read=files)
    await store.sweep()
    files.texts["a"] = "one"
    await store.keep(files.found(), before=second, read=files)
    await store.sweep()
    await store.sweep()
    assert await objects.has(files.digest("a"))


async def test_all_files_go_when_the_config_has_no_assets_any_more(bus: MemoryBus, objects: ObjectStore) -> None:
    files = Files(a="one")
    store = AssetStore(bus)
    first = await store.keep(files.found(), before=None, read=files)
    assert await store.keep(None, before=first, read=files) is None
    await store.sweep()
    await store.sweep()
    assert not await objects.has(files.digest("a"))


async def test_everything_is_put_again_when_the_server_may_have_lost_it(bus: MemoryBus, objects: ObjectStore) -> None:
    files = Files(a="one")
    store = AssetStore(bus)
    first = await store.keep(files.found(), before=None, read=files)
    await objects.delete(files.digest("a"))
    store.distrust()
    await store.keep(files.found(), before=first, read=files)
    assert await objects.get(files.digest("a")) == b"one"


async def test_a_file_that_is_too_large_is_named_and_not_read(bus: MemoryBus, objects: ObjectStore) -> None:
    large = LoadedAssets(
        directory="public",
        files=(AssetFile(path="big", digest="", size=10**9, modified=1),),
        single_page=False,
        functions_first=False,
    )
    files = Files()
    index = await index_of(objects, await AssetStore(bus).keep(large, before=None, read=files))
    assert (index.files[0].path, files.read) == ("big", [])
