"""The routes of the catalogue as OpenAPI's paths. Pure.

What is listed is what is routed: every pattern with every method that it takes, and nothing else. OpenAPI knows one operation
for a path and method, where the table may have several (for other hosts, or behind a more specific pattern): the one that is
found first is listed, and says of the others.
"""

import re
from collections.abc import Iterable, Set
from typing import Any, NamedTuple

from services.gateway.callee import Callee
from services.gateway.openapi import requests, templates
from services.gateway.openapi.requests import Described
from services.gateway.openapi.templates import Template
from services.gateway.routing import patterns
from services.gateway.routing.index import DEFAULT_LABEL
from services.gateway.routing.table import METHODS, Target

TAG = "functions"
_WORD = re.compile(r"[^A-Za-z0-9_]")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})

_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_TEXTS = {
    "400": "The request does not meet the function's schema, or the function refused it.",
    "404": "There is no such route.",
    "405": "The route does not take this method; `Allow` names those that it takes.",
    "413": "The body is larger than the function takes.",
    "421": "The function does not answer for this host.",
    "429": "The function is at its limit; try again after `Retry-After` seconds.",
    "500": "The function failed.",
    "502": "The function's answer could not be understood.",
    "503": "Nothing is there that could run the function; try again after `Retry-After` seconds.",
    "504": "The function took longer than it may.",
}
_USUAL = ("404", "405", "413", "429", "500", "502", "503", "504")


def _ref(status: str) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{status}"}


RESPONSES: dict[str, Any] = {
    "200": {"description": "What the function answers.", "content": {"*/*": {}}},
    **{status: {"description": text, "content": _ERROR} for status, text in _TEXTS.items()},
}
"""Components that operations refer to."""
ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "request_id": {"type": "string"}},
}


class Paths(NamedTuple):
    """The part of a document that is about functions."""

    paths: dict[str, dict[str, Any]]
    schemas: dict[str, Any]
    """Components."""


def build(routes: Iterable[tuple[str, tuple[Target[Callee], ...]]], *, conflicts: Set[str]) -> Paths:
    """Return the paths of the routes; those that several functions claim are left out, for nobody answers there."""
    return _Builder().build(routes, conflicts)


class _Builder:
    def __init__(self) -> None:
        self._paths: dict[str, dict[str, Any]] = {}
        self._schemas: dict[str, Any] = {}
        self._templates: dict[str, Template] = {}
        self._described: dict[int, Described] = {}
        self._names: set[str] = set()
        self._ids: set[str] = set()

    def build(self, routes: Iterable[tuple[str, tuple[Target[Callee], ...]]], conflicts: Set[str]) -> Paths:
        # In the order in which a request would try them.
        for text, targets in sorted(routes, key=lambda route: patterns.parse(route[0]).order):
            if text not in conflicts:
                self._add(templates.parse(text), targets)
        paths = dict(sorted(self._paths.items()))
        for path, item in paths.items():
            for operation in item.values():
                operation["operationId"] = self._id(operation["operationId"], path)
        return Paths(paths, self._schemas)

    def _add(self, template: Template, targets: tuple[Target[Callee], ...]) -> None:
        first = self._templates.setdefault(template.shape, template)
        item = self._paths.setdefault(first.path, {})
        for method in METHODS:
            takers = [target for target in targets if method in target.methods]
            if not takers:
                continue
            hidden = item.get(method.lower())
            if hidden is not None:
                names = ", ".join(sorted({_named(target.owner) for target in takers}))
                _say(hidden, f"Paths of this form that this does not take go to {names}.")
                continue
            item[method.lower()] = self._operation(method, takers, template.renamed(first.names))

    def _operation(self, method: str, takers: list[Target[Callee]], template: Template) -> dict[str, Any]:
        target = next((each for each in takers if not each.hosts), takers[0])
        callee = target.owner
        described = self._describe(callee)
        operation: dict[str, Any] = {
            "operationId": _WORD.sub("_", f"{method.lower()}_{_joined(callee)}"),
            "summary": callee.version.interface.summary or f"{_named(callee)} ({callee.function.runtime})",
            "tags": [TAG],
        }
        parameters = [*template.parameters(described.params), *described.parameters]
        if parameters:
            operation["parameters"] = parameters
        if method in _WITH_BODY:
            operation["requestBody"] = described.body
        held = callee.checks is not None
        hosts = all(each.hosts for each in takers)
        statuses = ("200", *(("400",) if held else ()), *_USUAL, *(("421",) if hosts else ()))
        operation["responses"] = {status: _ref(status) for status in sorted(statuses)}
        if len(takers) > 1 or hosts:
            _say(operation, " ".join(_hosts(each) for each in takers))
        return operation

    def _describe(self, callee: Callee) -> Described:
        described = self._described.get(id(callee))
        if described is None:
            name = self._fresh(requests.component_name(_joined(callee)), self._names)
            described = self._described[id(callee)] = requests.describe(callee.version.interface, name=name)
            self._schemas |= described.components
        return described

    def _id(self, wanted: str, path: str) -> str:
        if wanted in self._ids:  # a further route of the function: its first one has the plain name
            wanted += _WORD.sub("_", path)
        return self._fresh(wanted, self._ids)

    def _fresh(self, name: str, taken: set[str]) -> str:
        number, fresh = 1, name
        while fresh in taken:
            number += 1
            fresh = f"{name}_{number}"
        taken.add(fresh)
        return fresh


def _joined(callee: Callee) -> str:
    return f"{callee.function.runtime}_{callee.function.name}_{callee.version.label}"


def _named(callee: Callee) -> str:
    label = callee.version.label
    return callee.function.name if label == DEFAULT_LABEL else f"{callee.function.name}@{label}"


def _hosts(target: Target[Callee]) -> str:
    where = ", ".join(target.hosts) if target.hosts else "all other hosts"
    return f"{_named(target.owner)} answers on {where}."


def _say(operation: dict[str, Any], text: str) -> None:
    said = operation.get("description", "")
    operation["description"] = f"{said} {text}" if said else text
