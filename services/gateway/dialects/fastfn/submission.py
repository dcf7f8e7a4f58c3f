"""The body of a job or an invoke request: bytes to a typed record, or FastFN's error. Pure."""

import re
from dataclasses import dataclass
from typing import Any, cast

import orjson

from libs import nesting
from services.gateway.answers import Refusal
from services.gateway.routing.index import DEFAULT_LABEL
from services.gateway.routing.table import METHODS

_NAME = re.compile(r"/?[a-zA-Z0-9_.\[\]:*{}-]+(/[a-zA-Z0-9_.\[\]:*{}-]+)*")
_RUNTIME = re.compile(r"[a-zA-Z0-9_-]+")
_VERSION = re.compile(r"[a-zA-Z0-9_.-]+")
_RESERVED = ("/_fn", "/console")
_MAX_HEAD_BYTES = 1024 * 1024
_MAX_ROUTE_BYTES = 16 * 1024
_MAX_DELAY_MS = 24 * 3600 * 1000
_MAX_ATTEMPTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What is to be run, and with which request."""

    name: str
    runtime: str = ""
    """Empty: the first that has the name."""
    version: str = DEFAULT_LABEL
    method: str = "GET"
    route: str = ""
    """A pattern or a concrete path of the function; empty: its own."""
    params: dict[str, str]
    query: dict[str, Any]
    headers: dict[str, Any]
    body: bytes = b""
    context: dict[str, Any] | None = None
    max_attempts: int = 1
    retry_delay_ms: int = 1000


def parse(data: bytes, *, wrong_runtime: str = "invalid runtime") -> Submission:
    """Return the submission that a JSON body holds; fields that it does not know are ignored.

    Args:
        data: the body.
        wrong_runtime: how a `runtime` that is no text, or an empty one, is refused.

    Raises:
        Refusal: 400 or 413, with FastFN's text and, where that says little, a `detail`.
    """
    try:
        document = nesting.loads(data)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, "invalid json body", detail=str(error)) from None
    if not isinstance(document, dict):
        raise Refusal(400, "invalid json body", detail="expected a JSON object")
    found = cast("dict[str, Any]", document)
    wanted = Submission(
        name=_name(found.get("name")),
        version=_token(found.get("version"), _VERSION, "invalid version") or DEFAULT_LABEL,
        runtime=_runtime(found.get("runtime"), wrong_runtime),
        method=_method(found.get("method")),
        route=_route(found.get("route")),
        params=_params(found.get("params")),
        query=_values(found.get("query"), "query must be a JSON object"),
        headers={name.lower(): value for name, value in _values(found.get("headers"), "headers must be a JSON object").items()},
        body=_body(found.get("body")),
        context=_object(found.get("context"), "context must be an object"),
        max_attempts=_integer(found.get("max_attempts"), "max_attempts", default=1, least=1, most=_MAX_ATTEMPTS),
        retry_delay_ms=_integer(found.get("retry_delay_ms"), "retry_delay_ms", default=1000, least=0, most=_MAX_DELAY_MS),
    )
    if len(data) > _MAX_ROUTE_BYTES:
        _check_sizes(wanted)
    return wanted


def _check_sizes(wanted: Submission) -> None:
    """Hold all but the body to what a request could carry beside one: jobs are listed, and travel, with it."""
    if len(orjson.dumps((wanted.route, wanted.params))) > _MAX_ROUTE_BYTES:
        raise Refusal(413, "payload too large", detail="route and params")
    if len(orjson.dumps((wanted.query, wanted.headers, wanted.context))) > _MAX_HEAD_BYTES:
        raise Refusal(413, "payload too large", detail="query, headers and context")


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Refusal(400, "name is required")
    if _NAME.fullmatch(value) is None or any(part in ("..", ".") for part in value.split("/")):
        raise Refusal(400, "invalid name")
    return value


def _token(value: object, shape: re.Pattern[str], text: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or shape.fullmatch(value) is None:
        raise Refusal(400, text)
    return value


def _runtime(value: object, wrong: str) -> str:
    if value is not None and (not isinstance(value, str) or not value):
        raise Refusal(400, wrong)
    return _token(value, _RUNTIME, "invalid runtime")


def _method(value: object) -> str:
    if value is None:
        return "GET"
    if not isinstance(value, str) or value.upper() not in METHODS:
        raise Refusal(400, "unsupported method")
    return value.upper()


def _route(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refusal(400, "route must be a string when provided")
    parts = value.split("/")
    reserved = any(value == prefix or value.startswith(prefix + "/") for prefix in _RESERVED)
    if not value.startswith("/") or ".." in parts or reserved or any(mark in value for mark in "?#\0"):
        raise Refusal(400, "invalid route")
    return "/" + "/".join(part for part in parts if part)


def _params(value: object) -> dict[str, str]:
    params: dict[str, str] = {}
    for name, each in (_object(value, "params must be a JSON object") or {}).items():
        text = _scalar(each)
        if text is None:
            raise Refusal(400, "params must be a JSON object", detail=f"{name} is neither text nor a number")
        if ".." in text.split("/") or "\0" in text:
            raise Refusal(400, "invalid route", detail=f"param {name}")
        params[name] = text
    return params


def _values(value: object, text: str) -> dict[str, Any]:
    """Return values as a request would carry them: text, lists of text, or True for a flag."""
    values: dict[str, Any] = {}
    for name, each in (_object(value, text) or {}).items():
        if each is None or each is False:
            continue
        if isinstance(each, list):
            values[name] = [_scalar(item) or orjson.dumps(item).decode() for item in cast("list[object]", each)]
        elif each is True:
            values[name] = True
        else:
            scalar = _scalar(each)
            values[name] = orjson.dumps(each).decode() if scalar is None else scalar
    return values


def _scalar(value: object) -> str | None:
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode() if isinstance(value, int | float) else None


def _object(value: object, text: str) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Refusal(400, text)
    return cast("dict[str, Any]", value)


def _body(value: object) -> bytes:
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else orjson.dumps(value)


def _integer(value: object, name: str, *, default: int, least: int, most: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Refusal(400, f"{name} must be an integer from {least} to {most}")
    return value
