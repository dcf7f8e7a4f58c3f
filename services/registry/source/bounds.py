"""The fields of an `fn.config.json` that bound what a function's code may use and do. Pure.

Limits and permissions are taken over field by field: a folder that sets one keeps the others of the folders above it.
"""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from libs.messages import catalog
from services.registry.source.reading import Reader

LIMITS = tuple(field.name for field in fields(catalog.Limits))
"""Fields of a config that are limits, named alike in the catalogue."""

_RANGES = {
    "memory_mb": (64, 1024),
    "cpu_ms": (0, 86_400_000),
    "processes": (1, 4096),
    "open_files": (16, 65_536),
    "disk_mb": (1, 1024),
    "max_response_bytes": (0, 2**31 - 1),
}
_REMEMBERED = 1024
"""Of thousands of functions most say the same, or nothing."""
_REACHED = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?")
_HOSTS_RULE = "must be a list of hosts: api.example.com, *.example.com, host:port"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a config says of limits and permissions; None where it says nothing, or nothing that can be used."""

    memory_mb: int | None = None
    cpu_ms: int | None = None
    processes: int | None = None
    open_files: int | None = None
    disk_mb: int | None = None
    max_response_bytes: int | None = None
    network: bool | None = None
    hosts: tuple[str, ...] | None = None
    """Set whenever `network` is: a folder that says anything of the network says all of it."""
    local: bool | None = None
    write: bool | None = None
    env: bool | None = None
    run: bool | None = None

    def below(self, parent: "Bounds") -> "Bounds":
        """Return what holds in this config's folder: its own, and field by field its parent's where it has none."""
        mine = {name: value for name in _NAMES if (value := getattr(self, name)) is not None}
        return replace(parent, **mine) if mine else parent

    def limits(self) -> catalog.Limits:
        """Return the limits, with defaults where nothing is said."""
        return _limits(self)

    def permissions(self) -> catalog.Permissions:
        """Return the permissions, with defaults where nothing is said."""
        return _permissions(self)

    def said(self, names: Iterable[str]) -> dict[str, Any]:
        """Return those of these fields that say something."""
        return {name: value for name in names if (value := getattr(self, name)) is not None}


_NAMES = tuple(field.name for field in fields(Bounds))
_PERMISSIONS = tuple(field.name for field in fields(catalog.Permissions))


@functools.lru_cache(maxsize=_REMEMBERED)
def _limits(bounds: Bounds) -> catalog.Limits:
    return replace(catalog.Limits(), **bounds.said(LIMITS))


@functools.lru_cache(maxsize=_REMEMBERED)
def _permissions(bounds: Bounds) -> catalog.Permissions:
    return replace(catalog.Permissions(), **bounds.said(_PERMISSIONS))


def parse_bounds(config: Reader) -> Bounds:
    """Return what a config says of limits and permissions; what is wrong is told to its reader."""
    limits = {name: _limit(config, name) for name in LIMITS}
    allowed = config.section("permissions")
    if config.value("permissions") is not None and not isinstance(config.value("permissions"), dict):
        return Bounds(**limits, network=False, hosts=(), local=False, write=False, env=False, run=False)
    allowed.warn_unknown(("network", "hosts", "local", "write", "env", "run"))
    network, hosts = _network(allowed)
    return Bounds(
        **limits,
        network=network,
        hosts=hosts,
        **{name: _may(allowed, name) for name in ("local", "write", "env", "run")},
    )


def parse_keep_warm(config: Reader) -> catalog.KeepWarm | None:
    """Return the `keep_warm` of a config; `true` and `false` stand for it with its defaults."""
    value = config.value("keep_warm")
    if value is None:
        return None
    if isinstance(value, bool):
        return catalog.KeepWarm(enabled=value)
    section = config.section("keep_warm")
    default = catalog.KeepWarm()
    section.warn_unknown(field.name for field in fields(default))

    def count(name: str, *, minimum: int, maximum: int) -> int:
        found = section.integer(name, minimum=minimum, rule=f"must be >= {minimum}", maximum=maximum)
        return cast("int", getattr(default, name)) if found is None else found

    return catalog.KeepWarm(
        enabled=section.flag("enabled") is True,
        min_warm=count("min_warm", minimum=0, maximum=1024),
        ping_every_seconds=count("ping_every_seconds", minimum=1, maximum=86_400),
        idle_ttl_seconds=count("idle_ttl_seconds", minimum=1, maximum=31_536_000),
    )


def _limit(config: Reader, name: str) -> int | None:
    minimum, maximum = _RANGES[name]
    return config.integer(name, minimum=minimum, rule=f"must be from {minimum} to {maximum}", maximum=maximum)


def _may(allowed: Reader, name: str) -> bool | None:
    """Return a permission. One that is wrong is none: whoever writes one mostly means to take something away."""
    found = allowed.flag(name)
    return False if found is None and allowed.value(name) is not None else found


def _network(allowed: Reader) -> tuple[bool | None, tuple[str, ...] | None]:
    """Return whether the network is there, and the hosts to which it is confined; off when that cannot be told."""
    value = allowed.value("network")
    listed = _hosts(allowed, "hosts")
    named: tuple[str, ...] | None = ()
    if isinstance(value, list) and value:
        named = _hosts(allowed, "network")
    elif not isinstance(value, bool | list | None):
        allowed.refuse("network", "must be true, false or a list of hosts")
        named = None
    if listed is None or named is None:
        return False, ()
    if value is None:
        return (None, None) if allowed.value("hosts") is None else (bool(listed), listed)
    if value is True:
        return True, listed
    return (True, tuple(sorted({*named, *listed}))) if value else (False, ())


def _hosts(allowed: Reader, name: str) -> tuple[str, ...] | None:
    """Return the hosts that are named; none when nothing is said, None when it is wrong."""
    if allowed.value(name) is None:
        return ()
    found = allowed.texts(name, rule=_HOSTS_RULE)
    if found is None:
        return None
    hosts = tuple(sorted({host.lower() for host in found}))
    if not all(_REACHED.fullmatch(host) for host in hosts):
        allowed.refuse(name, _HOSTS_RULE)
        return None
    return hosts
