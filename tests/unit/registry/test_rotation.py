"""Everything is sealed anew under the key that seals now, and what cannot be is named."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest

from libs import errors
from libs.clock import ManualClock
from libs.messages import contexts
from libs.messages.audit import Actor, AuditList
from libs.messages.catalog import FunctionEntry, Policy, VersionEntry
from libs.messages.secrets import RotatedKeys, RotateKeys, SetSecret
from libs.secrets import KeyRing
from libs.storage.memory import MemoryStore
from services.registry.audit import Audit
from services.registry.functions import documents
from services.registry.functions.store import Functions
from services.registry.rotation import Rotation
from services.registry.secrets import sealing
from services.registry.secrets.vault import SECRETS, Vault

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, NEW = KeyRing.generate("old"), KeyRing.generate("new")
ADA = Actor(principal="ada")


class Stand:
    """A store, and registries on it with keys of their own."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = ManualClock(NOON)
        self.functions = Functions(store=self.store, clock=self.clock)
        self.revision = 0
        self.written: list[FunctionEntry] = []

    def registry(self, keys: str) -> tuple[Rotation, Vault, Audit]:
        audit = Audit(store=self.store, clock=self.clock)
        ring = KeyRing.parse(keys)
        vault = Vault(store=self.store, sealer=ring, clock=self.clock, audit=audit)
        rotation = Rotation(
            store=self.store,
            functions=self.functions,
            vault=vault,
            sealer=ring,
            audit=audit,
            on_written=lambda entry, _actor: self.written.append(entry),
        )
        return rotation, vault, audit

    async def deploy(self, value: str, vault: Vault) -> None:
        """Deploy another version of the function `f`, which asks for the secret KEY, under the old key."""
        ring = KeyRing.parse(OLD)
        context = contexts.of_env(namespace="default", runtime="python", name="f", label="default")
        version = VersionEntry(
            label="default",
            digest="",
            bundle=value,
            entrypoint="handler.py",
            policy=Policy(),
            env_sealed=ring.seal(orjson.dumps({"A": value}), context=context),
            secret_names=("KEY",),
        )
        entry = FunctionEntry(
            namespace="default", runtime="python", name="f", revision=self.revision, source="folder", versions=(version,)
        )
        await vault.refresh()
        entry = sealing.renewed(entry, secrets=vault.of("default"), sealer=ring)
        self.revision = (await self.functions.write(entry, {}, by="bob")).revision
        self.clock.advance(timedelta(minutes=1))

    async def opened(self, keys: str) -> list[str]:
        """Return the values of all versions that are kept, as a ring opens them."""
        ring = KeyRing.parse(keys)
        found: list[str] = []
        for document in await self.functions.all_versions():
            version = documents.to_version(document)
            assert document["digest"] == version.digest
            context = contexts.of_env(namespace="default", runtime="python", name="f", label="default")
            found.append(orjson.loads(ring.open(version.env_sealed, context=context))["A"])
            assert ring.open(version.secrets["KEY"], context=contexts.of_secret(namespace="default", key="KEY")) == b"s3cret"
        return sorted(found)


@pytest.fixture
async def stand() -> Stand:
    made = Stand()
    await made.functions.ensure()
    _, vault, _ = made.registry(OLD)
    await vault.set(SetSecret(key="KEY", value="s3cret"))
    for value in ("one", "two", "three"):
        await made.deploy(value, vault)
    return made


async def rotated(rotation: Rotation, *, limit: int = 2) -> RotatedKeys:
    """Go through all steps; return what they came to together."""
    first = done = await rotation.step(RotateKeys(limit=limit, actor=ADA))
    looked, resealed, failed = done.looked, done.resealed, done.failed
    while done.after:
        done = await rotation.step(RotateKeys(after=done.after, limit=limit, actor=ADA))
        looked, resealed, failed = looked + done.looked, resealed + done.resealed, failed + done.failed
    return RotatedKeys(key=done.key, total=first.total, looked=looked, resealed=resealed, failed=failed)


async def test_all_that_is_sealed_opens_with_the_new_key_alone(stand: Stand) -> None:
    rotation, _, audit = stand.registry(f"{NEW},{OLD}")
    done = await rotated(rotation)
    assert (done.key, done.total, done.resealed, done.failed) == ("new", 5, 4, ())
    assert done.looked >= done.total
    assert await stand.opened(NEW) == ["one", "three", "two"]
    (secret,) = await stand.store.find(SECRETS)
    assert KeyRing.parse(NEW).is_current(secret["sealed"])
    assert [entry.versions[0].bundle for entry in stand.written] == ["three"]
    assert {document["by"] for document in await stand.functions.all_versions()} == {"bob"}
    (told,) = (await audit.page(AuditList(limit=1), max_bytes=100_000)).records
    assert (told.action, told.subject, told.actor.principal) == ("keys.rotated", "new", "ada")


async def test_rotation_that_is_done_again_changes_nothing(stand: Stand) -> None:
    rotation, *_ = stand.registry(f"{NEW},{OLD}")
    await rotated(rotation)
    before = await stand.functions.all_versions()
    again = await rotated(rotation)
    assert (again.resealed, again.failed) == (0, ())
    assert await stand.functions.all_versions() == before


async def test_what_cannot_be_opened_stays_and_is_named(stand: Stand) -> None:
    rotation, *_ = stand.registry(NEW)
    done = await rotated(rotation)
    assert done.resealed == 0
    assert {each.split()[0] for each in done.failed} == {"the", "f", "version"}
    assert len(done.failed) == 4
    assert await stand.opened(OLD) == ["one", "three", "two"]


async def test_place_that_is_none_is_refused(stand: Stand) -> None:
    rotation, *_ = stand.registry(NEW)
    with pytest.raises(errors.PermanentError, match="no place"):
        await rotation.step(RotateKeys(after="elsewhere:1"))
