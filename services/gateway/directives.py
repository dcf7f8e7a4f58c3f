"""What a handler that answers with `proxy` wants fetched, checked against its function's `edge` policy. Pure.

What can be told from the URL alone is decided here: host, path, headers. Where a host's name leads is looked at when the
connection is made (`libs.outbound.client`).
"""

import base64
import binascii
import re
from typing import Any, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

import orjson

from libs import errors, nesting
from libs.messages.web import Edge
from libs.outbound import addresses, client

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CONTROL = re.compile(r"/+(?:_fn|console)(?:/|$)", re.IGNORECASE)
_HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "trailers",
    "transfer-encoding", "upgrade",
})  # fmt: skip
_FRAMING = frozenset({"host", "content-length", "expect"})
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_UNFIT = re.compile(r"[\x00-\x20\x7f\\]")
_PORTS = {"http": 80, "https": 443}
_DECODINGS = 3
"""How often a path may have been encoded over and over before that is taken for an attempt at something."""


class UnfitDirectiveError(errors.PermanentError):
    """It cannot be done, or may not; the text says why."""


def parse(directive: bytes, edge: Edge, *, seconds: float) -> client.Request:
    """Return the request that a handler asks for.

    Args:
        directive: `{url | path, method, headers, body, is_base64, body_base64, timeout_ms, max_response_bytes}` as JSON.
        edge: what its function may have fetched.
        seconds: what is left of the call's time.

    Raises:
        UnfitDirectiveError: it is not one, or not allowed.
    """
    wanted = _loaded(directive)
    url = _url(wanted, edge)
    host, port = _host(url)
    _require_allowed(host, port, edge)
    target = _target(url)
    address = addresses.parse(host)
    if address is not None and not addresses.is_reachable(address, private=edge.allow_private):
        raise UnfitDirectiveError("private host not allowed")
    method = wanted.get("method") or "GET"
    if not isinstance(method, str) or method.upper() not in METHODS:
        raise UnfitDirectiveError(f"method must be one of {', '.join(sorted(METHODS))}")
    return client.Request(
        method=method.upper(),
        scheme=url.scheme,
        host=host,
        port=port,
        target=target,
        headers=_headers(wanted.get("headers")),
        body=_body(wanted),
        seconds=min(seconds, _positive(wanted, "timeout_ms", seconds * 1000) / 1000),
        max_response_bytes=int(min(edge.max_response_bytes, _positive(wanted, "max_response_bytes", edge.max_response_bytes))),
        private=edge.allow_private,
    )


def kept(headers: client.Headers) -> list[tuple[str, str]]:
    """Return the headers of an answer without those that concern the connection it came by."""
    named = {
        token.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for token in value.decode("latin-1").split(",")
    }
    pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers]
    return [(name, value) for name, value in pairs if name not in _HOP_BY_HOP and name not in named]


def _loaded(directive: bytes) -> dict[str, Any]:
    try:
        loaded = nesting.loads(directive)
    except orjson.JSONDecodeError:
        loaded = None
    if not isinstance(loaded, dict):
        raise UnfitDirectiveError("proxy must be an object")
    return cast("dict[str, Any]", loaded)


def _url(wanted: dict[str, Any], edge: Edge) -> SplitResult:
    text, path = wanted.get("url"), wanted.get("path")
    if not text and isinstance(path, str) and path:
        if not edge.base_url:
            raise UnfitDirectiveError("path needs edge.base_url")
        if not path.startswith("/"):
            raise UnfitDirectiveError("path must start with /")
        _require_public_path(urlsplit(f"//host{path}").path)
        text = edge.base_url + path
    if not isinstance(text, str) or not text:
        raise UnfitDirectiveError("url or path is required")
    try:
        url = urlsplit(text)
        fits = url.scheme in _PORTS and bool(url.hostname) and not _UNFIT.search(text) and url.port != 0
    except ValueError:
        fits, url = False, urlsplit("")
    if not fits or url.username is not None or url.password is not None:
        raise UnfitDirectiveError("url must be http or https, without credentials")
    return url


def _host(url: SplitResult) -> tuple[str, int]:
    host = (url.hostname or "").rstrip(".")
    try:
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise UnfitDirectiveError("url has a host that is no name") from None
    if not host:
        raise UnfitDirectiveError("url has no host")
    return host, url.port or _PORTS[url.scheme]


def _require_allowed(host: str, port: int, edge: Edge) -> None:
    if edge.allow_hosts:
        allowed = edge.allow_hosts
    elif edge.base_url:
        base = urlsplit(edge.base_url)
        allowed = (f"{_bracketed(base.hostname or '')}:{base.port or _PORTS[base.scheme]}",)
    else:
        return
    # Where the base URL leads is the configuration's own choice, even with a list for everything else.
    if edge.base_url:
        base = urlsplit(edge.base_url)
        allowed = (*allowed, f"{_bracketed(base.hostname or '')}:{base.port or _PORTS[base.scheme]}")
    if not any(_covers(entry.lower(), _bracketed(host), port) for entry in allowed):
        raise UnfitDirectiveError("host not in allowlist")


def _covers(entry: str, host: str, port: int) -> bool:
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit() and not (name.startswith("[") and not name.endswith("]")):
        if int(wanted) != port:
            return False
        entry = name
    return host.endswith(entry[1:]) and host != entry[2:] if entry.startswith("*.") else host == entry


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _target(url: SplitResult) -> bytes:
    _require_public_path(url.path)
    path = quote(url.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return f"{path}?{quote(url.query, safe='/?%:@!$&()*+,;=~-._[]')}".encode() if url.query else path.encode()


def _require_public_path(path: str) -> None:
    """Refuse the control plane, however its path is spelled."""
    for _ in range(_DECODINGS):
        segments: list[str] = []
        for segment in path.split("/"):
            if segment == "..":
                del segments[-1:]
            elif segment not in ("", "."):
                segments.append(segment)
        if _CONTROL.match("/" + "/".join(segments)):
            raise UnfitDirectiveError("control-plane path not allowed")
        decoded = unquote(path).replace("\\", "/")
        if decoded == path:
            return
        path = decoded
    raise UnfitDirectiveError("path is encoded too often")


def _headers(value: object) -> list[tuple[bytes, bytes]]:
    if value is None:
        return []
    if not isinstance(value, dict):
        raise UnfitDirectiveError("headers must be an object")
    headers: list[tuple[bytes, bytes]] = []
    for name, given in cast("dict[str, object]", value).items():
        for each in cast("list[object]", given) if isinstance(given, list) else [given]:
            if each is None or name.lower() in _HOP_BY_HOP or name.lower() in _FRAMING:
                continue
            text = each if isinstance(each, str) else orjson.dumps(each).decode()
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(text):
                raise UnfitDirectiveError(f"header {name[:40]!r} cannot be sent")
            headers.append((name.lower().encode(), text.encode()))
    return headers


def _body(wanted: dict[str, Any]) -> bytes:
    body, packed = wanted.get("body"), wanted.get("body_base64")
    if wanted.get("is_base64") or (body is None and packed is not None):
        try:
            return base64.b64decode(str(packed if packed is not None else body or ""), validate=True)
        except (binascii.Error, ValueError):
            raise UnfitDirectiveError("body_base64 is not base64") from None
    if body is None:
        return b""
    return body.encode(errors="surrogatepass") if isinstance(body, str) else orjson.dumps(body)


def _positive(wanted: dict[str, Any], name: str, default: float) -> float:
    value = wanted.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise UnfitDirectiveError(f"{name} must be > 0")
    return value
