"""Rollbacks and aliases: where labels lead, and for how long."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from libs import errors
from libs.messages.catalog import Alias, FunctionEntry, Policy, Schedule, Share, VersionEntry
from services.registry.functions import steering

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOURLY = Schedule(every_seconds=3600)


def version(code: str, *, label: str = "default", policy: Policy | None = None, env: bytes = b"") -> VersionEntry:
    return VersionEntry(
        label=label,
        digest=f"{code}{env.decode()}".ljust(64, "0"),
        bundle=f"bundle-{code}",
        entrypoint="handler.py",
        policy=policy or Policy(),
        env_sealed=env,
    )


def function(*versions: VersionEntry) -> FunctionEntry:
    return FunctionEntry(
        namespace="default", runtime="python", name="hello", revision=1, source="folder", versions=versions or (version("b"),)
    )


def pinned() -> FunctionEntry:
    """The source gives b, and a runs."""
    return steering.rolled_back(function(), "default", version("a"), now=NOON, by="ada")


def code_of(entry: FunctionEntry, label: str = "default") -> str:
    found = entry.version(label)
    assert found is not None
    return found.bundle


def test_rollback_runs_the_earlier_version_and_holds_back_what_the_source_gives() -> None:
    entry = pinned()

    assert code_of(entry) == "bundle-a"
    assert (entry.pins[0].held.bundle, entry.pins[0].by, entry.pins[0].since) == ("bundle-b", "ada", NOON)
    assert steering.given(entry)["default"].bundle == "bundle-b"


def test_rollback_survives_when_the_source_gives_the_same_version_again() -> None:
    assert steering.steered(function(), pinned()) == pinned()


def test_rollback_ends_when_the_source_gives_a_new_version() -> None:
    entry = steering.steered(function(version("c")), pinned())

    assert code_of(entry) == "bundle-c"
    assert not entry.pins


@pytest.mark.parametrize("env", [b"other"])
def test_rollback_ends_when_the_source_gives_another_environment(env: bytes) -> None:
    assert not steering.steered(function(version("b", env=env)), pinned()).pins


def test_rollback_takes_over_a_policy_that_changes_meanwhile() -> None:
    changed = replace(version("b", policy=Policy(timeout_ms=9)), schedule=HOURLY)

    entry = steering.steered(function(changed), pinned())

    assert (code_of(entry), entry.versions[0].policy.timeout_ms, entry.versions[0].schedule) == ("bundle-a", 9, HOURLY)


def test_rollback_survives_when_only_what_was_built_is_another() -> None:
    rebuilt = replace(version("b"), layer="new", digest="other")

    entry = steering.steered(function(rebuilt), pinned())

    assert (code_of(entry), entry.pins[0].held.layer) == ("bundle-a", "new")


def test_rollback_ends_when_the_label_leaves_the_source() -> None:
    entry = steering.steered(function(version("v", label="v2")), pinned())

    assert ([each.label for each in entry.versions], entry.pins) == (["v2"], ())


def test_rollback_to_what_the_source_gives_takes_the_pin_back() -> None:
    entry = steering.rolled_back(pinned(), "default", version("b"), now=NOON, by="ada")

    assert entry == function()


def test_rollback_of_one_label_leaves_the_others() -> None:
    entry = function(version("b"), version("b2", label="v2"))

    entry = steering.rolled_back(entry, "v2", version("a2", label="v2"), now=NOON, by="ada")

    assert (code_of(entry), code_of(entry, "v2")) == ("bundle-b", "bundle-a2")


def test_rollback_to_a_version_of_another_label_keeps_the_label_that_opens_its_environment() -> None:
    entry = steering.rolled_back(function(), "default", version("x", label="v2", env=b"sealed"), now=NOON, by="ada")

    assert (entry.versions[0].label, entry.versions[0].sealed_for) == ("default", "v2")
    back = steering.rolled_back(entry, "default", version("y"), now=NOON, by="ada")
    assert back.versions[0].sealed_for == ""


def test_rollback_of_an_unknown_label_is_refused() -> None:
    with pytest.raises(errors.NotFoundError):
        steering.rolled_back(function(), "v9", version("a"), now=NOON, by="ada")


def test_unpin_gives_the_label_back_to_the_source() -> None:
    assert steering.unpinned(pinned(), "default") == function()
    with pytest.raises(errors.NotFoundError):
        steering.unpinned(function(), "default")


def canary(*shares: Share, name: str = "canary") -> Alias:
    return Alias(name=name, shares=shares)


def test_alias_leads_to_a_label_and_follows_it() -> None:
    entry = steering.with_alias(function(), canary(Share(version="default")), {})

    after = steering.steered(function(version("c")), entry)

    assert after.alias("canary") == canary(Share(version="default"))
    assert code_of(after) == "bundle-c"


def test_alias_to_a_digest_keeps_that_version_callable_without_firing_by_itself() -> None:
    former = replace(version("a"), schedule=HOURLY)
    shares = (Share(version="default", weight=90), Share(version=former.digest, weight=10))

    entry = steering.with_alias(function(), canary(*shares), {former.digest: former})

    label = former.digest[: steering.SHORT]
    assert [share.version for share in entry.aliases[0].shares] == ["default", label]
    assert (code_of(entry, label), entry.kept[0].schedule) == ("bundle-a", None)
    assert [each.label for each in entry.versions] == ["default"]


def test_alias_that_goes_takes_its_versions_along() -> None:
    former = version("a")
    entry = steering.with_alias(function(), canary(Share(version=former.digest)), {former.digest: former})

    assert steering.without_alias(entry, "canary") == function()
    with pytest.raises(errors.NotFoundError):
        steering.without_alias(function(), "canary")


def test_alias_set_again_to_a_kept_version_by_its_digest_stays_as_it_is() -> None:
    former = version("a")
    alias, stored = canary(Share(version=former.digest)), {former.digest: former}
    entry = steering.with_alias(function(), alias, stored)

    assert steering.with_alias(entry, alias, stored) == entry


@pytest.mark.parametrize(
    "alias",
    [
        canary(),
        canary(Share(version="default"), name="not a label"),
        canary(Share(version="default"), name="."),
        canary(Share(version="default"), name=".."),
        canary(Share(version="default", weight=0)),
        canary(Share(version="default", weight=-1)),
        canary(Share(version="default"), Share(version="default")),
        canary(Share(version="nobody")),
        canary(*(Share(version="default") for _ in range(steering.MAX_SHARES + 1))),
    ],
)
def test_alias_that_makes_no_sense_is_refused(alias: Alias) -> None:
    with pytest.raises(errors.PermanentError):
        steering.with_alias(function(), alias, {})


def test_aliases_of_a_function_are_bounded() -> None:
    entry = function()
    for number in range(steering.MAX_ALIASES):
        entry = steering.with_alias(entry, canary(Share(version="default"), name=f"a{number}"), {})

    with pytest.raises(errors.PermanentError):
        steering.with_alias(entry, canary(Share(version="default"), name="more"), {})


def test_version_in_another_form_is_the_same_one() -> None:
    known = pinned()
    fresh = steering.steered(function(), known)
    final = replace(
        fresh,
        versions=(replace(fresh.versions[0], digest="a-renewed"),),
        pins=(replace(fresh.pins[0], held=replace(fresh.pins[0].held, digest="b-renewed")),),
    )

    assert steering.reformed(known, fresh, final) == {
        version("a").digest: "a-renewed",
        version("b").digest: "b-renewed",
    }


def test_new_version_is_no_other_form_of_the_one_before() -> None:
    fresh = function(version("c"))

    assert steering.reformed(function(), fresh, fresh) == {}
    assert steering.reformed(None, fresh, fresh) == {}
