"""The path of a request in its one canonical form.

Segments are decoded one by one, so that an encoded slash never becomes a separator. Empty segments (`//`, a trailing `/`)
are tolerated and dropped.
"""

import re
from urllib.parse import unquote_to_bytes

from libs import errors

_SIMPLE = re.compile(rb"(?:/[A-Za-z0-9_~@:-][A-Za-z0-9_~@:.-]*){1,16}")
"""Most paths: nothing to decode, to drop or to refuse."""
MAX_SEGMENTS = 256
"""Longer paths have no route: a bound on the work of matching."""


class BadPathError(errors.PermanentError, ValueError):
    """The path is not one that a route could have.

    Attributes:
        status: the HTTP status that says so.
        text: what is wrong, for the caller.
    """

    def __init__(self, *, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def canonical(raw: bytes) -> str:
    """Return the decoded path without empty segments; it starts with `/` and ends with one only when it is `/`.

    Args:
        raw: the path as it came, percent-encoded, without query.

    Raises:
        BadPathError: the bytes are not UTF-8, a segment is `..`, holds a NUL or an encoded slash, or there are too many.
    """
    if _SIMPLE.fullmatch(raw):
        return raw.decode("ascii")
    try:
        segments = [unquote_to_bytes(part).decode("utf-8") for part in raw.split(b"/") if part]
    except UnicodeDecodeError:
        raise BadPathError(status=400, text="path is not valid UTF-8") from None
    for segment in segments:
        if segment == ".." or "\0" in segment:
            raise BadPathError(status=400, text="invalid path")
        if "/" in segment:
            raise BadPathError(status=404, text="not found")
    if len(segments) > MAX_SEGMENTS:
        raise BadPathError(status=404, text="not found")
    return "/" + "/".join(segments)
