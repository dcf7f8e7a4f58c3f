"""Where the labels of a function lead, apart from what its source says: rollbacks and aliases. Pure.

A source (a folder, the API) gives one version for each of its labels. A rollback *pins* a label to an earlier version and
holds back what the source gives. It lasts until the source gives a new version for that label, or until it is taken back.
An alias is a label of its own that leads to one version, or to several by weight.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from libs import errors
from libs.messages.catalog import Alias, FunctionEntry, Pin, Share, VersionEntry

MAX_ALIASES = 32
MAX_SHARES = 8
MAX_WEIGHT = 10_000
SHORT = 12
"""Digits of a digest that make the label of a version without one."""

_LABEL = re.compile(r"(?!\.{1,2}\Z)[a-zA-Z0-9_.-]{1,100}\Z")


def given(entry: FunctionEntry | None) -> dict[str, VersionEntry]:
    """Return the versions as the source gave them, by label: those that are held back instead of those that run."""
    if entry is None:
        return {}
    return {version.label: version for version in entry.versions} | {pin.held.label: pin.held for pin in entry.pins}


def all_versions(entry: FunctionEntry) -> tuple[VersionEntry, ...]:
    """Return every version that an entry names, those that are held back included."""
    return entry.runnable + tuple(pin.held for pin in entry.pins)


def steered(fresh: FunctionEntry, known: FunctionEntry | None) -> FunctionEntry:
    """Return what the source gives, `fresh`, with the pins and aliases of `known` that still hold."""
    if known is None or not (known.pins or known.aliases or known.kept):
        return fresh
    pinned = {pin.held.label: pin for pin in known.pins}
    running = {version.label: version for version in known.versions}
    versions: list[VersionEntry] = []
    pins: list[Pin] = []
    for version in fresh.versions:
        pin = pinned.get(version.label)
        if pin is None or _is_new(pin.held, version):
            versions.append(version)
            continue
        pins.append(replace(pin, held=version))
        versions.append(_with_policy(running[version.label], version))
    return replace(
        fresh,
        versions=tuple(versions),
        pins=tuple(pins),
        aliases=known.aliases,
        kept=tuple(_with_policy(version, _pattern(fresh, version)) for version in known.kept),
    )


def rolled_back(entry: FunctionEntry, label: str, target: VersionEntry, *, now: datetime, by: str) -> FunctionEntry:
    """Return the entry with a label pinned to an earlier version; back at what the source gives, the pin goes.

    Raises:
        errors.NotFoundError: the function has no such label.
    """
    source = given(entry).get(label)
    if source is None:
        raise errors.NotFoundError(f"{entry.name} has no version {label}")
    others = [pin for pin in entry.pins if pin.held.label != label]
    if target.digest == source.digest:
        return _with_version(replace(entry, pins=tuple(others)), source)
    pins = sorted((*others, Pin(held=source, since=now, by=by)), key=lambda pin: pin.held.label)
    return _with_version(replace(entry, pins=tuple(pins)), _labelled(_with_policy(target, source), label))


def unpinned(entry: FunctionEntry, label: str) -> FunctionEntry:
    """Return the entry with what the source gives for a label.

    Raises:
        errors.NotFoundError: the label is not pinned.
    """
    pin = next((pin for pin in entry.pins if pin.held.label == label), None)
    if pin is None:
        raise errors.NotFoundError(f"{label} of {entry.name} is not pinned")
    return _with_version(replace(entry, pins=tuple(each for each in entry.pins if each is not pin)), pin.held)


def with_alias(entry: FunctionEntry, alias: Alias, stored: Mapping[str, VersionEntry]) -> FunctionEntry:
    """Return the entry with an alias added or replaced.

    Args:
        entry: the function.
        alias: its shares name labels, those of `kept` too, or digests (whole) of versions that are stored.
        stored: the function's versions by digest.

    Raises:
        errors.NotFoundError: a share's version does not exist.
        errors.PermanentError: the alias is not a possible one.
    """
    _check(alias)
    labels = {version.label for version in entry.runnable}
    kept = {version.label: version for version in entry.kept}
    shares: list[Share] = []
    for share in alias.shares:
        if share.version not in labels:
            former = stored.get(share.version)
            if former is None:
                raise errors.NotFoundError(f"{entry.name} has no version {share.version}")
            label = former.digest[:SHORT]
            kept[label] = _labelled(_with_policy(former, _pattern(entry, former)), label)
            share = replace(share, version=label)
        shares.append(share)
    if len({share.version for share in shares}) < len(shares):
        raise errors.PermanentError("an alias names each version once")
    others = [each for each in entry.aliases if each.name != alias.name]
    if len(others) >= MAX_ALIASES:
        raise errors.PermanentError(f"a function has at most {MAX_ALIASES} aliases")
    return _needed(entry, [*others, replace(alias, shares=tuple(shares))], kept)


def without_alias(entry: FunctionEntry, name: str) -> FunctionEntry:
    """Return the entry without an alias.

    Raises:
        errors.NotFoundError: there is none of that name.
    """
    if entry.alias(name) is None:
        raise errors.NotFoundError(f"{entry.name} has no alias {name}")
    others = [each for each in entry.aliases if each.name != name]
    return _needed(entry, others, {version.label: version for version in entry.kept})


def reformed(known: FunctionEntry | None, fresh: FunctionEntry, final: FunctionEntry) -> dict[str, str]:
    """Return which versions are the same ones in another form: what was built for them, a secret, or the key is another.

    Args:
        known: as it was.
        fresh: as it comes from its source, the same function.
        final: as it will be: `fresh` with today's secrets, key and layers.

    Returns:
        From the digest that a version had to the one that it has.
    """
    if known is None:
        return {}
    before, now, after = _slots(known), _slots(fresh), _slots(final)
    return {
        before[slot].digest: version.digest
        for slot, version in after.items()
        if slot in before and before[slot].digest != version.digest and not _is_new(before[slot], now[slot])
    }


def _slots(entry: FunctionEntry) -> dict[tuple[str, str], VersionEntry]:
    """Return the versions of an entry by where in it they are."""
    running = {("runs", version.label): version for version in entry.runnable}
    return running | {("held", pin.held.label): pin.held for pin in entry.pins}


def _check(alias: Alias) -> None:
    if not _LABEL.match(alias.name):
        raise errors.PermanentError("invalid alias: 1 to 100 letters, digits, '_', '.' or '-', and not '.' or '..'")
    if not 1 <= len(alias.shares) <= MAX_SHARES:
        raise errors.PermanentError(f"an alias leads to 1 to {MAX_SHARES} versions")
    if any(not 0 <= share.weight <= MAX_WEIGHT for share in alias.shares):
        raise errors.PermanentError(f"a weight is a number from 0 to {MAX_WEIGHT}")
    if not any(share.weight for share in alias.shares):
        raise errors.PermanentError("an alias needs a weight above 0")


def _needed(entry: FunctionEntry, aliases: Sequence[Alias], kept: Mapping[str, VersionEntry]) -> FunctionEntry:
    """Return the entry with these aliases and no kept version that none of them leads to."""
    wanted = {share.version for alias in aliases for share in alias.shares}
    return replace(
        entry,
        aliases=tuple(sorted(aliases, key=lambda alias: alias.name)),
        kept=tuple(kept[label] for label in sorted(kept) if label in wanted),
    )


def _with_version(entry: FunctionEntry, version: VersionEntry) -> FunctionEntry:
    return replace(entry, versions=tuple(version if each.label == version.label else each for each in entry.versions))


def _labelled(version: VersionEntry, label: str) -> VersionEntry:
    """Return a version under a label. Its environment opens with the label that it was sealed for."""
    sealed_for = version.sealed_for or version.label
    return replace(version, label=label, sealed_for="" if sealed_for == label else sealed_for)


def _with_policy(version: VersionEntry, source: VersionEntry) -> VersionEntry:
    """Return a version with what is not a part of it (timeouts, methods, schedule) as the source says now."""
    return replace(version, policy=source.policy, schedule=source.schedule)


def _pattern(entry: FunctionEntry, version: VersionEntry) -> VersionEntry:
    """Return the version whose policy one without a label of the source's has, without firing by itself: the first one's."""
    return replace(entry.versions[0], schedule=None) if entry.versions else version


def _is_new(held: VersionEntry, version: VersionEntry) -> bool:
    """Whether the source gives another version than the one that is held back. What was built for it is no part of that."""

    def identity(each: VersionEntry) -> tuple[object, ...]:
        return (
            each.bundle,
            each.entrypoint,
            each.handler,
            each.handler_style,
            each.env_sealed,
            each.secret_env,
            each.secret_names,
            each.limits,
            each.permissions,
        )

    return identity(held) != identity(version)
