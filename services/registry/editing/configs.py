"""What becomes of a function's config when the API changes it. Pure.

A change is merged into what is there and then read by the rules by which files are read. What these find wrong, and would
pass over in a file, is refused here, and so is what would change nothing.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from libs import errors
from services.registry.editing.jsons import Fields, section
from services.registry.source.config import parse_config

_MAX_ROUTES = 32
_INVOKE = ("methods", "routes", "route")
"""Fields of `invoke` that may also stand at the top."""
_FORCE = ("force-url", "force_url", "forceUrl")
_MERGED = ("invoke", "response", "edge", "worker_pool", "keep_warm", "permissions")
"""Objects of which a change may name a part; others are replaced as a whole."""
_ELSEWHERE = {
    "runtime": "is the function's own",
    "name": "is the function's own",
    "strict_fs": "has no effect: functions are always confined to their files",
    "assets": "belongs into the fn.config.json of the functions root",
    "zero_config": "belongs into the fn.config.json of the functions root",
    "discovery": "belongs into the fn.config.json of the functions root",
    "routing": "belongs into the fn.config.json of the functions root",
    "zero_config_ignore_dirs": "belongs into the fn.config.json of the functions root",
}
_UNKNOWN = " is not a known field; it is ignored"


def changed(before: Fields, update: Fields) -> Fields:
    """Return a config with a change made.

    Raises:
        errors.PermanentError: a field is not known, has no effect, or does not fit; the text names it.
    """
    for name, reason in _ELSEWHERE.items():
        if name in update and update[name] != before.get(name):
            raise errors.PermanentError(f"{name} cannot be changed here: it {reason}")
    after = _merged(before, _in_place(update))
    _check_routes(after)
    known = set(_faults(before))
    faults = [fault for fault in _faults(after) if fault not in known]
    unknown = [fault.removesuffix(_UNKNOWN) for fault in faults if fault.endswith(_UNKNOWN)]
    if unknown:
        raise errors.PermanentError(f"unknown field: {', '.join(unknown)}")
    if faults:
        raise errors.PermanentError(_as_documented(faults[0]))
    return after


def created(options: Fields, *, entrypoint: str = "") -> Fields:
    """Return the config of a new function.

    Args:
        options: what was asked for: `methods`, `summary`, `query_example`, `body_example`, `route`, `routes`.
        entrypoint: the handler's file, when its name alone does not tell.

    Raises:
        errors.PermanentError: as in `changed`.
    """
    invoke: Fields = {"methods": options.get("methods") or ["GET"], "summary": options.get("summary") or "Generated function"}
    for name, field in (("query_example", "query"), ("body_example", "body")):
        if options.get(name) is not None:
            invoke[field] = options[name]
    routes = options.get("routes", options.get("route"))
    if routes:
        invoke["routes"] = routes
    return changed({}, {"invoke": invoke} | ({"entrypoint": entrypoint} if entrypoint else {}))


def _in_place(update: Fields) -> Fields:
    """Return a change with every field where a file has it; `invoke.*` beats what stands at the top."""
    moved = dict(update)
    for alias in ("sharedDeps", "deps"):
        if alias in moved:
            found = moved.pop(alias)
            moved.setdefault("shared_deps", found)
    at_top = {name: moved.pop(name) for name in _INVOKE if name in moved}
    forced = [moved.pop(name) for name in _FORCE if name in moved]
    if "invoke" in moved and moved["invoke"] is not None and not isinstance(moved["invoke"], Mapping):
        return moved
    invoke = section(moved, "invoke")
    if "route" in invoke or "routes" in invoke:
        at_top.pop("route", None)
        at_top.pop("routes", None)
    invoke = at_top | invoke
    forced += [invoke.pop(name) for name in _FORCE if name in invoke]
    if forced:
        invoke["force-url"] = forced[-1]
    if "route" in invoke:
        route = invoke.pop("route")
        invoke.setdefault("routes", route)
    if invoke:
        moved["invoke"] = invoke
    return moved


def _merged(before: Fields, update: Fields) -> Fields:
    after = dict(before)
    for name, value in update.items():
        if isinstance(value, dict) and name in _MERGED:
            after[name] = _without_nothing(section(before, name) | value)
        else:
            after[name] = value
    if isinstance(invoke := update.get("invoke"), dict):
        # What stood at the top of the file would otherwise come back once `invoke` says nothing.
        for name in _INVOKE:
            if name in invoke or (name == "route" and "routes" in invoke):
                after.pop(name, None)
        if "routes" in invoke and isinstance(after.get("invoke"), dict):
            after["invoke"].pop("route", None)
    return _without_nothing(after)


def _without_nothing(fields: Fields) -> Fields:
    """Return an object without what is null, and without routes that are none: both take back what was said."""
    return {name: value for name, value in fields.items() if value is not None and (name != "routes" or value != [])}


def _check_routes(config: Fields) -> None:
    routes: Any = section(config, "invoke").get("routes")
    if isinstance(routes, list) and len(routes) > _MAX_ROUTES:  # pyright: ignore[reportUnknownArgumentType]
        raise errors.PermanentError(f"invoke.routes must contain at most {_MAX_ROUTES} routes")


def _faults(config: Fields) -> list[str]:
    return [problem.message for problem in parse_config("", orjson.dumps(config)).problems]


def _as_documented(fault: str) -> str:
    """Return FastFN's text where ours says more."""
    return fault.partition(": ")[0] if fault.startswith("invoke.routes must contain") else fault
