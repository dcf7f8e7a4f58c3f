"""What a function demands of requests by the schemas that it declares. Pure; functions without any never come here."""

import re
from collections.abc import Mapping
from typing import Any, cast

import orjson

from libs import nesting, schemas
from libs.messages.catalog import Interface
from libs.schemas import Schema
from services.gateway.answers import Refusal

_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class Checks:
    """The schemas of one version."""

    def __init__(self, interface: Interface) -> None:
        """Compile them.

        Raises:
            schemas.UnfitSchemaError: one of them cannot be used.
        """
        query = _loaded(interface.query_schema)
        self._query = Schema(query) if query is not None else None
        self._types = _types(query) if query is not None else {}
        self._body = Schema(_loaded(interface.body_schema)) if interface.body_schema else None

    def require(self, *, method: str, query: Mapping[str, Any], body: bytes) -> None:
        """Do nothing for a request that meets the schemas.

        Args:
            method: of the request; the body counts where the method can have one.
            query: texts, lists of texts, True for a flag; they are read as what the schema says they are.
            body: as it came.

        Raises:
            Refusal: 400, naming the place.
        """
        if self._query is not None:
            fault = self._query.fault({name: _read(value, self._types.get(name)) for name, value in query.items()})
            if fault is not None:
                raise _refused("query", fault.place, fault.message)
        if self._body is None or method in _BODILESS or (method == "DELETE" and not body):
            return
        try:
            value = nesting.loads(body)
        except orjson.JSONDecodeError as error:
            raise _refused("body", "", f"is not JSON: {error}" if body else "is missing") from None
        fault = self._body.fault(value)
        if fault is not None:
            raise _refused("body", fault.place, fault.message)


def of(interface: Interface) -> Checks | None:
    """Return what a version checks; None for one that declares nothing, or what only a newer registry can understand."""
    if not interface.query_schema and not interface.body_schema:
        return None
    try:
        return Checks(interface)
    except (schemas.UnfitSchemaError, orjson.JSONDecodeError):
        return None


def _refused(part: str, place: str, message: str) -> Refusal:
    where = f"{part}{place}"
    return Refusal(400, f"invalid request: {where}: {message}", place=where)


def _loaded(text: str) -> Any:
    return orjson.loads(text) if text else None


def _types(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return what a schema says of each member, without detours."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    within = schemas.inner(schema)
    found: dict[str, Mapping[str, Any]] = {}
    for name, each in cast("dict[str, Any]", properties).items():
        said = schemas.resolve(within, each)
        found[name] = {"type": said.get("type"), "items": schemas.resolve(within, said.get("items"))}
    return found


def _read(value: Any, said: Mapping[str, Any] | None) -> Any:
    """Return a value of a query as what it is said to be; as it came where it is not that, for the schema to refuse."""
    if said is None:
        return value
    declared = said.get("type")
    kinds: list[object] = cast("list[object]", declared) if isinstance(declared, list) else [declared]
    if isinstance(value, list) or "array" in kinds:
        values = cast("list[Any]", value) if isinstance(value, list) else [value]
        return [_read(each, said.get("items")) for each in values]
    if not isinstance(value, str):  # a flag
        return value
    if "boolean" in kinds and value in _FLAGS:
        return _FLAGS[value]
    if "integer" in kinds and _INTEGER.fullmatch(value):
        return int(value)
    if "number" in kinds and _NUMBER.fullmatch(value):
        return float(value)
    return value
