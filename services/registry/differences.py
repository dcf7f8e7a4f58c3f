"""What a write has changed of a function, said without any value: for the audit record. Pure."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from libs.messages.catalog import FunctionEntry, VersionEntry

_CODE = ("bundle", "entrypoint", "handler", "handler_style")
_WITHIN = ("policy", "limits", "permissions", "schedule")
"""Fields of a version that are records of their own: theirs are named."""


def summary(entry: FunctionEntry | None) -> dict[str, Any]:
    """Return what identifies the state of a function; empty for one that is not there."""
    if entry is None:
        return {}
    found: dict[str, Any] = {
        "revision": entry.revision,
        "versions": {version.label: version.digest for version in entry.versions},
    }
    if entry.pins:
        found["held"] = {pin.held.label: pin.held.digest for pin in entry.pins}
    if entry.aliases:
        found["aliases"] = {alias.name: {share.version: share.weight for share in alias.shares} for alias in entry.aliases}
    return found


def changed(before: FunctionEntry | None, after: FunctionEntry | None) -> tuple[str, ...]:
    """Return the names of what is different, sorted; nothing for a function that is new or gone."""
    if before is None or after is None:
        return ()
    names: set[str] = set()
    if before.routes != after.routes:
        names.add("routes")
    if before.source != after.source:
        names.add("source")
    old_aliases, new_aliases = ({alias.name: alias for alias in entry.aliases} for entry in (before, after))
    every = old_aliases.keys() | new_aliases.keys()
    names |= {f"aliases.{name}" for name in every if old_aliases.get(name) != new_aliases.get(name)}
    old, new = _by_label(before), _by_label(after)
    for label in old.keys() | new.keys():
        names |= _of_version(label, old.get(label), new.get(label))
    return tuple(sorted(names))


def _by_label(entry: FunctionEntry) -> Mapping[str, VersionEntry]:
    return {version.label: version for version in entry.versions}


def _of_version(label: str, old: VersionEntry | None, new: VersionEntry | None) -> set[str]:
    if old is None or new is None:
        return {label} if old is not new else set()
    names: set[str] = set()
    if any(getattr(old, name) != getattr(new, name) for name in _CODE):
        names.add(f"{label}.code")
    if old.env_sealed != new.env_sealed:
        names.add(f"{label}.env")
    if old.secrets != new.secrets:
        names.add(f"{label}.secrets")
    if old.secret_names != new.secret_names:
        names.add(f"{label}.secrets")
    names |= {
        f"{label}.secrets.{name}"
        for name in old.secrets.keys() | new.secrets.keys()
        if old.secrets.get(name) != new.secrets.get(name)
    }
    if (old.layer, old.resolution.state) != (new.layer, new.resolution.state):
        names.add(f"{label}.dependencies")
    for name in _WITHIN:
        names |= {f"{label}.{name}{each}" for each in _of_record(getattr(old, name), getattr(new, name))}
    return names


def _of_record(old: Any, new: Any) -> set[str]:
    if old == new:
        return set()
    if old is None or new is None:
        return {""}
    return {f".{each.name}" for each in dataclasses.fields(old) if getattr(old, each.name) != getattr(new, each.name)}
