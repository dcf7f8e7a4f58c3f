"""Answers made smaller on their way out: which, with what coding, and how that is said. Pure."""

import functools
import zlib
from collections.abc import Sequence

import brotli  # pyright: ignore[reportMissingTypeStubs]  it has none

type Headers = Sequence[tuple[bytes, bytes]]

LEAST_BYTES = 1024
"""Smaller bodies go out as they are: one comparison is all that they pay."""
AT_ONCE_BYTES = 16 * 1024
"""Larger bodies are for a thread: on the event loop they would hold up other calls for more than half a millisecond."""
MOST_BYTES = 16 * 1024 * 1024
"""Larger bodies go out as they are."""

_CODINGS = ("br", "gzip")
"""Those that are offered, the preferred one first."""
_BROTLI_QUALITY = 4
_GZIP_LEVEL = 5
_GZIP = 16 + zlib.MAX_WBITS
_VARY = (b"vary", b"Accept-Encoding")
_TEXTS = frozenset({
    b"application/json", b"application/javascript", b"application/xml", b"application/x-ndjson", b"application/wasm",
    b"application/manifest+json", b"application/graphql", b"application/x-javascript", b"image/svg+xml",
})  # fmt: skip
_PARTIAL = 206


def is_text(headers: Headers, status: int) -> bool:
    """Whether an answer may be coded at all: text that is whole, and that nobody has coded or forbidden to."""
    textual = False
    for name, value in headers:
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
            textual = kind.startswith(b"text/") or kind in _TEXTS or kind.endswith((b"+json", b"+xml"))
            if kind == b"text/event-stream":
                return False
        elif name in (b"content-encoding", b"content-range") or (name == b"cache-control" and b"no-transform" in value.lower()):
            return False
    return textual and status != _PARTIAL


@functools.lru_cache(maxsize=256)
def choose(accepted: str) -> str:
    """Return the coding that a client likes best (`Accept-Encoding`); empty: none."""
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        if name:
            weights["gzip" if name == "x-gzip" else name] = _weight(parameters)
    others = weights.get("*", 0.0)
    offered = [(weights.get(name, others), -at, name) for at, name in enumerate(_CODINGS)]
    weight, _, name = max(offered)
    return name if weight > 0 and weight >= weights.get("identity", 0.0) else ""


def encode(coding: str, body: bytes) -> bytes:
    """Return a body coded."""
    if coding == "br":
        return bytes(brotli.compress(body, quality=_BROTLI_QUALITY))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()


def said(headers: Headers, coding: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer that is coded; without coding, of one that could be for another client."""
    if not coding:
        return [*headers, _VARY]
    told = [(name, _weak(value) if name == b"etag" else value) for name, value in headers if name != b"accept-ranges"]
    return [*told, _VARY, (b"content-encoding", coding.encode())]


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return max(0.0, min(float(value), 1.0))
            except ValueError:
                return 0.0
    return 1.0


def _weak(tag: bytes) -> bytes:
    """Return an entity tag that holds for the coded body as well: the same meaning, not the same bytes."""
    return tag if tag.startswith(b"W/") else b"W/" + tag
