"""Responses and bodies in FastFN's form, shared by its endpoints."""

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, cast

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from libs import nesting
from libs.clock import epoch_ms
from services.gateway.answers import CLIENT_GONE, Refusal

type Handler = Callable[[Request], Awaitable[Response]]
"""An endpoint."""

_JSON = "application/json"
_NAMESPACE = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,100}")


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return `content` as a JSON response."""
    return Response(orjson.dumps(content), status, headers, _JSON)


def error_response(status: int, text: str, /, *, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """Return an error with FastFN's text; `more` are further keys."""
    return json_response({"error": text} | more, status, headers)


def refusal_response(refusal: Refusal, *, request_id: str) -> Response:
    """Return a refusal as a response."""
    headers = {name.decode(): value.decode() for name, value in refusal.headers}
    return error_response(refusal.status, refusal.text, headers=headers, request_id=request_id, **refusal.more)


async def read_body(request: Request, *, limit: int) -> bytes:
    """Return the request's body.

    Raises:
        Refusal: 413, it is larger than `limit` bytes, by its header or by its bytes; or the client left before its end.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise Refusal(413, "payload too large")
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in request.stream():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise Refusal(413, "payload too large")
    except ClientDisconnect:
        raise Refusal(CLIENT_GONE, "client closed request") from None
    return b"".join(pieces)


async def read_object(request: Request, *, limit: int, may_lack: bool = False) -> dict[str, Any]:
    """Return the request's body, a JSON object; an empty one for no body, where it may lack.

    Raises:
        Refusal: 400, it is none; 413, it is larger than `limit` bytes.
    """
    data = await read_body(request, limit=limit)
    if may_lack and not data.strip():
        return {}
    try:
        value = nesting.loads(data)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, "invalid json body", detail=str(error)) from None
    if not isinstance(value, dict):
        raise Refusal(400, "invalid json body", detail="expected a JSON object")
    return cast("dict[str, Any]", value)


def number(request: Request, name: str, *, default: int, most: int) -> int:
    """Return a query parameter as a number from 1 to `most`; what is not a number counts as not given."""
    text = request.query_params.get(name, "")
    return min(max(int(text), 1), most) if text.isdecimal() and len(text) < 10 else default


def namespace(request: Request) -> str:
    """Return the namespace that a request is about.

    Raises:
        Refusal: 400, it can be none.
    """
    named = request.query_params.get("namespace") or "default"
    if not _NAMESPACE.fullmatch(named):
        raise Refusal(400, "invalid namespace")
    return named


def millis(moment: datetime | None) -> int | None:
    """Return epoch milliseconds, None for no time."""
    return epoch_ms(moment) if moment is not None else None


def seconds(moment: datetime | None) -> int | None:
    """Return epoch seconds, as FastFN's scheduler shows times, None for no time."""
    return int(moment.timestamp()) if moment is not None else None
