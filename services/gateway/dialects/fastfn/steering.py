"""`/_fn/versions`, `/_fn/rollback`, `/_fn/aliases`: which versions are kept, and where labels lead."""

import re
from collections.abc import Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from libs.messages import codec, versions
from libs.messages.catalog import Alias, FunctionEntry, Share
from services.gateway.actors import actor_of
from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn import revisions
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, json_response, millis, number, read_object
from services.gateway.routing.index import DEFAULT_LABEL

_MAX_BODY_BYTES = 64 * 1024
_LABEL = re.compile(r"(?!\.{1,2}\Z)[a-zA-Z0-9_.-]{1,100}")
_DEFAULT_LIMIT = 50
_MAX_LIMIT = 500


def listing(plane: Plane) -> Handler:
    """Return the endpoint that lists the versions of a function that are kept."""

    async def endpoint(request: Request) -> Response:
        entry = _function(plane, request.query_params)
        ask = versions.VersionList(
            runtime=entry.runtime,
            function=entry.name,
            limit=number(request, "limit", default=_DEFAULT_LIMIT, most=_MAX_LIMIT),
        )
        found = await plane.ask_registry("versions", ask, versions.Versions)
        return json_response(
            {
                "runtime": entry.runtime,
                "name": entry.name,
                "revision": found.revision,
                "versions": [_version(each) for each in found.versions],
                "pins": [_pin(each) for each in found.pins],
                "aliases": [_alias(entry, alias) for alias in entry.aliases],
            }
        )

    return endpoint


def rollback(plane: Plane) -> Handler:
    """Return the endpoint that pins a label to an earlier version."""

    async def endpoint(request: Request) -> Response:
        body = await read_object(request, limit=_MAX_BODY_BYTES)
        entry = _function(plane, body)
        label = _label(body.get("version") or DEFAULT_LABEL, "invalid version")
        digest = body.get("digest") or ""
        if not isinstance(digest, str):
            raise Refusal(400, "digest must be a string")
        order = versions.Rollback(
            actor=actor_of(request),
            runtime=entry.runtime,
            function=entry.name,
            label=label,
            digest=digest,
            expected=revisions.expected(request),
        )
        return json_response(_steered(entry, label, await _change(plane, "rollback", order, entry)))

    return endpoint


def unpin(plane: Plane) -> Handler:
    """Return the endpoint that gives a label back to the function's files."""

    async def endpoint(request: Request) -> Response:
        entry = _function(plane, request.query_params)
        label = _label(request.query_params.get("version") or DEFAULT_LABEL, "invalid version")
        order = versions.Unpin(
            actor=actor_of(request),
            runtime=entry.runtime,
            function=entry.name,
            label=label,
            expected=revisions.expected(request),
        )
        return json_response(_steered(entry, label, await _change(plane, "unpin", order, entry)))

    return endpoint


def aliases(plane: Plane) -> Handler:
    """Return the endpoint that lists the aliases of a function, or without a name those of all."""

    async def endpoint(request: Request) -> Response:
        if not request.query_params.get("name"):
            found = (each for each in plane.catalogue.table.names.functions() if each.aliases)
            return json_response({"functions": [_aliases(each) for each in found]})
        return json_response(_aliases(_function(plane, request.query_params)))

    return endpoint


def set_alias(plane: Plane) -> Handler:
    """Return the endpoint that adds or replaces an alias."""

    async def endpoint(request: Request) -> Response:
        body = await read_object(request, limit=_MAX_BODY_BYTES)
        entry = _function(plane, body)
        order = versions.SetAlias(
            actor=actor_of(request),
            runtime=entry.runtime,
            function=entry.name,
            alias=_label(body.get("alias"), "invalid alias"),
            shares=_shares(body.get("versions")),
            expected=revisions.expected(request),
        )
        await _change(plane, "set-alias", order, entry)
        return json_response(_aliases(_now(plane, entry)))

    return endpoint


def remove_alias(plane: Plane) -> Handler:
    """Return the endpoint that removes an alias."""

    async def endpoint(request: Request) -> Response:
        entry = _function(plane, request.query_params)
        order = versions.RemoveAlias(
            actor=actor_of(request),
            runtime=entry.runtime,
            function=entry.name,
            alias=_label(request.query_params.get("alias"), "invalid alias"),
            expected=revisions.expected(request),
        )
        await _change(plane, "remove-alias", order, entry)
        return json_response(_aliases(_now(plane, entry)))

    return endpoint


async def _change(plane: Plane, operation: str, request: codec.Record, entry: FunctionEntry) -> versions.Steered:
    """Have the registry make a change, and return when this gateway shows it.

    Raises:
        Refusal: 503, it is stored and this gateway does not show it yet.
        errors.FnbusError: what the registry raised, or that it cannot be reached.
    """
    steered = await plane.ask_registry(operation, request, versions.Steered)

    def is_shown() -> bool:
        now = plane.catalogue.table.names.function(entry.name, runtime=entry.runtime)
        return now is None or now.revision >= steered.revision

    await revisions.shown(plane, is_shown, revision=steered.revision)
    return steered


def _function(plane: Plane, given: Mapping[str, Any]) -> FunctionEntry:
    """Return the function that a query or a body names by `name` and, where it is in several, `runtime`.

    Raises:
        Refusal: 400, it names none; 404, there is no such function.
    """
    name, runtime = given.get("name") or "", given.get("runtime") or ""
    if not isinstance(name, str) or not name:
        raise Refusal(400, "name is required")
    if not isinstance(runtime, str):
        raise Refusal(400, "runtime must be a non-empty string")
    table = plane.catalogue.table
    entry = table.names.function(name, runtime=runtime)
    if entry is not None:
        return entry
    # A file route may also be named by its route.
    for target in table.targets("/" + name.strip("/")):
        if runtime in ("", target.owner.function.runtime):
            return target.owner.function
    raise Refusal(404, "unknown function")


def _now(plane: Plane, entry: FunctionEntry) -> FunctionEntry:
    return plane.catalogue.table.names.function(entry.name, runtime=entry.runtime) or entry


def _label(value: object, text: str) -> str:
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        raise Refusal(400, text)
    return value


def _shares(value: object) -> tuple[Share, ...]:
    """Return the shares of `{"default": 90, "v2": 10}`; a label alone gets all.

    Raises:
        Refusal: 400, it is something else.
    """
    if isinstance(value, str):
        return (Share(version=_label(value, "invalid version")),)
    if not isinstance(value, dict) or not value:
        raise Refusal(400, "versions must be a version, or an object of versions and weights")
    shares: list[Share] = []
    for label, weight in cast("dict[str, object]", value).items():
        if not isinstance(weight, int) or isinstance(weight, bool):
            raise Refusal(400, "a weight must be a whole number", version=label)
        shares.append(Share(version=_label(label, "invalid version"), weight=weight))
    return tuple(shares)


def _version(each: versions.KeptVersion) -> dict[str, Any]:
    return {
        "digest": each.digest,
        "version": each.label,
        "active": bool(each.labels),
        "labels": list(each.labels),
        "aliases": list(each.aliases),
        "held_for": list(each.held_for),
        "created_at_ms": millis(each.created_at),
        "by": each.by or None,
        "entrypoint": each.entrypoint,
        "bundle": each.bundle,
    }


def _pin(each: versions.PinView) -> dict[str, Any]:
    return {
        "version": each.label,
        "digest": each.digest,
        "held_digest": each.held,
        "since_ms": millis(each.since),
        "by": each.by or None,
    }


def _steered(entry: FunctionEntry, label: str, steered: versions.Steered) -> dict[str, Any]:
    note = "stays until the function's files make a new version, or until it is unpinned" if steered.pinned else None
    return {
        "runtime": entry.runtime,
        "name": entry.name,
        "version": label,
        "digest": steered.after,
        "before": steered.before,
        "pinned": steered.pinned,
        "revision": steered.revision,
        **({"note": note} if note else {}),
    }


def _aliases(entry: FunctionEntry) -> dict[str, Any]:
    return {
        "runtime": entry.runtime,
        "name": entry.name,
        "revision": entry.revision,
        "aliases": [_alias(entry, alias) for alias in entry.aliases],
    }


def _alias(entry: FunctionEntry, alias: Alias) -> dict[str, Any]:
    total = sum(share.weight for share in alias.shares if entry.version(share.version)) or 1
    return {
        "alias": alias.name,
        "versions": [
            {
                "version": share.version,
                "weight": share.weight,
                "percent": round(100 * share.weight / total, 2) if version else 0,
                "digest": version.digest if version else None,
            }
            for share in alias.shares
            for version in (entry.version(share.version),)
        ],
    }
