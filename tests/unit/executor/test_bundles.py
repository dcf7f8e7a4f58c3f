"""Bundles: fetched once, verified, written whole, and never outside their folder."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs import errors
from libs.bus.memory import MemoryBus
from libs.bus.port import ObjectStore
from libs.messages import codec
from libs.messages.bundles import bundle_digest
from libs.messages.catalog import Bundle, BundleFile
from libs.testing.wait import eventually
from services.executor.disk.bundles import BadBundleError, Bundles, is_safe
from tests.unit.executor.counting import Counting


@pytest.fixture
async def store() -> Counting:
    """Where bundles come from."""
    return Counting(await MemoryBus().objects("bundles"))


@pytest.fixture
async def bundles(store: Counting, tmp_path: Path) -> AsyncIterator[Bundles]:
    """The bundles of an executor."""
    async with asyncio.TaskGroup() as tasks:
        yield Bundles(store=store, folder=tmp_path / "bundles", tasks=tasks)


def bundle(*paths: str) -> Bundle:
    return Bundle(files=tuple(BundleFile(path=path, data=path.encode(), executable=path.endswith(".sh")) for path in paths))


async def put(store: ObjectStore, content: Bundle) -> str:
    digest = bundle_digest(content)
    await store.put(digest, codec.encode(content))
    return digest


async def test_bundle_lies_in_its_folder_as_it_was_made(bundles: Bundles, store: Counting) -> None:
    folder = await bundles.folder(await put(store, bundle("handler.py", "lib/deep/util.py", "run.sh")))
    assert (folder / "lib/deep/util.py").read_bytes() == b"lib/deep/util.py"
    assert (folder / "run.sh").stat().st_mode & 0o111
    assert not (folder / "handler.py").stat().st_mode & 0o222


async def test_bundle_is_fetched_once_when_many_ask(bundles: Bundles, store: Counting) -> None:
    digest = await put(store, bundle("a"))
    await asyncio.gather(*(bundles.folder(digest) for _ in range(10)))
    await bundles.folder(digest)
    assert len(store.read) == 1


async def test_bundle_on_disk_is_not_fetched_again(bundles: Bundles, store: Counting, tmp_path: Path) -> None:
    digest = await put(store, bundle("a"))
    await bundles.folder(digest)
    async with asyncio.TaskGroup() as tasks:
        again = Bundles(store=store, folder=tmp_path / "bundles", tasks=tasks)
        await again.folder(digest)
    assert len(store.read) == 1


async def test_bundle_is_fetched_again_when_what_came_is_something_else(bundles: Bundles, store: Counting) -> None:
    digest = await put(store, bundle("a"))
    store.first = codec.encode(bundle("b"))
    await bundles.folder(digest)
    assert len(store.read) == 2


async def test_bundle_is_refused_when_it_is_never_what_its_digest_says(
    bundles: Bundles, store: Counting, tmp_path: Path
) -> None:
    await store.put("d" * 64, codec.encode(bundle("a")))
    with pytest.raises(BadBundleError, match="its digest is"):
        await bundles.folder("d" * 64)
    assert not list((tmp_path / "bundles").glob("*"))


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a\\..\\x", "a\0b", ""])
async def test_bundle_is_refused_when_a_path_leads_out_of_it(bundles: Bundles, store: Counting, path: str) -> None:
    assert not is_safe(path)
    with pytest.raises(BadBundleError, match="leads out"):
        await bundles.folder(await put(store, bundle(path)))


async def test_bundle_that_is_not_stored_is_unavailable_and_may_come_later(bundles: Bundles, store: Counting) -> None:
    content = bundle("late")
    with pytest.raises(errors.UnavailableError):
        await bundles.folder(bundle_digest(content))
    await put(store, content)
    assert (await bundles.folder(bundle_digest(content))).is_dir()


async def test_bundle_goes_when_the_last_version_that_needs_it_has_gone(
    store: Counting, bundles: Bundles, tmp_path: Path
) -> None:
    digest = await put(store, bundle("handler.py"))
    bundles.use(digest)
    bundles.use(digest)
    folder = await bundles.folder(digest)
    bundles.disuse(digest)
    assert folder.is_dir()
    bundles.disuse(digest)
    assert not folder.exists()
    await eventually(lambda: not list((tmp_path / "bundles").iterdir()))
    assert (await bundles.folder(digest)).is_dir()


async def test_bundle_goes_that_nobody_needs_any_more_when_it_arrives(
    store: Counting, bundles: Bundles, tmp_path: Path
) -> None:
    digest = await put(store, bundle("handler.py"))
    bundles.use(digest)
    await eventually(lambda: len(store.read) == 1)
    bundles.disuse(digest)
    kept = tmp_path / "bundles"
    await eventually(lambda: kept.is_dir() and not list(kept.iterdir()))


async def test_bundles_that_an_earlier_run_left_are_removed(store: Counting, bundles: Bundles, tmp_path: Path) -> None:
    digest = await put(store, bundle("handler.py"))
    (tmp_path / "bundles" / "left").mkdir(parents=True)
    bundles.use(digest)
    await bundles.folder(digest)
    await bundles.tidy()
    assert [each.name for each in (tmp_path / "bundles").iterdir()] == [digest]
