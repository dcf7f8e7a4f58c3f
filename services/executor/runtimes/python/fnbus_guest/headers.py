"""The headers of an answer: what may go on the wire, and what is not a handler's to say."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

NAMELESS = b"[]"
"""The header list of an answer without headers."""

_NAME_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_NOT_ITS_OWN = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of the connection, which belongs to the gateway; they are dropped."""


class InvalidResponseError(Exception):
    """What the handler returned describes no possible answer."""


def header_list(headers: Any) -> tuple[list[list[str]], str]:
    """Return [name, value] pairs with lower-case names, and the content type among them or "".

    Args:
        headers: a dict, or an iterable of pairs; a list as value gives several headers, None gives none.

    Raises:
        InvalidResponseError: a name or value cannot be a header; the text names the header.
    """
    pairs: list[list[str]] = []
    content_type = ""
    if headers is None:
        return pairs, content_type
    for name, value in _items(headers):
        lower = str(name).lower()
        if not lower or not _NAME_CHARACTERS.issuperset(lower):
            raise InvalidResponseError(f"not a header name: {name!r:.80}")
        if lower in _NOT_ITS_OWN:
            continue
        for each in value if isinstance(value, list | tuple) else (value,):  # pyright: ignore[reportUnknownVariableType]
            if each is None:
                continue
            text = each if isinstance(each, str) else _text(lower, each)  # pyright: ignore[reportUnknownArgumentType]
            if not (text.isascii() and text.isprintable()):
                _check(lower, text)
            if lower == "content-type":
                if content_type:
                    continue
                content_type = text.strip()
            pairs.append([lower, text.strip()])
    return pairs, content_type


def _items(headers: Any) -> Iterable[tuple[Any, Any]]:
    items = headers.items() if hasattr(headers, "items") else headers
    try:
        return [(name, value) for name, value in items]
    except (TypeError, ValueError):
        raise InvalidResponseError(f"headers must be an object, not {type(headers).__name__}") from None


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("latin-1")
    raise InvalidResponseError(f"header {name}: {type(value).__name__} is not a header value")


def _check(name: str, text: str) -> None:
    if any((character < " " and character != "\t") or character == "\x7f" for character in text):
        raise InvalidResponseError(f"header {name}: control characters are not allowed")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        raise InvalidResponseError(f"header {name}: only latin-1 characters are allowed") from None
