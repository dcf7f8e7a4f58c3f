"""Composing entries is stable, and differences are exactly what is to be done."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.messages.catalog import CatalogMeta, FunctionEntry, Policy, Problem, RouteEntry
from libs.secrets import KeyRing
from services.registry.functions import catalog
from services.registry.source.environment import EnvValue
from services.registry.source.found import FoundVersion
from services.registry.source.snapshot import LoadedFunction, LoadedVersion, Snapshot

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RING = KeyRing.parse(KeyRing.generate())


def loaded(
    name: str = "hello", *, bundle: str = "b1", env: dict[str, str] | None = None, timeout_ms: int = 2500
) -> LoadedFunction:
    found = FoundVersion(
        label="default", root=name, entrypoint="handler.py", files=(f"{name}/handler.py",), policy=Policy(timeout_ms=timeout_ms)
    )
    values = {key: EnvValue(text=text) for key, text in (env or {}).items()}
    return LoadedFunction(
        runtime="python",
        name=name,
        file_route=False,
        versions=(LoadedVersion(found=found, bundle=bundle, env=values),),
        routes=(RouteEntry(pattern=f"/{name}", methods=("GET",), rank=3),),
    )


def snapshot(*functions: LoadedFunction) -> Snapshot:
    return Snapshot(namespace="default", functions=functions, conflicts=(), problems=())


def composed(function: LoadedFunction, known: FunctionEntry | None = None, ring: KeyRing = RING) -> FunctionEntry:
    return catalog.compose(function, namespace="default", known=known, sealer=ring)


def test_compose_gives_the_stored_entry_when_nothing_has_changed() -> None:
    known = replace(composed(loaded(env={"A": "1", "B": "2"})), revision=7)

    assert composed(loaded(env={"B": "2", "A": "1"}), known) == known


def test_compose_seals_values_bound_to_the_version() -> None:
    [version] = composed(loaded(env={"TOKEN": "s3cret"})).versions

    assert b"s3cret" not in version.env_sealed
    assert RING.open(version.env_sealed, context="env:default/python/hello@default") == b'{"TOKEN":"s3cret"}'


@pytest.mark.parametrize(
    "changed",
    [loaded(env={"A": "2"}), loaded(env={"A": "1"}, bundle="b2"), loaded()],
    ids=["another value", "other code", "no environment"],
)
def test_compose_gives_another_digest_when_a_worker_would_hold_something_else(changed: LoadedFunction) -> None:
    known = composed(loaded(env={"A": "1"}))

    assert composed(changed, known).versions[0].digest != known.versions[0].digest


def test_compose_keeps_the_digest_when_only_the_policy_has_changed() -> None:
    known = composed(loaded(env={"A": "1"}))
    changed = composed(loaded(env={"A": "1"}, timeout_ms=9), known)

    assert changed != known
    assert changed.versions[0].digest == known.versions[0].digest


def test_compose_seals_anew_when_the_key_was_taken_away() -> None:
    known = composed(loaded(env={"A": "1"}))
    other = KeyRing.parse(KeyRing.generate("k2"))

    [version] = composed(loaded(env={"A": "1"}), known, other).versions

    assert other.open(version.env_sealed, context="env:default/python/hello@default") == b'{"A":"1"}'


def test_differences_are_new_changed_and_gone_functions() -> None:
    same, changed, gone = (composed(loaded(name)) for name in ("same", "changed", "gone"))
    stored = {f"default/python/{entry.name}": entry for entry in (same, changed, gone)}
    applied = {
        f"default/python/{name}": (loaded(name), stored[f"default/python/{name}"]) for name in ("same", "changed", "gone")
    }
    folder = snapshot(loaded("same"), loaded("changed", bundle="b2"), loaded("new"))

    found = catalog.differences(folder, stored=stored, applied=applied)

    assert [function.name for function in found.deploy] == ["changed", "new"]
    assert found.remove == (gone,)


def test_differences_look_again_when_the_store_has_changed_behind_our_back() -> None:
    entry = composed(loaded())
    applied = {"default/python/hello": (loaded(), entry)}

    found = catalog.differences(
        snapshot(loaded()), stored={"default/python/hello": replace(entry, revision=9)}, applied=applied
    )

    assert [function.name for function in found.deploy] == ["hello"]


def test_differences_never_remove_what_comes_from_elsewhere() -> None:
    stored = {
        "default/python/api": replace(composed(loaded("api")), source="api"),
        "acme/python/hello": replace(composed(loaded()), namespace="acme"),
    }

    assert catalog.differences(snapshot(), stored=stored, applied={}).remove == ()


@pytest.mark.parametrize(
    "folder",
    [
        {"broken": frozenset({("python", "acme/orders")})},
        {"unread": ("acme",)},
        {"unread": ("python/acme",)},
        {"unread": ("python/acme/orders/handler.py",)},
        {"unread": ("",)},
    ],
    ids=["broken", "its folder", "its folder below the runtime", "its file", "the root"],
)
def test_differences_never_remove_what_could_not_be_read(folder: dict[str, Any]) -> None:
    stored = {"default/python/acme/orders": composed(loaded("acme/orders"))}

    assert catalog.differences(replace(snapshot(), **folder), stored=stored, applied={}).remove == ()


def test_differences_remove_what_is_gone_beside_what_could_not_be_read() -> None:
    stored = {"default/python/acme/orders": composed(loaded("acme/orders"))}

    found = catalog.differences(replace(snapshot(), unread=("acme/other", "python/acm")), stored=stored, applied={})

    assert found.remove == tuple(stored.values())


def test_differences_leave_a_stored_function_as_it_is_when_a_part_of_it_could_not_be_read() -> None:
    stored = {"default/python/hello": composed(loaded())}
    folder = replace(
        snapshot(loaded(bundle="half"), loaded("new", bundle="half")), unread=("python/hello/lib", "python/new/lib")
    )

    found = catalog.differences(folder, stored=stored, applied={})

    assert [function.name for function in found.deploy] == ["new"]


def test_meta_is_the_known_one_when_only_time_has_passed() -> None:
    known = CatalogMeta(generated_at=NOON, functions=3, conflicts=("/a",), problems=(Problem(path="x", message="y"),))

    def now(functions: int) -> CatalogMeta:
        return catalog.meta(
            known=known,
            functions=functions,
            functions_root="",
            conflicts=("/a",),
            problems=(Problem(path="x", message="y"),),
            defaults=Policy(),
            now=NOON + timedelta(hours=1),
        )

    assert now(3) is known
    assert now(4).generated_at == NOON + timedelta(hours=1)


def test_compose_tells_which_values_are_secret_and_which_secrets_are_asked_for() -> None:
    function = loaded()
    [version] = function.versions
    values = {"OPEN": EnvValue(text="1"), "KEY": EnvValue(text="2", is_secret=True)}
    asking = replace(version, env=values, found=replace(version.found, secrets=("A",)))

    [made] = composed(replace(function, versions=(asking,))).versions

    assert (made.secret_env, made.secret_names, made.secrets) == (("KEY",), ("A",), {})
