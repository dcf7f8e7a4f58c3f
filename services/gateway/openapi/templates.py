"""Route patterns as OpenAPI writes them: `/users/:id` is `/users/{id}`, and nothing else in a path has a meaning. Pure."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from services.gateway.routing import patterns
from services.gateway.routing.patterns import Kind

_PLAIN = "!$&'()*+,;=@"
"""What a segment may hold as it is, besides letters, digits and `-._~`; a colon would look like a pattern's."""


_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_TEXT: dict[str, Any] = {"type": "string"}


class Template(NamedTuple):
    """A pattern, written for OpenAPI."""

    path: str
    """`/users/{id}`."""
    shape: str
    """The path without its parameters' names: OpenAPI takes templates of one shape to be the same path."""
    names: tuple[str, ...]
    """The parameters' names in the template, in order."""
    own_names: tuple[str, ...]
    """What the handler knows them by."""
    many: frozenset[str]
    """The names of those that match several segments."""

    def renamed(self, names: tuple[str, ...]) -> "Template":
        """Return the template with the names of another one of the same shape."""
        many = frozenset(new for new, old in zip(names, self.names, strict=True) if old in self.many)
        return self._replace(names=names, many=many)

    def parameters(self, types: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Return OpenAPI's parameters.

        Args:
            types: schemas of those that the handler says something of, by the names that it knows them by.
        """
        return [self._parameter(name, own, types) for name, own in zip(self.names, self.own_names, strict=True)]

    def _parameter(self, name: str, own: str, types: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        said = ["One or more path segments, with `/` between them."] if name in self.many else []
        if name != own:
            said.append(f"The handler knows it as `{own}`.")
        schema = _TEXT if name in self.many else types.get(own, _TEXT)
        parameter: dict[str, Any] = {"name": name, "in": "path", "required": True, "schema": schema}
        return parameter | ({"description": " ".join(said)} if said else {})


def parse(text: str) -> Template:
    """Return the template of a pattern."""
    path, shape = "", ""
    names: list[str] = []
    own_names: list[str] = []
    many: set[str] = set()
    for segment in patterns.parse(text).segments:
        if segment.kind is Kind.LITERAL:
            literal = f"/{quote(segment.text, safe=_PLAIN)}"
            path += literal
            shape += literal
            continue
        name = _fresh(segment.text, names)
        names.append(name)
        own_names.append(segment.text)
        if segment.kind is Kind.MANY:
            many.add(name)
        path += f"/{{{name}}}"
        shape += "/{}"
    return Template(path or "/", shape or "/", tuple(names), tuple(own_names), frozenset(many))


def _fresh(name: str, taken: list[str]) -> str:
    name = _UNFIT.sub("_", name)
    number, fresh = 1, name
    while fresh in taken:
        number += 1
        fresh = f"{name}_{number}"
    return fresh
