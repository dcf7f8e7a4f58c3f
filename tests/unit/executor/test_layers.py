"""Layers: fetched once, verified, and complete when they are there."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from libs import errors
from libs.bus.memory import MemoryBus
from libs.bus.port import ObjectStore
from libs.messages import codec
from libs.messages.builds import LayerManifest, LayerPart, part_key
from libs.messages.catalog import Resolution
from libs.testing.wait import eventually
from services.executor.disk import archives
from services.executor.disk.layers import BadLayerError, Layers
from tests.unit.executor.counting import Counting

KEY = "k" * 64
PLATFORM = "linux-x86_64-glibc"


@pytest.fixture
async def store() -> Counting:
    """Where layers come from."""
    return Counting(await MemoryBus().objects("layers"))


@pytest.fixture
async def layers(store: Counting, tmp_path: Path) -> AsyncIterator[Layers]:
    """The layers of an executor."""
    async with asyncio.TaskGroup() as tasks:
        yield Layers(store=store, folder=tmp_path / "layers", tasks=tasks, platform=PLATFORM)


async def put(store: ObjectStore, folder: Path, *, key: str = KEY, part_bytes: int = 200) -> LayerManifest:
    """Put a layer of two files into the store, in parts."""
    (folder / "out" / "lib").mkdir(parents=True, exist_ok=True)
    (folder / "out" / "lib" / "a.py").write_text("a = 1\n" * 50)
    (folder / "out" / "b.py").write_text(hashlib.sha256(key.encode()).hexdigest() * 20)
    sink = io.BytesIO()
    packed = archives.pack(folder / "out", sink, within=folder, max_bytes=1 << 20)
    data = sink.getvalue()
    parts: list[LayerPart] = []
    for at in range(0, len(data), part_bytes):
        piece = data[at : at + part_bytes]
        parts.append(LayerPart(digest=hashlib.sha256(piece).hexdigest(), size=len(piece)))
        await store.put(part_key(key, parts[-1].digest), piece)
    manifest = LayerManifest(
        key=key,
        platform=PLATFORM,
        mount=".deps",
        resolution=Resolution(state="ok"),
        parts=tuple(parts),
        files=packed.files,
        size=packed.size,
    )
    await store.put(key, codec.encode(manifest))
    return manifest


async def test_layer_is_fetched_once_however_many_ask(layers: Layers, store: Counting, tmp_path: Path) -> None:
    manifest = await put(store, tmp_path / "build")
    assert len(manifest.parts) > 1
    folders = await asyncio.gather(*(layers.folder(KEY) for _ in range(5)))
    assert len(set(folders)) == 1
    assert (folders[0] / "lib" / "a.py").read_text().startswith("a = 1")
    assert len(store.read) == 1 + len(manifest.parts)


async def test_layer_on_disk_is_not_fetched_again_after_a_restart(store: Counting, tmp_path: Path) -> None:
    await put(store, tmp_path / "build")
    for _ in range(2):
        async with asyncio.TaskGroup() as tasks:
            layers = Layers(store=store, folder=tmp_path / "layers", tasks=tasks, platform=PLATFORM)
            await layers.folder(KEY)
    assert store.read.count(KEY) == 1


async def test_missing_layer_is_a_matter_of_time(layers: Layers, store: Counting, tmp_path: Path) -> None:
    with pytest.raises(errors.UnavailableError, match="not in the store"):
        await layers.folder(KEY)
    manifest = await put(store, tmp_path / "build")
    await store.delete(part_key(KEY, manifest.parts[-1].digest))
    with pytest.raises(errors.UnavailableError, match="a part of the layer"):
        await layers.folder(KEY)
    await put(store, tmp_path / "build")
    assert (await layers.folder(KEY) / "b.py").exists()


async def test_corrupt_layer_is_fetched_once_more_and_then_refused(layers: Layers, store: Counting, tmp_path: Path) -> None:
    manifest = await put(store, tmp_path / "build")
    await store.put(part_key(KEY, manifest.parts[0].digest), b"something else")
    with pytest.raises(BadLayerError, match="another digest"):
        await layers.folder(KEY)
    assert store.read.count(KEY) == 2
    assert not list((tmp_path / "layers").iterdir())


@pytest.mark.parametrize(
    ("change", "fault"),
    [({"files": 7}, "files"), ({"size": 7}, "bytes"), ({"key": "other"}, "it is the layer other"), ({"parts": ()}, "no parts")],
)
async def test_manifest_that_does_not_fit_is_refused(
    change: dict[str, object], fault: str, layers: Layers, store: Counting, tmp_path: Path
) -> None:
    manifest = await put(store, tmp_path / "build")
    await store.put(KEY, codec.encode(replace(manifest, **change)))  # pyright: ignore[reportArgumentType]  its own fields
    with pytest.raises(BadLayerError, match=fault):
        await layers.folder(KEY)


async def test_layer_that_unpacks_to_too_much_is_refused(store: Counting, tmp_path: Path) -> None:
    await put(store, tmp_path / "build")
    async with asyncio.TaskGroup() as tasks:
        layers = Layers(store=store, folder=tmp_path / "layers", tasks=tasks, platform=PLATFORM, max_bytes=1000)
        with pytest.raises(BadLayerError):
            await layers.folder(KEY)


async def test_layer_is_fetched_when_a_version_needs_it_and_goes_with_it(
    layers: Layers, store: Counting, tmp_path: Path
) -> None:
    await put(store, tmp_path / "build")
    layers.use("")  # most versions have none
    layers.use(KEY)
    folder = await layers.folder(KEY)
    await layers.tidy()
    assert list((tmp_path / "layers").iterdir()) == [folder]
    layers.disuse("")
    layers.disuse(KEY)
    await eventually(lambda: not list((tmp_path / "layers").iterdir()))
