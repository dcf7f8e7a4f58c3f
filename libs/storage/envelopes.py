"""How a document lies on a MongoDB server: pure maps and filters, no driver is needed here.

    {_id, revision, keys: {the indexed fields}, doc: {the document}, escaped: whether the document had to be changed}

What not every server takes is changed on the way there and back: keys with dots and dollars, and lists in lists. `keys`
holds every indexed field, with None where the document has none, since not every server that speaks the protocol counts a
missing field as None in a unique index.
"""

import re
from collections.abc import Sequence
from typing import Any, cast

from libs.storage import values
from libs.storage.port import Collection, Document, Where

_ESCAPES = {"%": "%25", ".": "%2E", "$": "%24", "\x00": "%00"}
"""What a server gives a meaning of its own, or refuses, in a key."""
_TO_ESCAPE = re.compile(r"[%.$\x00]")
_ESCAPED = re.compile(r"%(?:25|2E|24|00)")
_ORIGINALS = {escaped: original for original, escaped in _ESCAPES.items()}
_LIST = "%"
"""Key of a list that lies in a list; no escaped key is like it."""
_OPERATORS = {"==": "$eq", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte", "in": "$in"}


def envelope(collection: Collection, document: Document, *, revision: int) -> Document:
    """Return what is put on the server for a document, without its `_id`.

    Raises:
        InvalidDocumentError: the document holds what not every store can hold.
    """
    stored = values.stored(collection, document, revision=revision)
    changed = _is_odd(stored)
    return {
        "revision": revision,
        "keys": keys(collection, stored),
        "doc": _escaped(stored) if changed else stored,
        "escaped": changed,
    }


def opened(found: Document) -> Document:
    """Return the document in an envelope."""
    document = cast("Document", found["doc"])
    return _original(document) if found.get("escaped") else document


def keys(collection: Collection, document: Document) -> Document:
    """Return the indexed fields of a document."""
    return {field: document.get(field) for field in values.indexed(collection)}


def path(field: str) -> str:
    """Return where in an envelope an indexed field lies."""
    return field if field == "_id" else f"keys.{field}"


def query(where: Sequence[Where]) -> Document:
    """Return the filter for conditions that `values.check_query` let pass."""
    parts = [_condition(path(condition.field), condition) for condition in where]
    return {"$and": parts} if parts else {}


def _condition(field: str, where: Where) -> Document:
    if where.op == "in":
        return {field: {"$in": values.operands(where)}}
    if where.op == "==":
        return {field: {"$eq": where.value}}
    if where.value is None:
        against_none: dict[str, Document] = {
            "<": {"_id": {"$in": []}},
            "<=": {field: None},
            ">": {field: {"$ne": None}},
            ">=": {},
        }
        return against_none[where.op]
    compared: Document = {field: {_OPERATORS[where.op]: where.value}}
    # The server compares values of one kind only: what is below everything has to be asked for.
    return {"$or": [{field: None}, compared]} if where.op in ("<", "<=") and field != "_id" else compared


def _is_odd(value: Any, *, listed: bool = False) -> bool:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return any(_TO_ESCAPE.search(key) for key in items) or any(map(_is_odd, items.values()))
    if isinstance(value, list):
        return listed or any(_is_odd(item, listed=True) for item in cast("list[Any]", value))
    return False


def _escaped(value: Any, *, listed: bool = False) -> Any:
    if isinstance(value, dict):
        return {_TO_ESCAPE.sub(_escape, key): _escaped(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        items = [_escaped(item, listed=True) for item in cast("list[Any]", value)]
        return {_LIST: items} if listed else items
    return value


def _original(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        if items.keys() == {_LIST}:
            return _original(items[_LIST])
        return {_ESCAPED.sub(_unescape, key): _original(item) for key, item in items.items()}
    if isinstance(value, list):
        return [_original(item) for item in cast("list[Any]", value)]
    return value


def _escape(match: re.Match[str]) -> str:
    return _ESCAPES[match[0]]


def _unescape(match: re.Match[str]) -> str:
    return _ORIGINALS[match[0]]
