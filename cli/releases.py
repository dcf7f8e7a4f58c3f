"""Versions, rollback, aliases and the audit trail, as the command shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cli import output, request
from cli.client import GatewayClient
from cli.errors import CommandError
from cli.output import Column, Row, field, moment
from cli.target import Address

_DIGITS = 12
"""Digits of a digest that are shown: enough to name it by."""

_VERSIONS: Sequence[Column] = (
    ("digest", lambda row: str(row.get("digest") or "")[:_DIGITS]),
    ("version", field("version")),
    ("state", lambda row: _state(row)),
    ("deployed", moment("created_at_ms")),
    ("by", field("by")),
)
_ALIASES: Sequence[Column] = (
    ("alias", field("alias")),
    ("version", field("version")),
    ("weight", field("weight")),
    ("share", lambda row: f"{row.get('percent', 0):g} %" if row.get("digest") else "is gone"),
    ("digest", lambda row: str(row.get("digest") or "")[:_DIGITS]),
)
_AUDIT: Sequence[Column] = (
    ("at", moment("at_ms")),
    ("who", lambda row: " ".join(filter(None, (row.get("principal"), row.get("ip"))))),
    ("action", field("action")),
    ("function", field("name")),
    ("what", field("subject")),
    ("changed", lambda row: ", ".join(row.get("changed") or ())),
)


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """What is to be rolled back."""

    name: str
    digest: str = ""
    """Empty: the version before."""
    label: str = "default"
    runtime: str = ""
    undo: bool = False


def versions(name: str, *, at: Address, runtime: str, limit: int, json: bool) -> int:
    """List the versions of a function."""
    with GatewayClient(at) as gateway:
        query = {"name": _own_name(gateway, name), "runtime": runtime, "limit": limit}
        found = gateway.ask("GET", "/_fn/versions", query=query)
    if json:
        output.as_json(found)
        return 0
    output.table(_VERSIONS, found.get("versions") or [], empty="no version is kept")
    for pin in found.get("pins") or ():
        text = (
            f"{pin['version']} was rolled back by {pin.get('by') or 'somebody'}: `fnbus rollback {name} --undo` takes that back"
        )
        output.remark(text, fg="yellow")
    return 0


def rollback(wanted: Rollback, *, at: Address, json: bool) -> int:
    """Pin a label to an earlier version, or take that back."""
    if wanted.undo and wanted.digest:
        raise CommandError("--undo takes no digest: what the function's files say runs again")
    with GatewayClient(at) as gateway:
        name = _own_name(gateway, wanted.name)
        body = {"name": name, "version": wanted.label} | ({"runtime": wanted.runtime} if wanted.runtime else {})
        if wanted.undo:
            done = gateway.ask("DELETE", "/_fn/rollback", query=body)
        else:
            body |= {"digest": wanted.digest} if wanted.digest else {}
            done = gateway.ask("POST", "/_fn/rollback", body=body)
    if json:
        output.as_json(done)
        return 0
    output.line(f"{name}@{done['version']} runs {done['digest'][:_DIGITS]} (was {done['before'][:_DIGITS]})")
    if done.get("note"):
        output.remark(str(done["note"]))
    return 0


def aliases(name: str, *, at: Address, runtime: str, json: bool) -> int:
    """List the aliases of a function."""
    with GatewayClient(at) as gateway:
        found = gateway.ask("GET", "/_fn/aliases", query={"name": _own_name(gateway, name), "runtime": runtime})
    return _show_aliases(found, json=json)


def set_alias(name: str, alias: str, shares: Sequence[str], *, at: Address, runtime: str, json: bool) -> int:
    """Add or replace an alias."""
    with GatewayClient(at) as gateway:
        body: dict[str, Any] = {"name": _own_name(gateway, name), "alias": alias, "versions": dict(map(_share, shares))}
        found = gateway.ask("PUT", "/_fn/aliases", body=body | ({"runtime": runtime} if runtime else {}))
    return _show_aliases(found, json=json)


def remove_alias(name: str, alias: str, *, at: Address, runtime: str, json: bool) -> int:
    """Remove an alias."""
    with GatewayClient(at) as gateway:
        query = {"name": _own_name(gateway, name), "runtime": runtime, "alias": alias}
        found = gateway.ask("DELETE", "/_fn/aliases", query=query)
    return _show_aliases(found, json=json)


def audit(name: str, *, at: Address, before: str, limit: int, json: bool) -> int:
    """List who changed what."""
    with GatewayClient(at) as gateway:
        query = {"function": _own_name(gateway, name) if name else "", "before": before, "limit": limit}
        found = gateway.ask("GET", "/_fn/audit", query=query)
    if json:
        output.as_json(found)
        return 0
    output.table(_AUDIT, found.get("records") or [], empty="nothing was changed")
    if found.get("next"):
        output.remark(f"older ones: --before {found['next']}")
    return 0


def _own_name(gateway: GatewayClient, name: str) -> str:
    return request.name_of(name, gateway.ask("GET", "/_fn/catalog"))


def _share(text: str) -> tuple[str, int]:
    version, equals, weight = text.partition("=")
    if not version or (equals and not weight.isdecimal()):
        raise CommandError(f"{text}: write a version and its weight, as in v2=10")
    return version, int(weight) if equals else 100


def _show_aliases(found: dict[str, Any], *, json: bool) -> int:
    if json:
        output.as_json(found)
        return 0
    rows = [{"alias": each["alias"], **share} for each in found.get("aliases") or () for share in each["versions"]]
    output.table(_ALIASES, rows, empty="there are no aliases")
    return 0


def _state(row: Row) -> str:
    labels, led, held = row.get("labels") or (), row.get("aliases") or (), row.get("held_for") or ()
    parts = [f"runs as {', '.join(labels)}" if labels else "", f"alias {', '.join(led)}" if led else ""]
    parts.append(f"held back from {', '.join(held)}" if held else "")
    return "; ".join(filter(None, parts))
