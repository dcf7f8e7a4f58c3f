"""JSON from outside, read only as deep as it can be written again. Pure.

orjson reads 1024 levels and writes 254, so what it has read need not be fit to be stored, shown or sent on, each time a few
levels further down inside something else. What is nested too deep is therefore no JSON here, for everybody who reads.
"""

from typing import Any, cast

import orjson

MOST_LEVELS = 100
"""Levels below each other. Far more than anybody writes, with room for what it is put into; MongoDB bears as many."""


def loads(data: bytes | str) -> object:
    """Return the value in a JSON text.

    Raises:
        orjson.JSONDecodeError: it is none, or nested too deep.
    """
    value: object = orjson.loads(data)
    opened = data.count("[") + data.count("{") if isinstance(data, str) else data.count(b"[") + data.count(b"{")
    if opened > MOST_LEVELS and _is_too_deep(value):
        text = data if isinstance(data, str) else data.decode()
        raise orjson.JSONDecodeError(f"nested more than {MOST_LEVELS} levels deep", text, 0)
    return value


def mapping(data: bytes | str) -> dict[str, Any] | None:
    """Return the object in a JSON text; None when it holds anything else, or is none."""
    try:
        value = loads(data)
    except orjson.JSONDecodeError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _is_too_deep(value: object) -> bool:
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [inner for each in level for inner in _inside(each) if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(cast("dict[str, object]", value).values())
    return cast("list[object]", value) if isinstance(value, list) else []
