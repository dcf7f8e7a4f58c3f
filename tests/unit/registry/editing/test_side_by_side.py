"""Registries without a folder share one store: each sees what the others write, and who comes second is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from libs import errors
from libs.bus.memory import MemoryBroker
from libs.messages.functions import ChangeKind, FunctionRef
from libs.messages.trees import ChangeTree, NewFile
from libs.storage.memory import MemoryStore
from tests.unit.registry.editing.stand import DEMO, Registry, running, stored


@pytest.fixture
def store() -> MemoryStore:
    """What they share."""
    return MemoryStore()


@pytest.fixture
async def pair(store: MemoryStore) -> AsyncIterator[tuple[Registry, Registry]]:
    """Two registries."""
    broker = MemoryBroker()
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running(stored(store), store=store, broker=broker))
        yield one, await stack.enter_async_context(running(stored(store), store=store, broker=broker))


async def test_change_through_one_is_seen_by_the_other(pair: tuple[Registry, Registry]) -> None:
    one, other = pair
    await one.change(ChangeKind.CREATE)
    assert (await other.detail()).entry.revision == 1
    changed = await other.change(ChangeKind.CODE, b"def handler(event): return 2\n", expected=1)
    assert (await one.detail()).code == "def handler(event): return 2\n"
    assert (await one.detail()).entry.revision == changed.revision == 2
    await one.change(ChangeKind.DELETE)
    with pytest.raises(errors.NotFoundError):
        await other.detail()


async def test_of_two_changes_of_one_revision_one_is_told(pair: tuple[Registry, Registry]) -> None:
    one, other = pair
    await one.change(ChangeKind.CREATE)
    made = await asyncio.gather(
        one.change(ChangeKind.CODE, b"def handler(event): return 1\n", expected=1),
        other.change(ChangeKind.CONFIG, {"timeout_ms": 7}, expected=1),
    )
    assert sorted(each.outdated for each in made) == [False, True]
    late = next(each for each in made if each.outdated)
    assert (late.revision, (await one.detail()).entry.revision) == (2, 2)


async def test_changes_that_expect_nothing_are_all_made(pair: tuple[Registry, Registry]) -> None:
    one, other = pair
    await one.change(ChangeKind.CREATE)
    await asyncio.gather(
        *(each.change(ChangeKind.PUT_FILE, b"x", path=f"{name}.txt") for each, name in ((one, "a"), (other, "b"), (one, "c"))),
        other.trees.change(ChangeTree(put=(NewFile(path="get.hello.py", data=b"def handler(event): ...\n"),))),
    )
    assert {file.path for file in (await other.detail()).files} == {"a.txt", "b.txt", "c.txt", "fn.config.json", "handler.py"}
    assert (await one.detail(FunctionRef(runtime="python", name="get.hello.py"))).entry.source == "api"


async def test_of_two_who_make_one_function_one_is_told(pair: tuple[Registry, Registry]) -> None:
    one, other = pair
    made = await asyncio.gather(one.change(ChangeKind.CREATE), other.change(ChangeKind.CREATE), return_exceptions=True)
    (refused,) = (each for each in made if isinstance(each, BaseException))
    assert str(refused) == "function already exists"


async def test_everything_is_there_after_a_restart(store: MemoryStore) -> None:
    async with running(stored(store), store=store) as before:
        await before.change(ChangeKind.CREATE)
        await before.change(ChangeKind.ENV, {"A": "1"})
    async with running(stored(store), store=store) as after:
        found = await after.detail()
        assert (found.entry.revision, found.entry.source, found.env[0].name) == (2, "api", "A")
        assert (await after.change(ChangeKind.CONFIG, {"timeout_ms": 7}, target=DEMO, expected=2)).revision == 3
