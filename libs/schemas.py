"""JSON Schemas that functions declare: looked at where a folder is read, and held up to requests where these come in.

They are JSON Schema 2020-12, which is OpenAPI 3.1's. Whoever deploys a function writes them and anybody sends what is held up
to them, so nothing here fetches anything, no pattern takes longer than its text is long (there is no look-around and no
back-reference), and what a schema refers to has to be inside of it.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple, cast

import jsonschema_rs

from libs import errors, schema_work

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_DEPTH = 100
"""Schemas inside each other."""
MAX_WAYS = 5_000
"""On which one part of a value is looked at. Far more than anybody needs, and still done in some hundredths of a second."""

_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLE = (
    "items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties", "contentSchema",
    "not", "if", "then", "else",
)  # fmt: skip
_UNFIT = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary")
_OPENAPI = ("discriminator", "xml", "externalDocs")
"""Keywords that OpenAPI gives another meaning than none."""
_LONGEST_MESSAGE = 200
_MOST_WAYS = 300
"""Ways from a schema to the parts of a value on which a fault is looked for; some thousands take a second."""
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1_000_000, dfa_size_limit=1_000_000)


class UnfitSchemaError(errors.PermanentError, ValueError):
    """A schema cannot be used; the text says why."""


class Fault(NamedTuple):
    """What a value has against a schema."""

    place: str
    """Where: `.items[1].price`; empty: the whole."""
    message: str


class Schema:
    """A schema, ready to be held up to values."""

    def __init__(self, schema: object) -> None:
        """Compile it.

        Raises:
            UnfitSchemaError: it is none, or not one that can be used.
        """
        require_fit(schema)
        self._levels = _levels(inner(cast("dict[str, Any]", schema)))
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                cast("Any", schema), offline=True, validate_formats=True, pattern_options=_PATTERNS
            )
        except jsonschema_rs.ValidationError as error:
            raise UnfitSchemaError(_told(_place(error.instance_path), error.message)) from None
        except ValueError as error:
            raise UnfitSchemaError(_short(str(error))) from None

    def fault(self, value: object) -> Fault | None:
        """Return the first thing that is wrong with a value, None when nothing is."""
        try:
            # Whether there is a fault is told at once. Which one is not: where alternatives contain the schema that they are
            # in, each level of a value doubles the ways to it, and a short body would keep a gateway busy for hours.
            if self._validator.is_valid(value):
                return None
            if self._levels and not _is_within(value, self._levels):
                return Fault("", "does not fit the schema; it is nested too deep to say where")
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return Fault(_place(error.instance_path), _short(error.message))
        except ValueError as error:  # nested too deeply to be looked at
            return Fault("", _short(str(error)))
        return None


def require_fit(schema: object) -> None:
    """Do nothing for a schema that can stand in an OpenAPI document as it is.

    Raises:
        UnfitSchemaError: it cannot.
    """
    if not isinstance(schema, dict):
        raise UnfitSchemaError("must be an object")
    found = cast("dict[str, Any]", schema)
    if found.get("$schema", DIALECT) != DIALECT:
        raise UnfitSchemaError(f"$schema must be {DIALECT}")
    places = inner(found)
    for place, each in places.items():
        for name in (*_UNFIT, *_OPENAPI):
            if name in each:
                raise UnfitSchemaError(f"{place}: {name} is not supported")
        target = each.get("$ref", "#")
        if not isinstance(target, str) or target not in places:
            raise UnfitSchemaError(f"{place}: $ref must name a schema inside of this one, such as #/$defs/name")
    if schema_work.ways(_links(places)) > MAX_WAYS:
        raise UnfitSchemaError(f"its parts name each other so often that more than {MAX_WAYS} ways lead to one value")


def rooted(schema: Mapping[str, Any], root: str) -> dict[str, Any]:
    """Return a schema that is fit, with what it refers to found below `root` (`#/components/schemas/name`)."""

    def change(found: Mapping[str, Any]) -> dict[str, Any]:
        changed = {name: _inside(name, value, change) for name, value in found.items()}
        if isinstance(target := changed.get("$ref"), str):
            changed["$ref"] = root + target.removeprefix("#")
        return changed

    return change(schema)


def inner(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return all schemas inside one that is fit, itself included, by what `$ref` calls them."""
    return dict(_walk(schema, "#", 0))


def resolve(within: Mapping[str, Mapping[str, Any]], part: object) -> Mapping[str, Any]:
    """Return a part of a schema, or what it refers to; an empty one when it is no object, or leads in a circle.

    Args:
        within: what `inner` tells of the schema.
        part: of it.
    """
    for _ in range(MAX_DEPTH):
        if not isinstance(part, dict):
            return {}
        found = cast("dict[str, Any]", part)
        if "$ref" not in found:
            return found
        part = within.get(found["$ref"])
    return {}


def pointer(name: str) -> str:
    """Return a name as a step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _walk(schema: Mapping[str, Any], place: str, depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield all schemas inside one, itself first, by their JSON pointers; not those that are true or false."""
    if depth > MAX_DEPTH:
        raise UnfitSchemaError(f"more than {MAX_DEPTH} schemas lie inside each other")
    yield place, schema
    for name, value in schema.items():
        for step, inner in _schemas(name, value):
            if isinstance(inner, dict):
                yield from _walk(cast("dict[str, Any]", inner), f"{place}/{step}", depth + 1)


def _schemas(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield the schemas that a keyword holds, by their way from the schema that has it."""
    if name in _SINGLE:
        yield name, value
    elif name in _MAPS and isinstance(value, dict):
        for key, each in cast("dict[str, Any]", value).items():
            yield f"{name}/{pointer(key)}", each
    elif name in _LISTS and isinstance(value, list):
        for at, each in enumerate(cast("list[Any]", value)):
            yield f"{name}/{at}", each


def _inside(name: str, value: Any, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Any:
    """Return a keyword's value with the schemas that it holds changed."""

    def changed(each: Any) -> Any:
        return change(cast("dict[str, Any]", each)) if isinstance(each, dict) else each

    if name in _SINGLE:
        return changed(value)
    if name in _MAPS and isinstance(value, dict):
        return {key: changed(each) for key, each in cast("dict[str, Any]", value).items()}
    if name in _LISTS and isinstance(value, list):
        return [changed(each) for each in cast("list[Any]", value)]
    return value


def _levels(places: Mapping[str, Mapping[str, Any]]) -> int:
    """Return on how many levels of a value a fault can be looked for; 0 for any number.

    Args:
        places: what `inner` tells of the schema.
    """
    refs = sum("$ref" in each for each in places.values())
    try:
        TopologicalSorter({place: [target for _, target in links] for place, links in _links(places).items()}).prepare()
    except CycleError:
        return max(1, int(math.log(_MOST_WAYS, refs))) if refs > 1 else 0
    return 0


def _links(places: Mapping[str, Mapping[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """Return which schema leads to which others: by which keyword, and where they are."""
    links = {
        place: [
            (step, f"{place}/{step}")
            for name, value in each.items()
            for step, held in _schemas(name, value)
            if isinstance(held, dict)
        ]
        for place, each in places.items()
    }
    for place, each in places.items():
        if "$ref" in each:
            links[place].append(("$ref", each["$ref"]))
    return links


def _is_within(value: object, levels: int) -> bool:
    """Return whether a value has no more than so many levels of objects and lists."""
    if isinstance(value, dict):
        return levels > 0 and all(_is_within(each, levels - 1) for each in cast("dict[str, Any]", value).values())
    if isinstance(value, list):
        return levels > 0 and all(_is_within(each, levels - 1) for each in cast("list[Any]", value))
    return True


def _place(path: list[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[:_LONGEST_MESSAGE]


def _told(place: str, message: str) -> str:
    return f"{place.removeprefix('.')}: {_short(message)}" if place else _short(message)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[: _LONGEST_MESSAGE - 1]}…"
