"""Cross-origin rules of a version, ready to be applied: its answers' headers, and the answer to a browser's preflight. Pure.

Nothing here keeps a call out. It is the browser that keeps a page from reading an answer which does not name its origin.
"""

import re
from collections.abc import Iterable

from libs.messages.web import Cors

type Headers = list[tuple[bytes, bytes]]

_VARY_ORIGIN = (b"vary", b"Origin")
_VARY_PREFLIGHT = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
_CREDENTIALS = (b"access-control-allow-credentials", b"true")
_ALLOWED = b"access-control-allow-origin"
_HEADER_LIST = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z, -]{0,4096}")


class Sharing:
    """What one version shares with pages of other origins."""

    __slots__ = ("_any", "_cors", "_endings", "_exact", "_exposed")

    def __init__(self, cors: Cors) -> None:
        """Apply a policy."""
        self._cors = cors
        self._any = "*" in cors.allow_origins
        self._exact = frozenset(origin for origin in cors.allow_origins if "*" not in origin)
        parts = (origin.partition("*") for origin in cors.allow_origins if origin != "*" and "*" in origin)
        self._endings = tuple((start, end) for start, _, end in parts)
        self._exposed = ", ".join(cors.expose_headers).encode()

    def answer(self, origin: str, present: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Return the headers to add to an answer.

        Args:
            origin: the request's `Origin`; empty without one.
            present: the answer's own headers; what the handler says about origins counts alone.
        """
        if any(name == _ALLOWED for name, _ in present):
            return []
        if not origin or not self._takes(origin):
            return [] if self._any else [_VARY_ORIGIN]
        headers = self._allowed(origin)
        if not self._any:
            headers.append(_VARY_ORIGIN)
        if self._exposed:
            headers.append((b"access-control-expose-headers", self._exposed))
        return headers

    def preflight(self, origin: str, wanted: str, methods: Iterable[str]) -> Headers:
        """Return the headers that answer a preflight.

        Args:
            origin: the request's `Origin`.
            wanted: its `Access-Control-Request-Headers`.
            methods: those of the route.
        """
        headers: Headers = [_VARY_PREFLIGHT]
        if not self._takes(origin):
            return headers
        cors = self._cors
        named = cors.allow_headers if "*" not in cors.allow_headers else ()
        headers += self._allowed(origin)
        headers.append((b"access-control-allow-methods", ", ".join(cors.allow_methods or methods).encode()))
        asked = ", ".join(named) or (wanted if _HEADER_LIST.fullmatch(wanted) else "")
        if asked:
            headers.append((b"access-control-allow-headers", asked.encode()))
        headers.append((b"access-control-max-age", b"%d" % cors.max_age))
        return headers

    def _allowed(self, origin: str) -> Headers:
        if self._any:
            return [(_ALLOWED, b"*")]
        headers = [(_ALLOWED, origin.encode("latin-1", "replace"))]
        if self._cors.allow_credentials:
            headers.append(_CREDENTIALS)
        return headers

    def _takes(self, origin: str) -> bool:
        text = origin.lower()
        if self._any or text in self._exact:
            return True
        return any(
            text.startswith(start) and text.endswith(end) and _is_label(text[len(start) : len(text) - len(end)])
            for start, end in self._endings
        )


def _is_label(text: str) -> bool:
    """Whether a text can stand for the star of `https://*.example.com`: labels of a host name and nothing else."""
    return bool(text) and all(label and set(label) <= _IN_LABEL for label in text.split("."))


_IN_LABEL = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
