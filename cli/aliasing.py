"""Aliases of all functions of a platform: those that an export keeps, and set again by an import.

An alias leads to labels, which come along with the files, or to former versions, which do not: one of these is named instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli.client import GatewayClient
from cli.errors import RefusedError
from cli.pauses import patiently

_PATH = "/_fn/aliases"
_DIGITS = 12
"""Digits of its digest that are the label of a former version."""


@dataclass(frozen=True, kw_only=True)
class AliasOf:
    """An alias of a function."""

    runtime: str
    name: str
    alias: str
    versions: Mapping[str, int]
    """Weights by label."""

    def __str__(self) -> str:
        """Return it as a person types it."""
        return f"{self.name}@{self.alias}"


@dataclass(frozen=True, kw_only=True)
class Found:
    """All aliases of a platform."""

    kept: tuple[AliasOf, ...] = ()
    """Those that lead to labels."""
    former: tuple[str, ...] = ()
    """Names of those that lead to a former version."""


def read(gateway: GatewayClient) -> Found:
    """Return all aliases.

    Raises:
        RefusedError: they cannot be seen.
    """
    kept: list[AliasOf] = []
    former: list[str] = []
    told: Sequence[Mapping[str, Any]] = gateway.ask("GET", _PATH).get("functions") or ()
    for function in told:
        for each in function["aliases"]:
            shares: Sequence[Mapping[str, Any]] = each["versions"]
            found = AliasOf(
                runtime=function["runtime"],
                name=function["name"],
                alias=each["alias"],
                versions={str(share["version"]): int(share["weight"]) for share in shares},
            )
            if any(share["version"] == str(share.get("digest") or "")[:_DIGITS] for share in shares):
                former.append(str(found))
            else:
                kept.append(found)
    return Found(kept=tuple(kept), former=tuple(former))


def bring(gateway: GatewayClient, wanted: Iterable[AliasOf], *, dry_run: bool) -> tuple[list[str], list[tuple[str, str]]]:
    """Set the aliases that are not there just so; return which these are, and which could not be set, with the reason."""
    wanted = tuple(wanted)
    if not wanted:
        return [], []
    try:
        there = {(each.runtime, each.name, each.alias): dict(each.versions) for each in read(gateway).kept}
    except RefusedError:
        there = {}  # an older platform's, which lists them by function only
    done: list[str] = []
    failed: list[tuple[str, str]] = []
    for each in wanted:
        if there.get((each.runtime, each.name, each.alias)) == dict(each.versions):
            continue
        try:
            if not dry_run:
                _set(gateway, each)
        except RefusedError as refusal:
            failed.append((str(each), str(refusal)))
        else:
            done.append(str(each))
    return done, failed


def _set(gateway: GatewayClient, wanted: AliasOf) -> None:
    body = {"runtime": wanted.runtime, "name": wanted.name, "alias": wanted.alias, "versions": dict(wanted.versions)}
    patiently(lambda: gateway.ask("PUT", _PATH, body=body))
