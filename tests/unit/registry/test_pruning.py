"""Former versions go, some are kept, and nothing that is needed or young is touched."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from libs import errors
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.clock import ManualClock
from libs.messages import bundles, codec, subjects
from libs.messages.catalog import Bundle, BundleFile, FunctionEntry, Policy, VersionEntry
from libs.storage.memory import MemoryStore
from libs.storage.port import RevisionConflictError
from services.registry.deploys.pruning import FORGOTTEN, YOUNG, Pruning
from services.registry.functions import documents
from services.registry.functions.store import Functions

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def code(text: str) -> Bundle:
    return Bundle(files=(BundleFile(path="handler.py", data=text.encode()),))


class Stand:
    def __init__(self) -> None:
        self.clock = ManualClock(NOON)
        self.store = MemoryStore()
        self.bus = MemoryBus(MemoryBroker())
        self.functions = Functions(store=self.store, clock=self.clock)
        self.revisions: dict[str, int] = {}

    def pruning(self, *, keep: int = 0) -> Pruning:
        return Pruning(bus=self.bus, store=self.store, clock=self.clock, keep=keep)

    async def deploy(self, name: str, text: str) -> FunctionEntry:
        """Deploy a function and project its code, and let some time go by."""
        bundle = code(text)
        digest = bundles.bundle_digest(bundle)
        version = VersionEntry(
            label="default", digest=f"{name}:{text}", bundle=digest, entrypoint="handler.py", policy=Policy()
        )
        entry = FunctionEntry(
            namespace="default",
            runtime="python",
            name=name,
            revision=self.revisions.get(name, 0),
            source="folder",
            versions=(version,),
        )
        written = await self.functions.write(entry, {digest: bundle})
        self.revisions[name] = written.revision
        await (await self.bus.objects(subjects.BUNDLE_STORE)).put(digest, codec.encode(bundle))
        self.clock.advance(timedelta(minutes=1))
        return written

    async def versions(self) -> set[str]:
        return {document["digest"] for document in await self.store.find(documents.VERSIONS)}

    async def has(self, text: str) -> bool:
        """Return whether code is both in the store and in the object store."""
        digest = bundles.bundle_digest(code(text))
        stored = await self.functions.bundle(digest) is not None
        shown = await (await self.bus.objects(subjects.BUNDLE_STORE)).has(digest)
        assert stored == shown
        return stored


@pytest.fixture
async def stand() -> Stand:
    made = Stand()
    await made.functions.ensure()
    return made


async def test_prune_removes_former_versions_and_their_code_when_they_are_old(stand: Stand) -> None:
    await stand.deploy("f", "one")
    await stand.deploy("f", "two")
    stand.clock.advance(YOUNG)

    assert await stand.pruning().prune() == 1
    assert await stand.versions() == {"f:two"}
    assert not await stand.has("one")
    assert await stand.has("two")


async def test_prune_keeps_the_newest_former_versions(stand: Stand) -> None:
    for text in ("one", "two", "three", "four"):
        await stand.deploy("f", text)
    stand.clock.advance(YOUNG)

    await stand.pruning(keep=2).prune()

    assert await stand.versions() == {"f:two", "f:three", "f:four"}


async def test_prune_leaves_what_is_young(stand: Stand) -> None:
    await stand.deploy("f", "one")
    await stand.deploy("f", "two")

    assert await stand.pruning().prune() == 0


async def test_prune_leaves_what_was_put_to_use_again(stand: Stand) -> None:
    await stand.deploy("f", "one")
    await stand.deploy("f", "two")
    stand.clock.advance(YOUNG)
    await stand.deploy("f", "one")
    await stand.deploy("f", "three")

    await stand.pruning().prune()

    assert await stand.versions() == {"f:one", "f:three"}
    assert await stand.has("one")


async def test_prune_keeps_code_that_another_function_has_too(stand: Stand) -> None:
    await stand.deploy("f", "same")
    await stand.deploy("g", "same")
    await stand.deploy("f", "other")
    stand.clock.advance(YOUNG)

    await stand.pruning().prune()

    assert await stand.versions() == {"f:other", "g:same"}
    assert await stand.has("same")


async def test_prune_removes_all_of_a_function_that_is_gone(stand: Stand) -> None:
    entry = await stand.deploy("f", "one")
    await stand.functions.remove(entry)
    stand.clock.advance(YOUNG)

    await stand.pruning(keep=10).prune()

    assert await stand.versions() == set()
    assert not await stand.has("one")


async def test_function_that_comes_back_goes_on_with_its_revisions_until_it_is_forgotten(stand: Stand) -> None:
    await stand.functions.remove(await stand.deploy("f", "one"))
    stand.revisions.clear()
    stand.clock.advance(FORGOTTEN)
    await stand.pruning().prune()
    second = await stand.deploy("f", "one")
    assert second.revision == 3
    with pytest.raises(RevisionConflictError):
        await stand.functions.remove(replace(second, revision=2))
    assert await stand.functions.remove(second)
    assert not await stand.functions.remove(second)
    assert (await stand.functions.read_all({})).entries == {}

    stand.revisions.clear()
    stand.clock.advance(FORGOTTEN + timedelta(days=1))
    await stand.pruning().prune()
    assert (await stand.deploy("f", "one")).revision == 1


async def test_prune_says_that_the_store_is_away(stand: Stand) -> None:
    stand.store.reachable = False

    with pytest.raises(errors.UnavailableError):
        await stand.pruning().prune()


async def test_bundle_larger_than_a_document_is_kept_in_parts(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PART_BYTES", 100)
    large = "x" * 1000
    await stand.deploy("f", large)
    await stand.deploy("g", large)

    assert await stand.functions.bundle(bundles.bundle_digest(code(large))) == code(large)
    assert await stand.store.count(documents.BUNDLES) > 10

    for name in ("f", "g"):
        await stand.deploy(name, "small")
    stand.clock.advance(YOUNG)
    await stand.pruning().prune()
    assert await stand.store.count(documents.BUNDLES) == 1
