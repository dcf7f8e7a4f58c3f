"""The stored form is brought up to date, once, whoever dies on the way; on every store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from libs import errors
from libs.clock import ManualClock, SystemClock
from libs.messages import codec
from libs.messages.catalog import FunctionEntry, Policy, Resolution, VersionEntry
from libs.storage.memory import MemoryStore
from libs.storage.port import Store
from libs.storage.sqlite import SqliteStore
from libs.testing.mongo import running_mongo
from services.registry.functions import documents
from services.registry.functions.store import Functions
from services.registry.migrations.runner import LEASE, STEPS, Migrations, NewerFormError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "sqlite", "mongo"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store of each kind, as the registry opens it."""
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "sqlite":
        made = await SqliteStore.open(tmp_path / "store.sqlite3")
        yield made
        await made.close()
    else:
        from libs.storage.mongo import MongoStore

        async with running_mongo(tmp_path / "mongo") as server:
            opened = await MongoStore.open(server.url, database="fnbus_registry")
            yield opened
            await opened.close()


def migrations(
    store: Store, *steps: Callable[[Store, Callable[[], Awaitable[None]]], Awaitable[None]], replica: str = "one"
) -> Migrations:
    return Migrations(store=store, clock=SystemClock(), replica=replica, steps=steps or STEPS, poll_seconds=0.01)


def version(digest: str, *, state: str = "none") -> VersionEntry:
    return VersionEntry(
        label="default",
        digest=digest,
        bundle="bundle",
        entrypoint="handler.py",
        policy=Policy(),
        resolution=Resolution(state=state),
    )


async def in_form_0(store: Store, *functions: FunctionEntry, former: int = 0) -> None:
    """Fill a store as the release before the first numbered form did."""
    for collection in (documents.FUNCTIONS, documents.VERSIONS, documents.BUNDLES, documents.CATALOG):
        await store.ensure(collection)
    for each in functions:
        await store.insert(documents.FUNCTIONS, documents.from_entry(each))
    owner = documents.id_of(functions[0])
    used = [version.digest for each in functions for version in each.versions]
    for digest in (*dict.fromkeys(used), *(f"former-{number:04}" for number in range(former))):
        await store.insert(
            documents.VERSIONS,
            {
                "_id": digest,
                "function": owner,
                "label": "default",
                "bundle": "bundle",
                "created_at": NOON,
                "version": codec.encode(version(digest)),
            },
        )


def function(name: str, digest: str, *, state: str = "none") -> FunctionEntry:
    return FunctionEntry(
        namespace="default",
        runtime="python",
        name=name,
        revision=1,
        source="folder",
        versions=(version(digest, state=state),),
    )


async def test_new_store_begins_in_the_present_form(store: Store) -> None:
    assert await migrations(store).run() == len(STEPS)
    assert await migrations(store).run() == len(STEPS)


async def test_store_of_the_previous_form_has_each_function_s_versions_listed(store: Store) -> None:
    await in_form_0(store, function("one", "d1"), function("twin", "d1"), function("waits", "d2", state="pending"), former=450)

    assert await migrations(store).run() == len(STEPS)

    functions = Functions(store=store, clock=ManualClock(NOON))
    assert len(await functions.versions("default/python/one")) == 452
    twin = await functions.versions("default/python/twin")
    assert [each["_id"] for each in twin] == ["default/python/twin@d1"]
    assert documents.to_version(twin[0]) == version("d1")
    kept = await functions.versions("default/python/one")
    assert {each["deployed_at"] for each in kept} == {NOON}
    assert await store.count(documents.VERSIONS) == 453


async def test_step_that_was_taken_twice_does_no_harm(store: Store) -> None:
    await in_form_0(store, function("one", "d1"), function("twin", "d1"), former=3)

    async def nothing() -> None: ...

    await STEPS[0](store, nothing)
    before = await store.find(documents.VERSIONS)
    await STEPS[0](store, nothing)

    assert await store.find(documents.VERSIONS) == before


async def test_steps_are_taken_once_by_one_of_several_replicas(store: Store) -> None:
    await in_form_0(store, function("one", "d1"))
    taken: list[int] = []

    async def first(_store: Store, alive: Callable[[], Awaitable[None]]) -> None:
        taken.append(1)
        await alive()

    async def second(_store: Store, _alive: Callable[[], Awaitable[None]]) -> None:
        taken.append(2)

    replicas = [migrations(store, first, second, replica=f"r{number}") for number in range(5)]
    assert await asyncio.gather(*(each.run() for each in replicas)) == [2] * 5
    assert taken == [1, 2]


async def test_step_is_taken_again_when_whoever_took_it_has_died(store: Store) -> None:
    await in_form_0(store, function("one", "d1"))
    clock = ManualClock(NOON)
    taken: list[str] = []

    async def dies(_store: Store, _alive: Callable[[], Awaitable[None]]) -> None:
        taken.append("died")
        raise RuntimeError("killed")

    async def works(_store: Store, _alive: Callable[[], Awaitable[None]]) -> None:
        taken.append("worked")

    with pytest.raises(RuntimeError):
        await Migrations(store=store, clock=clock, replica="one", steps=(dies,)).run()
    clock.advance(LEASE + timedelta(seconds=1))
    assert await Migrations(store=store, clock=clock, replica="two", steps=(works,)).run() == 1
    assert taken == ["died", "worked"]


async def test_step_that_goes_on_for_long_is_not_taken_over(store: Store) -> None:
    await in_form_0(store, function("one", "d1"))
    clock = ManualClock(NOON)

    async def long(_store: Store, alive: Callable[[], Awaitable[None]]) -> None:
        for _ in range(5):
            clock.advance(LEASE / 2)
            await alive()
            document = await store.get(documents.CATALOG, documents.FORM_ID)
            assert document is not None
            assert document["until"] > clock.now()

    assert await Migrations(store=store, clock=clock, replica="one", steps=(long,)).run() == 1


async def test_store_of_a_newer_release_is_refused(store: Store) -> None:
    await migrations(store, *STEPS, *STEPS).run()

    with pytest.raises(NewerFormError) as refused:
        await migrations(store).run()

    assert isinstance(refused.value, errors.PermanentError)
    assert str(len(STEPS) * 2) in str(refused.value)
