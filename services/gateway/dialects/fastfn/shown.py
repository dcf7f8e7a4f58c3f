"""The long parts of `GET /_fn/catalog`, kept as JSON.

A catalogue of thousands of functions is a megabyte and more. Each function and each route is serialised once for each state
that it has, and all of them are put together once for each state of the catalogue, so that looking costs a copy.
"""

from typing import Any

import orjson

from libs.messages.catalog import FunctionEntry, Policy
from services.gateway.callee import Callee
from services.gateway.catalogue import Catalogue
from services.gateway.routing.index import DEFAULT_LABEL
from services.gateway.routing.table import METHODS, Target

type _Targets = tuple[Target[Callee], ...]


class Shown:
    """What the catalogue is at the moment, as JSON."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._state = -1
        self._of_route: dict[str, tuple[_Targets, orjson.Fragment]] = {}
        self._of_function: dict[tuple[str, str], tuple[FunctionEntry, orjson.Fragment]] = {}
        self.routes = orjson.Fragment(b"{}")
        """`mapped_routes`."""
        self.conflicts = orjson.Fragment(b"{}")
        """`mapped_route_conflicts`."""
        self.problems = orjson.Fragment(b"[]")
        self.functions: dict[str, orjson.Fragment] = {}
        """Function directories, by runtime."""

    def refresh(self) -> None:
        """Take over what has changed."""
        if self._state == self._catalogue.changes:
            return
        self._state = self._catalogue.changes
        table, meta = self._catalogue.table, self._catalogue.meta
        self.routes = self._routes(sorted(table.patterns()))
        self.functions = self._functions(table.names.functions())
        self.conflicts = _fragment(dict.fromkeys(sorted(table.conflicts), True))
        self.problems = _fragment(
            [{"path": problem.path, "message": problem.message} for problem in (meta.problems if meta else ())]
        )

    def _routes(self, patterns: list[tuple[str, _Targets]]) -> orjson.Fragment:
        before, self._of_route = self._of_route, {}
        for text, targets in patterns:
            known = before.get(text)
            if known is None or known[0] is not targets:
                known = (targets, _fragment([_route(target) for target in targets]))
            self._of_route[text] = known
        return _fragment({text: known[1] for text, known in self._of_route.items()})

    def _functions(self, functions: list[FunctionEntry]) -> dict[str, orjson.Fragment]:
        before, self._of_function = self._of_function, {}
        by_runtime: dict[str, list[tuple[str, orjson.Fragment]]] = {}
        for function in functions:
            if function.file_route:
                continue
            key = function.runtime, function.name
            known = before.get(key)
            if known is None or known[0] is not function:
                known = (function, _fragment(function_of(function)))
            self._of_function[key] = known
            by_runtime.setdefault(function.runtime, []).append((function.name, known[1]))
        return {
            runtime: _fragment([shown for _, shown in sorted(named, key=lambda each: each[0])])
            for runtime, named in by_runtime.items()
        }


def _fragment(content: Any) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(content))


def _route(target: Target[Callee]) -> dict[str, Any]:
    callee = target.owner
    return {
        "runtime": callee.function.runtime,
        "fn_name": callee.function.name,
        **({"version": callee.version.label} if callee.version.label != DEFAULT_LABEL else {}),
        "methods": [method for method in METHODS if method in target.methods],
        "source_rank": target.rank,
        **({"allow_hosts": list(target.hosts)} if target.hosts else {}),
        "force_url": target.force_url,
    }


def function_of(function: FunctionEntry) -> dict[str, Any]:
    """Return a function as the catalogue shows it."""
    default = next((version for version in function.versions if version.label == DEFAULT_LABEL), None)
    return {
        "name": function.name,
        "has_default": default is not None,
        "versions": [version.label for version in function.versions if version.label != DEFAULT_LABEL],
        "policy": _policy(default.policy) if default else {},
        "versions_policy": {
            version.label: _policy(version.policy) for version in function.versions if version.label != DEFAULT_LABEL
        },
    }


def _policy(policy: Policy) -> dict[str, Any]:
    return {
        "timeout_ms": policy.timeout_ms,
        "max_concurrency": policy.max_concurrency,
        "max_body_bytes": policy.max_body_bytes,
        "include_debug_headers": policy.include_debug_headers,
        "methods": list(policy.methods),
    }
