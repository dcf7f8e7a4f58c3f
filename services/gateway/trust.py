"""Who may use the control plane: clients on loopback, and those who know the admin token.

Being local is itself a kind of credential, which a web page in the user's browser could borrow, so a write that a browser
sends from another site is refused unless it shows that it was meant (contract, decision 2).
"""

import hmac
from urllib.parse import urlsplit

from services.gateway import requests
from services.gateway.answers import Refusal
from services.gateway.requests import Headers, Origin

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE = frozenset({"same-origin", "none"})


class Trust:
    """The rules, with the token they need."""

    def __init__(self, *, origin: Origin, admin_token: str) -> None:
        """An empty token opens nothing."""
        self._origin = origin
        self._token = admin_token.encode()

    def check(self, *, method: str, peer: tuple[str, int] | None, headers: Headers) -> None:
        """Let a request to the control plane pass.

        Raises:
            Refusal: 403, with FastFN's text.
        """
        if self._has_token(headers):
            return
        if not self._origin.is_local(peer, headers):
            raise Refusal(403, "console api local-only")
        if method not in _READS and headers.get("x-fn-request") != "1" and _from_elsewhere(headers):
            raise Refusal(403, "missing CSRF header")

    def _has_token(self, headers: Headers) -> bool:
        given = headers.get("x-fn-admin-token")
        return bool(self._token) and isinstance(given, str) and hmac.compare_digest(given.encode(), self._token)


def _from_elsewhere(headers: Headers) -> bool:
    """Whether a browser says that another site is the one that asks."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in _OWN_SITE:
        return True
    source = headers.get("origin")
    if source is None:
        return False
    return not isinstance(source, str) or urlsplit(source).netloc.lower() != requests.first(headers, "host").lower()
