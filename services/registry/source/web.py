"""The fields of an `fn.config.json` about how functions meet the web: `edge`, `cors`, `home` and `assets`. Pure.

Each is one policy: a folder that sets it sets all of it, and does not mix its fields with those of the folders above. `home` is
for the folder alone, `assets` for the functions root.
"""

import re
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from libs.messages.web import Cors, Edge, Home
from services.registry.source.reading import Reader

_HOST = re.compile(r"(?:\*\.)?[a-z0-9_.-]{1,198}(?::[0-9]{1,5})?|\[[0-9a-f:.]+\](?::[0-9]{1,5})?")
_ORIGIN = re.compile(r"(?:https?://(?:\*\.)?[a-z0-9.-]+(?::[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](?::[0-9]{1,5})?|null|\*)")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ROUTE = ("route", "path", "target", "home-route")
_REDIRECT = ("redirect", "url", "location")
_LOCATION = re.compile(r"(?:https?://|/)[!-~]*")
_SINGLE_PAGE = ("single-page-application", "spa")
_MOST_BYTES = 64 * 1024 * 1024
_MOST_AGE = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetsSaid:
    """What a config says of static files."""

    directory: str
    """Relative to the functions root."""
    single_page: bool = False
    functions_first: bool = False


def parse_home(config: Reader) -> Home | None:
    """Return what a config says of `home`; its `path` is the folder's and left empty, a target below the folder begins `./`."""
    value = config.value("home")
    if value is None:
        return None
    if isinstance(value, str):
        route = config.text("home")
        return Home(path="", target=_below(route)) if route else None
    home = config.section("home")
    home.warn_unknown(("function", *_ROUTE, *_REDIRECT))
    function, route, redirect = home.text("function"), home.text(*_ROUTE), home.text(*_REDIRECT)
    if redirect is not None and not _LOCATION.fullmatch(redirect):
        home.refuse("redirect", "must be an absolute path or an http or https URL")
        redirect = None
    if route or function:
        return Home(path="", target=_below(route) if route else function or "")
    return Home(path="", redirect=redirect) if redirect else None


def parse_assets(config: Reader) -> AssetsSaid | None:
    """Return what a config says of `assets`."""
    if config.value("assets") is None:
        return None
    assets = config.section("assets")
    assets.warn_unknown(("directory", "not_found_handling", "run_worker_first"))
    said = assets.text("directory")
    handling = assets.text("not_found_handling") or "404"
    if handling not in ("404", *_SINGLE_PAGE):
        assets.refuse("not_found_handling", "must be 404 or single-page-application")
    if said is None:
        return None
    directory = PurePosixPath(said)
    if directory.is_absolute() or ".." in directory.parts or not directory.parts:
        assets.refuse("directory", "must be a folder below this one")
        return None
    return AssetsSaid(
        directory=str(directory),
        single_page=handling in _SINGLE_PAGE,
        functions_first=assets.flag("run_worker_first") is True,
    )


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


def _below(route: str) -> str:
    return route if route.startswith("/") else f"./{route.removeprefix('./')}"


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
