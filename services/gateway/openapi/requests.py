"""Examples and schemas of a version, as OpenAPI's parameters, request bodies and components. Pure.

A declared schema becomes a component of the document, so that it is written once however many routes a function has. What it
refers to within itself is then found from the document's root.
"""

import re
from typing import Any, NamedTuple, cast
from urllib.parse import quote

import orjson

from libs import schemas
from libs.messages.catalog import Interface

_JSON = "application/json"
_TEXT = "text/plain"
_COMPONENTS = "#/components/schemas/"
_UNFIT = re.compile(r"[^A-Za-z0-9._-]")

_GENERIC_BODY: dict[str, Any] = {
    "required": False,
    "content": {
        _JSON: {
            "schema": {
                "oneOf": [
                    {"type": kind} for kind in ("object", "array", "string", "number", "boolean", "null")
                ]
            }
        },
        _TEXT: {"schema": {"type": "string"}},
        "application/octet-stream": {},
    },
}  # fmt: skip
"""What is said of a body of which nothing is known."""


class Described(NamedTuple):
    """What a version says of its requests, in OpenAPI's form."""

    parameters: list[dict[str, Any]]
    """Of the query."""
    body: dict[str, Any]
    components: dict[str, Any]
    """Schemas that the two refer to, by name."""
    params: dict[str, dict[str, Any]]
    """What the handler says its path parameters are."""


def describe(interface: Interface, *, name: str) -> Described:
    """Return what a version documents.

    Args:
        interface: its examples and schemas.
        name: of the version, unique in the document; names of components start with it.
    """
    components: dict[str, Any] = {}
    query, body = _object(interface.query_schema), _object(interface.body_schema)
    if query:
        components[f"{name}.query"] = schemas.rooted(query, f"{_COMPONENTS}{name}.query")
    if body:
        components[f"{name}.body"] = schemas.rooted(body, f"{_COMPONENTS}{name}.body")
    return Described(
        parameters=_query(interface, query, f"{_COMPONENTS}{name}.query"),
        body=_body(interface, f"{_COMPONENTS}{name}.body" if body else ""),
        components=components,
        params={name: each for name, each in _object(interface.params).items() if isinstance(each, dict)},
    )


def component_name(text: str) -> str:
    """Return a text as it may stand in a component's name."""
    return _UNFIT.sub("_", text)


def _query(interface: Interface, schema: dict[str, Any], place: str) -> list[dict[str, Any]]:
    examples = _object(interface.query)
    properties = schema.get("properties")
    known = cast("dict[str, Any]", properties) if isinstance(properties, dict) else {}
    demanded = schema.get("required")
    required = cast("list[object]", demanded) if isinstance(demanded, list) else []
    parameters: list[dict[str, Any]] = []
    for name in dict.fromkeys((*known, *examples)):
        parameter: dict[str, Any] = {"name": name, "in": "query", "required": name in required}
        if name in known:
            parameter["schema"] = {"$ref": f"{place}/properties/{quote(schemas.pointer(name), safe='')}"}
        else:
            parameter["schema"] = _type_of(examples[name])
        if name in examples:
            parameter["example"] = examples[name]
        parameters.append(parameter)
    return parameters


def _body(interface: Interface, place: str) -> dict[str, Any]:
    if not interface.body and not place and not interface.content_type:
        return _GENERIC_BODY
    example = _loaded(interface.body)
    kind = interface.content_type or (_TEXT if isinstance(example, str) and not place else _JSON)
    media: dict[str, Any] = {}
    if place:
        media["schema"] = {"$ref": place}
    elif interface.body:
        media["schema"] = _type_of(example)
    if interface.body:
        media["example"] = example
    return {"required": bool(place), "content": {kind: media}}


def _type_of(value: object) -> dict[str, Any]:
    """Return the least that can be said of values like this one."""
    match value:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
        case list():
            return {"type": "array", "items": {}}
        case dict():
            return {"type": "object"}
        case _:
            return {}


def _object(text: str) -> dict[str, Any]:
    value = _loaded(text)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _loaded(text: str) -> Any:
    """Return what a JSON text holds; None for what is none, which only a newer registry could have sent."""
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return None
