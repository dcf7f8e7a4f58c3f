"""What a version tells its callers: the fields of `invoke` that document it, and the hints and types in its entry file. Pure.

A hint is a line of comment among the first lines of a file: `# @summary Greets people`, `// @query {"name": "Ada"}`. What the
config says goes before what the code hints at.
"""

import re
from dataclasses import fields, replace
from typing import Any, cast

import orjson

from libs import nesting, schemas
from libs.messages import catalog
from services.registry.source import annotations
from services.registry.source.patterns import METHODS
from services.registry.source.reading import Reader

FIELDS = ("summary", "query", "body", "content_type", "default_method", "schema")
"""Fields of `invoke` that are read here."""

HINT_LINES = 80
"""How many lines of a file may hold hints."""
MAX_SUMMARY = 300
MAX_JSON = 64 * 1024
"""Bytes of an example."""

_HEAD_BYTES = 16 * 1024
_HINT = re.compile(rb"[ \t]*(?:#+|//+|/?\*+)[ \t]*@(summary|methods|query|body|content_type)\b[ \t:]*(.*?)[ \t]*(?:\*/)?[ \t]*")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}(?:\s*;.{0,100})?")
_NOTHING = catalog.Interface()
_NAMES = tuple(each.name for each in fields(catalog.Interface))


def over(upper: catalog.Interface, lower: catalog.Interface) -> catalog.Interface:
    """Return what `upper` says, and field by field what `lower` says where it says nothing."""
    if lower == _NOTHING or upper == lower:
        return upper
    return catalog.Interface(**{name: getattr(upper, name) or getattr(lower, name) for name in _NAMES})


def parse_interface(invoke: Reader) -> catalog.Interface:
    """Return what a config's `invoke` documents; what is wrong is told to its reader."""
    schema = invoke.section("schema")
    schema.warn_unknown(("query", "body"))
    return catalog.Interface(
        summary=(invoke.text("summary") or "")[:MAX_SUMMARY],
        default_method=_parse_method(invoke),
        query=_parse_query(invoke),
        body=_parse_body(invoke),
        content_type=_parse_content_type(invoke),
        query_schema=_parse_schema(schema, "query"),
        body_schema=_parse_schema(schema, "body"),
    )


def parse_hints(data: bytes, *, python: bool = False) -> catalog.Interface:
    """Return what a source file tells of itself; hints that cannot be read are none. Never raises.

    Args:
        data: the file.
        python: whether it is Python, whose annotations tell something as well.
    """
    hints = _parse_comments(data)
    typed = annotations.parameters(data) if python else {}
    return replace(hints, params=orjson.dumps(typed).decode()) if typed else hints


def _parse_comments(data: bytes) -> catalog.Interface:
    head = data[:_HEAD_BYTES]
    if b"@" not in head:
        return _NOTHING
    found: dict[str, str] = {}
    for line in head.splitlines()[:HINT_LINES]:
        hint = _HINT.fullmatch(line) if b"@" in line else None
        if hint is not None:
            found.setdefault(hint[1].decode(), hint[2].decode("utf-8", "replace"))
    if not found:
        return _NOTHING
    content_type = found.get("content_type", "")
    return catalog.Interface(
        summary=found.get("summary", "")[:MAX_SUMMARY],
        default_method=_first_method(found.get("methods", "")),
        query=_object_text(found.get("query", "")),
        body=_body_text(found.get("body", "")),
        content_type=content_type if _MEDIA_TYPE.fullmatch(content_type) else "",
    )


def _parse_method(invoke: Reader) -> str:
    text = (invoke.text("default_method") or "").upper()
    if text and text not in METHODS:
        invoke.refuse("default_method", f"must be one of {', '.join(METHODS)}")
        return ""
    return text


def _parse_query(invoke: Reader) -> str:
    value = invoke.value("query")
    if value is None:
        return ""
    if not isinstance(value, dict):
        invoke.refuse("query", "must be an object")
        return ""
    return _json(invoke, "query", cast("object", value)) if value else ""


def _parse_body(invoke: Reader) -> str:
    value = invoke.value("body")
    return "" if value is None or value == "" else _json(invoke, "body", value)


def _parse_content_type(invoke: Reader) -> str:
    text = invoke.text("content_type") or ""
    if text and not _MEDIA_TYPE.fullmatch(text):
        invoke.refuse("content_type", "must be a media type such as application/json")
        return ""
    return text


def _parse_schema(section: Reader, name: str) -> str:
    value = section.value(name)
    if value is None:
        return ""
    text = _json(section, name, value)  # first: looking at a schema takes longer the larger it is
    if not text:
        return ""
    try:
        schemas.Schema(value)
    except schemas.UnfitSchemaError as error:
        section.refuse(name, f"is no schema that requests can be held to: {error}; it is ignored")
        return ""
    return text


def _json(reader: Reader, name: str, value: object) -> str:
    text = orjson.dumps(value)
    if len(text) > MAX_JSON:
        reader.refuse(name, f"must be at most {MAX_JSON} bytes")
        return ""
    return text.decode()


def _first_method(text: str) -> str:
    methods = re.split(r"[\s,|]+", text.upper())
    return next((method for method in methods if method in METHODS), "")


def _object_text(text: str) -> str:
    value = _loaded(text)
    return orjson.dumps(value).decode() if isinstance(value, dict) and value else ""


def _body_text(text: str) -> str:
    if not text:
        return ""
    value = _loaded(text)
    return orjson.dumps(text if value is None else value).decode()


def _loaded(text: str) -> Any:
    try:
        return nesting.loads(text)
    except orjson.JSONDecodeError:
        return None
