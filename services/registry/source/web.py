"""The fields of an `fn.config.json` about how answers meet the web: `edge` and `cors`. Pure.

Each is one policy: a folder that sets it sets all of it, and does not mix its fields with those of the folders above.
"""

import re
from dataclasses import fields
from urllib.parse import urlsplit

from libs.messages.web import Cors, Edge
from services.registry.source.reading import Reader

_HOST = re.compile(r"(?:\*\.)?[a-z0-9_.-]{1,198}(?::[0-9]{1,5})?|\[[0-9a-f:.]+\](?::[0-9]{1,5})?")
_ORIGIN = re.compile(r"(?:https?://(?:\*\.)?[a-z0-9.-]+(?::[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](?::[0-9]{1,5})?|null|\*)")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MOST_BYTES = 64 * 1024 * 1024
_MOST_AGE = 86_400


def parse_edge(config: Reader) -> Edge | None:
    """Return what a config says of `edge`."""
    if config.value("edge") is None:
        return None
    edge = config.section("edge")
    edge.warn_unknown(field.name for field in fields(Edge))
    base = edge.text("base_url") or ""
    if base and not _is_base(base):
        edge.refuse("base_url", "must be an http or https URL without query")
        base = ""
    hosts = _each(edge, "allow_hosts", _HOST, rule="must be an array of host strings or null")
    most = edge.integer("max_response_bytes", minimum=1, rule="must be > 0", maximum=_MOST_BYTES)
    return Edge(
        base_url=base.rstrip("/"),
        allow_hosts=tuple(host.lower() for host in hosts or ()),
        allow_private=edge.flag("allow_private") is True,
        max_response_bytes=most or Edge().max_response_bytes,
    )


def parse_cors(config: Reader) -> Cors | None:
    """Return what a config says of `cors`; without an origin that can be used it says nothing."""
    if config.value("cors") is None:
        return None
    cors = config.section("cors")
    cors.warn_unknown(field.name for field in fields(Cors))
    origins = _each(cors, "allow_origins", _ORIGIN, rule="must be a list of origins (https://app.example.com) or *")
    age = cors.integer("max_age", minimum=0, rule="must be >= 0", maximum=_MOST_AGE)
    if not origins:
        if cors.value("allow_origins") is None:
            cors.refuse("allow_origins", "is missing: no page of another origin may call")
        return None
    credentials = cors.flag("allow_credentials") is True
    if credentials and "*" in origins:
        cors.refuse("allow_credentials", "needs origins by name, for with * any page could act as its visitor")
        credentials = False
    methods = _each(cors, "allow_methods", _TOKEN, rule="must be a list of methods") or ()
    return Cors(
        allow_origins=tuple(origin.lower() for origin in origins),
        allow_methods=() if "*" in methods else tuple(method.upper() for method in methods),
        allow_headers=_each(cors, "allow_headers", _TOKEN, rule="must be a list of header names") or (),
        expose_headers=_each(cors, "expose_headers", _TOKEN, rule="must be a list of header names") or (),
        allow_credentials=credentials,
        max_age=Cors(allow_origins=()).max_age if age is None else age,
    )


def _each(reader: Reader, name: str, pattern: re.Pattern[str], *, rule: str) -> tuple[str, ...] | None:
    found = reader.texts(name, rule=rule)
    if found is not None and not all(pattern.fullmatch(each.lower()) for each in found):
        reader.refuse(name, rule)
        return None
    return found


def _is_base(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        return False
    whole = parts.scheme in ("http", "https") and bool(parts.hostname) and port_is_one
    return whole and not (parts.query or parts.fragment or parts.username or parts.password)
