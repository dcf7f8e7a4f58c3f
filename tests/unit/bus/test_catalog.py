"""The catalogue, followed: what was there, what changes, and entries that nobody can read."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest

from libs.bus import catalog
from libs.bus.port import Bucket
from libs.messages import codec, subjects
from libs.messages.catalog import CatalogMeta, FunctionEntry
from libs.testing.buses import MemoryNet
from libs.testing.fakes import function_entry
from libs.testing.wait import eventually


class Follower:
    """What was told."""

    def __init__(self) -> None:
        self.functions: dict[str, FunctionEntry | None] = {}
        self.metas: list[CatalogMeta | None] = []
        self.complete = asyncio.Event()

    def take(self, key: str, function: FunctionEntry | None) -> None:
        self.functions[key] = function


@pytest.fixture
async def bucket() -> AsyncGenerator[Bucket]:
    net = MemoryNet()
    yield await (await net.connect("registry")).bucket(subjects.CATALOG_BUCKET)
    await net.close()


@pytest.fixture
async def follower(bucket: Bucket) -> AsyncGenerator[Follower]:
    """One who follows a catalogue that held the function `hello` before."""
    await bucket.put("f.hello", codec.encode(function_entry("hello")))
    made = Follower()
    async with asyncio.TaskGroup() as tasks:
        watch = catalog.follow(bucket, made.take, complete=made.complete, on_meta=made.metas.append)
        task = tasks.create_task(watch)
        yield made
        task.cancel()


async def test_follower_is_told_of_what_was_there_before_it_is_complete(follower: Follower) -> None:
    await follower.complete.wait()
    found = follower.functions["f.hello"]
    assert found is not None
    assert found.name == "hello"


async def test_follower_is_told_of_what_changes_and_goes(bucket: Bucket, follower: Follower) -> None:
    await follower.complete.wait()
    await bucket.put("f.more", codec.encode(function_entry("more")))
    await bucket.delete("f.hello")
    await eventually(lambda: "f.more" in follower.functions and follower.functions["f.hello"] is None)


async def test_what_concerns_all_functions_is_no_function(bucket: Bucket, follower: Follower) -> None:
    await bucket.put(subjects.CATALOG_META, codec.encode(CatalogMeta(generated_at=datetime.now(UTC), functions_root="/srv")))
    await eventually(lambda: follower.metas)
    assert follower.metas[0] is not None
    assert follower.metas[0].functions_root == "/srv"
    assert list(follower.functions) == ["f.hello"]


async def test_entry_that_cannot_be_read_changes_nothing_and_is_told_of(
    bucket: Bucket, follower: Follower, caplog: pytest.LogCaptureFixture
) -> None:
    await bucket.put("f.hello", b"\xc1")
    await bucket.put("f.more", codec.encode(function_entry("more")))
    await eventually(lambda: "f.more" in follower.functions)
    assert follower.functions["f.hello"]
    assert "cannot be read" in caplog.text
