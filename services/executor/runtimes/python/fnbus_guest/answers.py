"""From what a handler returns to status, header list and body.

FastFN's rules, and one more: what Node accepts, Python accepts too.
"""

from __future__ import annotations

from .headers import NAMELESS, InvalidResponseError, header_list  # noqa: TID252  see the package's docstring
from .jsontext import dumps  # noqa: TID252

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Future
    from typing import Any

type Answer = tuple[int, bytes, bytes]
"""Status, JSON list of [name, value], body."""


class Made:
    """An answer whose parts are known, as the handlers' styles other than FastFN's own make it."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: Any, headers: Any, body: Any) -> None:
        """Describe an answer; headers are as `header_list` takes them, the body is anything that an envelope may hold."""
        self.status = status
        self.headers = headers
        self.body = body


class Unfinished:
    """A returned value, and what goes on when its answer has been sent."""

    __slots__ = ("after", "value")

    def __init__(self, value: Any, after: Future[Any]) -> None:
        """Return `value`, then wait for `after`; it is cancelled when `value` turns out to be no answer."""
        self.value = value
        self.after = after


class Flow:
    """An answer whose body comes in pieces."""

    __slots__ = ("content_type", "pairs", "pieces", "status")

    def __init__(self, status: int, pairs: list[list[str]], content_type: str, pieces: Any) -> None:
        """Describe an answer; `pieces` is an iterator or an asynchronous one, `content_type` is among `pairs` or ""."""
        self.status = status
        self.pairs = pairs
        self.content_type = content_type
        self.pieces = pieces


_ENVELOPE = frozenset({"status", "statusCode", "headers", "body", "body_base64", "is_base64", "isBase64Encoded", "proxy"})
"""A dict with one of these keys describes an answer; any other is the answer."""

JSON_TYPE = "application/json"
_JSON_HEAD = b'[["content-type","application/json"]]'
_PROXY_HEAD = b'{"proxy":true}'
"""Says that the body describes what the gateway is to fetch."""
_TEXT_TYPE = "text/plain; charset=utf-8"
_HTML_TYPE = "text/html; charset=utf-8"
_BINARY_TYPE = "application/octet-stream"
_BINARY_PREFIXES = ("image/", "audio/", "video/", "font/")
_BINARY_TYPES = frozenset({_BINARY_TYPE, "application/pdf", "application/zip", "application/gzip", "application/wasm"})
_HTML_STARTS = ("<!doctype html", "<html", "<head", "<body", "<!--")
BODYLESS = frozenset({204, 304})
"""Statuses of answers without a body, whatever the handler says."""
_WHOLE = (str, bytes, dict, list, type(None), int)
"""The usual kinds of body, which come in one piece."""


def answer_of(value: Any) -> Answer | Flow:
    """Return what goes out for a returned value.

    Raises:
        InvalidResponseError: it looks like a description of an answer, but is not a possible one.
        TypeError: something in it has no JSON form; the text names its type.
        ValueError: it contains itself.
    """
    if isinstance(value, dict):
        if _ENVELOPE.isdisjoint(value):  # pyright: ignore[reportUnknownArgumentType]
            return 200, _JSON_HEAD, dumps(value)  # pyright: ignore[reportUnknownArgumentType]
        return _from_envelope(value)  # pyright: ignore[reportUnknownArgumentType]
    if value is None:
        return 200, NAMELESS, b""
    if isinstance(value, tuple) and len(value) > 0:  # pyright: ignore[reportUnknownArgumentType]
        return _from_tuple(value)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, Made):
        pairs, content_type = header_list(value.headers)
        return _finish(_status(value.status), pairs, content_type, value.body)
    return _finish(200, [], "", value)


def _from_tuple(value: tuple[Any, ...]) -> Answer | Flow:
    if len(value) > 3:
        raise InvalidResponseError("a tuple answer is (body, status, headers)")
    body, status, headers = value + (200, None)[len(value) - 1 :]
    pairs, content_type = header_list(headers)
    return _finish(_status(status), pairs, content_type, body)


def _from_envelope(value: dict[str, Any]) -> Answer | Flow:
    if value.get("proxy") is not None:
        return 200, _PROXY_HEAD, _directive(value["proxy"])
    status = _status(value["status"] if "status" in value else value.get("statusCode", 200))
    pairs, content_type = header_list(value.get("headers"))
    body = value.get("body")
    encoded = value.get("body_base64")
    if value.get("is_base64") or value.get("isBase64Encoded") or (body is None and encoded is not None):
        body = decoded(body if encoded is None else encoded)
    return _finish(status, pairs, content_type, body)


def _directive(wanted: object) -> bytes:
    """Return what the gateway is to fetch, as JSON; bytes in it travel as base64."""
    if not isinstance(wanted, dict):
        raise InvalidResponseError(f"proxy must be an object, not {type(wanted).__name__}")
    body: Any = wanted.get("body")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(body, bytes | bytearray | memoryview):
        import binascii

        packed = binascii.b2a_base64(bytes(body), newline=False).decode()  # pyright: ignore[reportUnknownArgumentType]
        wanted = wanted | {"body": None, "is_base64": True, "body_base64": packed}  # pyright: ignore[reportUnknownVariableType]
    return dumps(wanted)  # pyright: ignore[reportUnknownArgumentType]


def _status(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 200 <= value <= 599:
        raise InvalidResponseError(f"status must be an integer from 200 to 599, not {value!r:.60}")
    return int(value)


def decoded(value: object) -> bytes:
    """Return the bytes that a base64 body stands for.

    Raises:
        InvalidResponseError: it stands for none.
    """
    if value is None:
        return b""
    if not isinstance(value, str | bytes):
        raise InvalidResponseError(f"a base64 body must be text, not {type(value).__name__}")
    import binascii

    packed = b"".join((value.encode() if isinstance(value, str) else value).split())
    try:
        return binascii.a2b_base64(packed, strict_mode=True)
    except ValueError as error:
        raise InvalidResponseError(f"the body is not base64: {error}") from None


def _finish(status: int, pairs: list[list[str]], content_type: str, value: Any) -> Answer | Flow:
    if type(value) not in _WHOLE and (hasattr(value, "__next__") or hasattr(value, "__aiter__")):
        return Flow(status, pairs, content_type, iter(()) if status in BODYLESS else value)
    body, natural_type = _written(value, content_type)
    if status in BODYLESS:
        body = b""
    elif body and not content_type:
        pairs.append(["content-type", natural_type])
    return status, dumps(pairs) if pairs else NAMELESS, body


def _written(value: Any, content_type: str) -> tuple[bytes, str]:
    """Return a body as bytes, and the content type it has when the handler named none."""
    if isinstance(value, str):
        if content_type and _is_binary(content_type):
            return _bytes_in_text(value), content_type
        return value.encode(errors="surrogatepass"), _HTML_TYPE if _is_html(value) else _TEXT_TYPE
    if value is None:
        return b"", ""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value), _BINARY_TYPE  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, bool):
        return (b"true" if value else b"false"), _TEXT_TYPE
    if isinstance(value, int | float):
        return str(value).encode(), _TEXT_TYPE
    if content_type.startswith("text/csv") and isinstance(value, list | tuple):
        from .csvtext import csv_of  # noqa: TID252

        return csv_of(value), content_type  # pyright: ignore[reportUnknownArgumentType]
    return dumps(value), JSON_TYPE


def _is_html(text: str) -> bool:
    start = text.lstrip()[:15].lower()
    if start.startswith(_HTML_STARTS):
        return True
    return len(start) > 2 and start[0] == "<" and start[1].isalpha() and not start.startswith("<?") and text.rstrip()[-1] == ">"


def _is_binary(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "image/svg+xml":
        return False
    return kind in _BINARY_TYPES or kind.startswith(_BINARY_PREFIXES)


def _bytes_in_text(text: str) -> bytes:
    """Return the bytes that a text of one character per byte stands for, as Node's `binary` strings do; else UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
