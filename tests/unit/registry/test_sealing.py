"""What is sealed in an entry is brought up to date, and what is up to date stays as it is, digest and all."""

from dataclasses import replace
from typing import Any

import pytest

from libs.messages.catalog import FunctionEntry, Policy, Problem, VersionEntry
from libs.secrets import KeyRing
from services.registry.secrets import sealing

OLD_TEXT = KeyRing.generate("old")
NEW_TEXT = KeyRing.generate("new")
OLD, NEW, BOTH = KeyRing.parse(OLD_TEXT), KeyRing.parse(NEW_TEXT), KeyRing.parse(f"{NEW_TEXT},{OLD_TEXT}")
CONTEXT = "env:default/python/hello@default"


def entry(version: VersionEntry | None = None, **fields: Any) -> FunctionEntry:
    plain = VersionEntry(label="default", digest="d", bundle="b", entrypoint="handler.py", policy=Policy())
    made = replace(version or plain, **fields)
    return FunctionEntry(namespace="default", runtime="python", name="hello", revision=1, source="folder", versions=(made,))


def only(found: FunctionEntry) -> VersionEntry:
    [version] = found.versions
    return version


def sealed(value: bytes = b"1", ring: KeyRing = OLD) -> bytes:
    return ring.seal(value, context="secret:default/KEY")


def test_version_that_asks_for_nothing_stays_as_it_is() -> None:
    known = entry(env_sealed=OLD.seal(b"{}", context=CONTEXT))
    assert sealing.renewed(known, secrets={"KEY": sealed()}, sealer=OLD) == known


@pytest.mark.parametrize("asking", [entry(secret_names=("KEY", "NONE")), entry(secret_env=("KEY",))])
def test_version_gets_the_secrets_that_it_names_and_no_others(asking: FunctionEntry) -> None:
    kept = sealed()
    version = only(sealing.renewed(asking, secrets={"KEY": kept, "OTHER": b"x"}, sealer=OLD))
    assert version.secrets == {"KEY": kept}


def test_renewing_twice_changes_nothing() -> None:
    once = sealing.renewed(entry(secret_names=("KEY",)), secrets={"KEY": sealed()}, sealer=OLD)
    assert sealing.renewed(once, secrets=only(once).secrets, sealer=OLD) == once


def test_secret_that_is_asked_for_and_not_there_is_told() -> None:
    asking = sealing.renewed(entry(secret_names=("KEY", "NONE")), secrets={"KEY": sealed()}, sealer=OLD)
    assert sealing.unmet([asking, entry(secret_env=("TOKEN",))]) == [
        Problem(path="hello", message="asks for the secret NONE, which is not set")
    ]


def test_digest_changes_with_what_workers_hold() -> None:
    asking = entry(secret_names=("KEY",))
    versions = [
        only(sealing.renewed(asking, secrets=secrets, sealer=OLD))
        for secrets in ({}, {"KEY": sealed(b"1")}, {"KEY": sealed(b"2")})
    ]
    marked = only(sealing.renewed(entry(secret_env=("KEY",)), secrets={}, sealer=OLD))
    assert len({version.digest for version in (*versions, marked)}) == 4


def test_secret_that_is_gone_leaves_the_version() -> None:
    held = sealing.renewed(entry(secret_names=("KEY",)), secrets={"KEY": sealed()}, sealer=OLD)
    gone = sealing.renewed(held, secrets={}, sealer=OLD)
    assert only(gone).secrets == {}
    assert only(gone).digest != only(held).digest


def test_environment_is_sealed_anew_when_there_is_a_new_key() -> None:
    known = entry(env_sealed=OLD.seal(b'{"A":"1"}', context=CONTEXT))
    version = only(sealing.renewed(known, secrets={}, sealer=BOTH))
    assert NEW.open(version.env_sealed, context=CONTEXT) == b'{"A":"1"}'
    assert version.digest != only(known).digest
    assert only(sealing.renewed(entry(version), secrets={}, sealer=NEW)) == version


def test_environment_whose_key_is_not_known_is_left_alone() -> None:
    known = entry(env_sealed=OLD.seal(b"{}", context=CONTEXT))
    assert sealing.renewed(known, secrets={}, sealer=NEW) == known
