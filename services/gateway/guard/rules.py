"""Who may use the control plane: clients on loopback and those who know the admin token, within what the flags allow. Pure.

The order of the questions, and the texts, are FastFN's. Being local is itself a kind of credential, and so is a
session's cookie: a web page in the user's browser could borrow either. So a write that a browser sends from another site is
refused unless it shows that it was meant, and loopback counts only for requests to this machine by a
name of its own: a page whose name was made to lead to 127.0.0.1 asks under that name.
"""

import functools
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from urllib.parse import urlsplit

from services.gateway import requests
from services.gateway.answers import Refusal
from services.gateway.guard.flags import Flags
from services.gateway.requests import Headers

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE = frozenset({"same-origin", "none"})
_OPEN = frozenset({
    "/_fn/health", "/system/metrics", "/openapi.json", "/_fn/openapi.json", "/docs", "/_fn/docs",
})  # fmt: skip
_OPEN_BELOW = ("/_fn/docs/", "/docs/")
_WORK = frozenset({"/_fn/invoke", "/_fn/jobs", "/_fn/executions", "/_fn/dead-letters", "/_fn/logs/stream"})
_WORK_BELOW = ("/_fn/jobs/", "/_fn/executions/", "/_fn/dead-letters/")
_EXPLORED = "/_fn/catalog"
_HARMLESS = frozenset({"/_fn/reload"})
"""Endpoints whose POST changes nothing."""


class Area(Enum):
    """What a path of the control plane is for."""

    OPEN = "open"
    """For everybody: health and the documentation of the API."""
    WORK = "work"
    """Running functions and following what ran. Not counted, for it has bounds of its own, and it writes no function."""
    LOGIN = "login"
    SWITCHES = "switches"
    """The flags themselves. What was overridden does not close the way to taking it back."""
    MANAGE = "manage"
    """What functions are, and their secrets."""
    PAGES = "pages"
    """The console as people see it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request."""

    address: str
    """The client's, as the connection or a trusted proxy tells."""
    local: bool = False
    """It sits on this machine."""
    token: bool = False
    """It has the admin token."""
    user: str = ""
    """Whose session it shows; empty: nobody's."""
    from_elsewhere: bool = False
    """A browser says that another site asks, and nothing shows that it was meant."""

    @property
    def name(self) -> str:
        """Who it is, for records of what was done."""
        return self.user or ("admin-token" if self.token else "local" if self.local else "remote")


def area_of(path: str) -> Area:
    """Return what a path is for."""
    if path in _OPEN or path.startswith(_OPEN_BELOW):
        return Area.OPEN
    if path in _WORK or path.startswith(_WORK_BELOW):
        return Area.WORK
    if path in ("/_fn/login", "/_fn/logout"):
        return Area.LOGIN
    if path == "/_fn/ui-state":
        return Area.SWITCHES
    return Area.PAGES if path.startswith("/console") else Area.MANAGE


def is_read(method: str) -> bool:
    """Return whether a method changes nothing."""
    return method in _READS


def enter(area: Area, path: str, flags: Flags, caller: Caller) -> None:
    """Let somebody in, whatever is wanted.

    Raises:
        Refusal: 404, 403 or 401, with FastFN's text.
    """
    if area is Area.PAGES and not flags.ui_enabled:
        raise Refusal(404, "console ui disabled")
    if area is not Area.PAGES and not flags.api_enabled:
        raise Refusal(404, "console api disabled")
    if area is not Area.PAGES and not flags.admin_api_enabled:
        raise Refusal(404, "admin api disabled")
    if caller.token:
        return
    if flags.local_only and not caller.local:
        raise Refusal(403, "console api local-only")
    if flags.login_api_enabled and not caller.user and not _is_before_login(area, path, flags):
        raise Refusal(401, "login required")


def permit(area: Area, path: str, method: str, flags: Flags, caller: Caller) -> None:
    """Let somebody who is in do what is wanted.

    Raises:
        Refusal: 403, with FastFN's text.
    """
    if is_read(method) or caller.token:
        return
    if caller.from_elsewhere:
        raise Refusal(403, "missing CSRF header")
    if is_change(area, path, method) and not flags.write_enabled:
        raise Refusal(403, "console write disabled")


def is_change(area: Area, path: str, method: str) -> bool:
    """Return whether a request is a write of the console API, for which `FN_CONSOLE_WRITE_ENABLED` is asked."""
    return area in (Area.MANAGE, Area.SWITCHES) and not is_read(method) and path not in _HARMLESS


def _is_before_login(area: Area, path: str, flags: Flags) -> bool:
    """Return whether this is there for those who have not logged in: the login, and the pages that show it."""
    return area in (Area.LOGIN, Area.PAGES) or (path == _EXPLORED and flags.public_explore)


def is_from_elsewhere(headers: Headers) -> bool:
    """Return whether a browser says that another site is the one that asks, and nothing shows that it was meant."""
    if headers.get("x-fn-request") == "1":
        return False
    site = headers.get("sec-fetch-site")
    if site is not None and site not in _OWN_SITE:
        return True
    source = headers.get("origin")
    if source is None:
        return False
    if not isinstance(source, str):
        return True
    try:
        return urlsplit(source).netloc.lower() != requests.first(headers, "host").lower()
    except ValueError:  # no URL at all
        return True


@functools.lru_cache(maxsize=256)
def is_own_name(host: str, names: frozenset[str]) -> bool:
    """Return whether a request was sent to this machine by an address or a name of its own.

    Args:
        host: the Host header without its port; empty when there was none, which no browser does.
        names: what the machine is called.
    """
    if not host or host == "localhost" or host.endswith(".localhost") or host in names:
        return True
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
