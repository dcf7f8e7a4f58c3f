"""What a request says, taken from its raw form: headers, query, client, ids. Pure."""

import functools
import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import unquote_plus

type Headers = dict[str, str | list[str]]
type Network = IPv4Network | IPv6Network

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
SESSION_COOKIE = "fastfn_session"
"""Name of the cookie that holds the token of a login to the control plane."""
_TOKEN = "x-fn-admin-token"  # noqa: S105  a header's name
_PRIVATE = frozenset({_TOKEN, "cookie"})
"""Headers that are meant for the gateway, or may hold what is, and so never reaches a function."""


def headers_of(raw: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Return headers by lower-case name; a repeated one has a list. Bytes that are not UTF-8 are read as Latin-1."""
    headers: Headers = {}
    for name_bytes, value_bytes in raw:
        name = name_bytes.decode("latin-1")
        try:
            value = value_bytes.decode()
        except UnicodeDecodeError:
            value = value_bytes.decode("latin-1")
        known = headers.get(name)
        if known is None:
            headers[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            headers[name] = [known, value]
    return headers


def public(headers: Headers) -> Headers:
    """Return the headers without those that no function may see."""
    if _PRIVATE.isdisjoint(headers):
        return headers
    shown = {name: value for name, value in headers.items() if name != _TOKEN}
    if any(SESSION_COOKIE in each for each in _all(headers, "cookie")):
        kept = [pair for each in _all(headers, "cookie") for pair in each.split(";") if not _is_session(pair)]
        shown["cookie"] = ";".join(kept).strip()
        if not shown["cookie"]:
            del shown["cookie"]
    return shown


def session_token(headers: Headers) -> str:
    """Return what the session's cookie holds; empty when there is none."""
    for each in _all(headers, "cookie"):
        for pair in each.split(";"):
            if _is_session(pair):
                return pair.partition("=")[2].strip().strip('"')
    return ""


def _is_session(pair: str) -> bool:
    return pair.partition("=")[0].strip() == SESSION_COOKIE


def first(headers: Headers, name: str) -> str:
    """Return a header's first value, empty when there is none."""
    value = headers.get(name, "")
    return value if isinstance(value, str) else value[0]


def joined(headers: Headers, name: str) -> str:
    """Return a header that is a list, however many lines it came in."""
    value = headers.get(name, "")
    return value if isinstance(value, str) else ",".join(value)


def query_of(raw: bytes) -> dict[str, Any]:
    """Return the query: a repeated key has a list, a flag without value has True."""
    query: dict[str, Any] = {}
    if not raw:
        return query
    for part in raw.decode("latin-1").split("&"):
        if not part:
            continue
        name, equals, text = part.partition("=")
        key = unquote_plus(name)
        value: str | bool = unquote_plus(text) if equals else True
        if key not in query:
            query[key] = value
        elif isinstance(query[key], list):
            query[key].append(value)
        else:
            query[key] = [query[key], value]
    return query


def sane_request_id(headers: Headers) -> str:
    """Return the caller's own request id, empty when there is none or it is not a plain one."""
    given = headers.get("x-request-id")
    return given if isinstance(given, str) and _REQUEST_ID.fullmatch(given) else ""


def content_length(headers: Headers) -> int:
    """Return the announced length of the body; -1 when it comes in chunks, 0 when there is none."""
    announced = headers.get("content-length")
    if announced is None:
        return -1 if "transfer-encoding" in headers else 0
    return int(announced) if isinstance(announced, str) and announced.isdecimal() else -1


class Origin:
    """Where requests come from: the connection, or what a configured proxy says."""

    def __init__(self, trusted_proxies: Sequence[Network] = ()) -> None:
        """Believe `X-Forwarded-For` and `X-Forwarded-Host` of peers in these networks."""
        self._trusted = tuple(trusted_proxies)

    def client_ip(self, peer: tuple[str, int] | None, headers: Headers) -> str:
        """Return the address of the client."""
        address = peer[0] if peer else ""
        if not self._trusted or not self._trusts(address):
            return address
        hops = ",".join(_all(headers, "x-forwarded-for")).split(",")
        for hop in reversed([hop.strip() for hop in hops if hop.strip()]):
            if _parse(hop) is None:
                return address
            address = hop
            if not self._trusts(hop):
                break
        return address

    def host(self, peer: tuple[str, int] | None, headers: Headers) -> str:
        """Return the host that was asked for, lower case, without port."""
        host = first(headers, "host")
        if self._trusted and peer and self._trusts(peer[0]):
            host = first(headers, "x-forwarded-host") or host
        return without_port(host)

    def scheme(self, peer: tuple[str, int] | None, headers: Headers, own: str) -> str:
        """Return `http` or `https`, as the client used it; `own` is what was used to get here."""
        if self._trusted and peer and self._trusts(peer[0]):
            told = first(headers, "x-forwarded-proto").partition(",")[0].strip().lower()
            return told if told in ("http", "https") else own
        return own

    def base_url(self, peer: tuple[str, int] | None, headers: Headers, *, scheme: str) -> str:
        """Return the URL under which the gateway was asked, without a last `/`; empty when the host cannot be one.

        Args:
            peer: who connected.
            headers: of the request.
            scheme: of the connection.
        """
        host = first(headers, "host")
        if self._trusted and peer and self._trusts(peer[0]):
            host = _last(headers, "x-forwarded-host") or host
        scheme = self.scheme(peer, headers, scheme)
        if scheme not in ("http", "https") or not _AUTHORITY.fullmatch(host):
            return ""
        return f"{scheme}://{host.lower()}"

    def is_local(self, peer: tuple[str, int] | None, headers: Headers) -> bool:
        """Whether the client itself sits on the loopback interface; a forwarded request from an unknown proxy does not."""
        if "x-forwarded-for" in headers and not (peer and self._trusts(peer[0])):
            return False
        address = _parse(self.client_ip(peer, headers))
        return address is not None and address.is_loopback

    def _trusts(self, text: str) -> bool:
        address = _parse(text)
        return address is not None and any(address in network for network in self._trusted)


@functools.lru_cache(maxsize=1024)
def without_port(host: str) -> str:
    """Return a Host header's value in lower case, without its port."""
    host = host.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _last(headers: Headers, name: str) -> str:
    """Return what the nearest proxy put into a header that each of them may add to."""
    return ",".join(_all(headers, name)).rpartition(",")[2].strip()


def _all(headers: Headers, name: str) -> list[str]:
    value = headers.get(name, [])
    return [value] if isinstance(value, str) else value


@functools.lru_cache(maxsize=1024)
def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
