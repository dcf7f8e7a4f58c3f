"""Which function, version and route a job or an invoke request means. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from libs.messages.catalog import RouteEntry
from services.gateway.answers import Refusal
from services.gateway.callee import Callee
from services.gateway.dialects.fastfn.submission import Submission
from services.gateway.routing import patterns
from services.gateway.routing.index import DEFAULT_LABEL
from services.gateway.routing.table import METHODS, Table


class Place(NamedTuple):
    """A target, with the route that leads to it."""

    callee: Callee
    route: str
    """Concrete path."""
    template: str
    params: dict[str, str]


def resolve(table: Table[Callee], wanted: Submission, *, without_route: bool = False) -> Place:
    """Return the place that a submission means.

    Args:
        table: all functions.
        wanted: what was asked for.
        without_route: whether a function that no public route leads to may be meant.

    Raises:
        Refusal: 404 for an unknown target, 405 for a method that it does not take, 400 for missing parameters or
            what its schemas refuse, 413.
    """
    owner = _callee(table, wanted)
    callee = owner if owner.split is None else owner.split.pick()
    if len(wanted.body) > callee.max_body_bytes:
        raise Refusal(413, "payload too large")
    routes = _routes(owner, wanted, without_route=without_route)
    if wanted.route:
        ways = [way for route in routes if (way := _given(route, wanted.route, wanted.params)) is not None]
    else:
        ways = [(route, wanted.params) for route in routes]
    if not ways:
        raise Refusal(404, "no mapped public route for target")
    place = _pick(callee, ways, wanted.method)
    if callee.checks is not None:
        callee.checks.require(method=wanted.method, query=wanted.query, body=wanted.body)
    return place


def _callee(table: Table[Callee], wanted: Submission) -> Callee:
    named = table.names.find(wanted.name, version=wanted.version, runtime=wanted.runtime)
    if named is not None:
        return named.owner
    # A file route may also be named by its route.
    targets = [
        target
        for target in table.targets("/" + wanted.name.strip("/"))
        if wanted.runtime in ("", target.owner.function.runtime) and wanted.version == target.owner.version.label
    ]
    for target in targets:
        if wanted.method in target.methods:
            return target.owner
    if targets:
        raise _wrong_method({method for target in targets for method in target.methods})
    raise Refusal(404, "unknown function or version")


def _routes(callee: Callee, wanted: Submission, *, without_route: bool) -> Sequence[RouteEntry]:
    label = wanted.version
    routes = [route for route in callee.function.routes if route.version == label]
    if routes:
        return routes
    own = RouteEntry(pattern=f"/{callee.function.name}", methods=callee.version.policy.methods, version=label)
    if label != DEFAULT_LABEL and "/" not in callee.function.name:
        return [RouteEntry(pattern=f"{own.pattern}@{label}", methods=own.methods, version=label)]
    if without_route:
        return [RouteEntry(pattern=wanted.route, methods=own.methods)] if wanted.route else [own]
    return ()


def _given(route: RouteEntry, path: str, params: Mapping[str, str]) -> tuple[RouteEntry, dict[str, str]] | None:
    """Return the route with its parameters when `path` is its pattern or a path that it matches."""
    pattern = patterns.parse(route.pattern)
    if path == route.pattern or patterns.parse(path).segments == pattern.segments:
        return route, dict(params)
    found = pattern.match(path)
    return None if found is None else (route, {**params, **found})


def _pick(callee: Callee, ways: Sequence[tuple[RouteEntry, dict[str, str]]], method: str) -> Place:
    """Choose among the routes that take the method: the one that uses most of the given parameters."""
    open_ways = [(route, params) for route, params in ways if method in route.methods]
    if not open_ways:
        raise _wrong_method({each for route, _ in ways for each in route.methods})
    best: tuple[int, Place] | None = None
    missing: Refusal | None = None
    for route, params in open_ways:
        pattern = patterns.parse(route.pattern)
        try:
            path = pattern.fill(params)
        except patterns.MissingParamsError as error:
            missing = missing or Refusal(400, str(error), route=route.pattern, missing_params=list(error.names))
            continue
        if best is None or len(pattern.names) > best[0]:
            used = {name: params[name] for name in pattern.names}
            best = (len(pattern.names), Place(callee, path, route.pattern, used))
    if best is None:
        raise missing or Refusal(404, "no mapped public route for target")
    return best[1]


def _wrong_method(methods: set[str]) -> Refusal:
    allowed = [method for method in METHODS if method in methods]
    return Refusal(405, "method not allowed", (b"allow", ", ".join(allowed).encode()), allowed_methods=allowed)
