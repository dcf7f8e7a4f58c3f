"""Secrets are kept sealed, set and removed, sealed anew under a new key, and told to nobody."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from libs import errors
from libs.clock import ManualClock
from libs.messages.audit import Actor, AuditList
from libs.messages.secrets import RemoveSecret, SecretInfo, SecretList, SetSecret
from libs.secrets import KeyRing, UnknownKeyError
from libs.storage.memory import MemoryStore
from services.registry.audit import Audit
from services.registry.secrets.vault import SECRETS, Vault

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD = KeyRing.generate("old")
NEW = KeyRing.generate("new")
ADA = Actor(principal="ada", ip="10.0.0.1", request_id="req-1")


class Stand:
    """A store, and registries' vaults on it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = ManualClock(NOON)
        self.changes = 0

    def vault(self, keys: str = OLD) -> Vault:
        self.audit = Audit(store=self.store, clock=self.clock)
        ring = KeyRing.parse(keys)
        return Vault(store=self.store, sealer=ring, clock=self.clock, audit=self.audit, on_change=self.changed)

    async def changed(self) -> None:
        self.changes += 1

    async def names(self, vault: Vault) -> tuple[SecretInfo, ...]:
        return (await vault.listing(SecretList())).secrets


@pytest.fixture
def stand() -> Stand:
    return Stand()


async def test_secret_is_listed_without_its_value_and_stored_sealed(stand: Stand) -> None:
    vault = stand.vault()
    await vault.set(SetSecret(key="B", value="s3cret", actor=ADA))
    stand.clock.advance(timedelta(seconds=5))
    await vault.set(SetSecret(key="A", value="other"))
    await vault.set(SetSecret(key="B", value="n3w"))
    later = NOON + timedelta(seconds=5)
    assert await stand.names(vault) == (
        SecretInfo(key="A", created_at=later),
        SecretInfo(key="B", created_at=NOON, updated_at=later),
    )
    [document] = [each for each in await stand.store.find(SECRETS) if each["key"] == "B"]
    assert b"n3w" not in document["sealed"]
    assert KeyRing.parse(OLD).open(document["sealed"], context="secret:default/B") == b"n3w"
    assert stand.changes == 3


async def test_vault_knows_what_was_set_after_a_refresh(stand: Stand) -> None:
    vault, other = stand.vault(), stand.vault()
    assert not await other.refresh()
    await vault.set(SetSecret(key="A", value="1"))
    assert other.of("default") == {}
    assert await other.refresh()
    assert not await other.refresh()
    assert list(other.of("default")) == ["A"]
    assert other.of("elsewhere") == {}
    await vault.remove(RemoveSecret(key="A"))
    assert await other.refresh()
    assert other.of("default") == {}


async def test_secret_that_is_not_there_is_removed_without_a_word(stand: Stand) -> None:
    vault = stand.vault()
    await vault.remove(RemoveSecret(key="A"))
    assert stand.changes == 0


async def test_namespaces_have_secrets_of_their_own(stand: Stand) -> None:
    vault = stand.vault()
    await vault.set(SetSecret(namespace="one", key="A", value="1"))
    await vault.refresh()
    assert await stand.names(vault) == ()
    assert list(vault.of("one")) == ["A"]
    with pytest.raises(errors.FnbusError):
        KeyRing.parse(OLD).open(vault.of("one")["A"], context="secret:default/A")


@pytest.mark.parametrize("key", ["", "1", "a b", "ä", "a/b", "$A", "A" * 129])
async def test_name_that_is_none_is_refused(stand: Stand, key: str) -> None:
    with pytest.raises(errors.PermanentError, match="a secret's key must match"):
        await stand.vault().set(SetSecret(key=key, value="1"))


@pytest.mark.parametrize("value", ["x" * 32_769, "ä" * 16_385, "a\0b"])
async def test_value_that_is_none_is_refused_without_being_repeated(stand: Stand, value: str) -> None:
    with pytest.raises(errors.PermanentError, match="32768 bytes") as caught:
        await stand.vault().set(SetSecret(key="A", value=value))
    assert value not in str(caught.value)


async def test_writes_are_noted_with_who_and_without_values(stand: Stand) -> None:
    vault = stand.vault()
    await vault.set(SetSecret(key="A", value="s3cret", actor=ADA))
    await vault.remove(RemoveSecret(key="A", actor=ADA))
    removed, was_set = (await stand.audit.page(AuditList(), max_bytes=100_000)).records
    assert (was_set.action, was_set.subject, was_set.actor, was_set.changed) == ("secret.set", "A", ADA, ("value",))
    assert (removed.action, removed.subject, removed.actor) == ("secret.removed", "A", ADA)
    assert "s3cret" not in f"{was_set}{removed}"


def test_request_shows_no_value_in_its_text() -> None:
    assert "s3cret" not in repr(SetSecret(key="A", value="s3cret"))


async def test_new_key_in_front_seals_everything_anew_and_the_old_one_can_go(stand: Stand) -> None:
    await stand.vault(OLD).set(SetSecret(key="A", value="1"))
    rotating = stand.vault(f"{NEW},{OLD}")
    assert await rotating.refresh()
    assert not await rotating.refresh()
    after = stand.vault(NEW)
    await after.refresh()
    ring = KeyRing.parse(NEW)
    assert ring.is_current(after.of("default")["A"])
    assert ring.open(after.of("default")["A"], context="secret:default/A") == b"1"
    assert (await stand.names(after))[0].updated_at is None


async def test_key_that_was_taken_away_too_early_leaves_the_secret_for_when_it_is_back(stand: Stand) -> None:
    await stand.vault(OLD).set(SetSecret(key="A", value="1"))
    early = stand.vault(NEW)
    await early.refresh()
    with pytest.raises(UnknownKeyError):
        KeyRing.parse(NEW).open(early.of("default")["A"], context="secret:default/A")
    back = stand.vault(f"{NEW},{OLD}")
    await back.refresh()
    assert KeyRing.parse(NEW).open(back.of("default")["A"], context="secret:default/A") == b"1"


async def test_two_registries_that_seal_anew_at_the_same_time_agree_in_the_end(stand: Stand) -> None:
    await stand.vault(OLD).set(SetSecret(key="A", value="1"))
    one, other = stand.vault(f"{NEW},{OLD}"), stand.vault(f"{NEW},{OLD}")
    await asyncio.gather(one.refresh(), other.refresh())
    await asyncio.gather(one.refresh(), other.refresh())
    assert one.of("default") == other.of("default")


async def test_secret_that_many_set_at_once_has_one_of_their_values(stand: Stand) -> None:
    one, other = stand.vault(), stand.vault()
    await asyncio.gather(*(vault.set(SetSecret(key="A", value=value)) for vault, value in ((one, "1"), (other, "2"))))
    await one.refresh()
    assert KeyRing.parse(OLD).open(one.of("default")["A"], context="secret:default/A") in (b"1", b"2")
