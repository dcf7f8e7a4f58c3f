"""The guard: finds out who sent a request, and asks flags, counters and rules about it.

The first that says no answers: is the API there (404), is the client local or has the token (403), is there a session where one
is asked for (401), are there few enough requests (429), may it change what it wants to change (403).
"""

import hmac
import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from services.gateway import requests
from services.gateway.answers import Refusal
from services.gateway.guard import rules
from services.gateway.guard.flags import Flags
from services.gateway.guard.rates import Rate
from services.gateway.guard.rules import Area, Caller
from services.gateway.requests import Headers, Origin

CALLER = "fnbus.caller"
"""Key of an ASGI scope: who sent the request, a `Caller`."""
NOBODY = Caller(address="")
"""Who sent a request that no guard has seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What is counted, by client."""

    reads: Rate
    writes: Rate
    failures: Rate
    """Logins that failed, and tokens that were wrong."""


class Guard:
    """Who may use the control plane."""

    def __init__(
        self,
        *,
        origin: Origin,
        admin_token: str,
        flags: Callable[[], Flags],
        set_flags: Flags,
        user_of: Callable[[str], Awaitable[str]],
        rates: Rates,
        names: Collection[str],
    ) -> None:
        """Make it.

        Args:
            origin: tells where a request comes from.
            admin_token: opens everything; empty: opens nothing.
            flags: tells what holds now.
            set_flags: what the settings say, whatever is overridden.
            user_of: tells whose session a token is; empty: nobody's.
            rates: what is counted.
            names: what this machine is called, besides `localhost` and its addresses.
        """
        self._origin = origin
        self._token = admin_token.encode()
        self._flags = flags
        self._set = set_flags
        self._user_of = user_of
        self._rates = rates
        self._names = frozenset(name.lower() for name in names if name)

    async def check(self, *, path: str, method: str, peer: tuple[str, int] | None, headers: Headers) -> Caller:
        """Let a request to the control plane pass; return who sent it.

        Raises:
            Refusal: 404, 403, 401 or 429, with FastFN's text.
        """
        area = rules.area_of(path)
        if area is Area.OPEN:
            return Caller(address=self._origin.client_ip(peer, headers), local=self._is_local(peer, headers))
        flags = self._set if area is Area.SWITCHES else self._flags()
        token = requests.session_token(headers) if flags.login_enabled or flags.login_api_enabled else ""
        caller = self._caller(peer, headers, await self._user_of(token) if token else "")
        rules.enter(area, path, flags, caller)
        if area in (Area.MANAGE, Area.SWITCHES) and not caller.token:
            rate = self._rates.writes if rules.is_change(area, path, method) else self._rates.reads
            _limit(rate, caller.address, "too many console requests, try again later")
        rules.permit(area, path, method, flags, caller)
        return caller

    def _caller(self, peer: tuple[str, int] | None, headers: Headers, user: str) -> Caller:
        address = self._origin.client_ip(peer, headers)
        local = self._is_local(peer, headers)
        return Caller(
            address=address,
            local=local,
            token=self._has_token(headers, address, local=local),
            user=user,
            from_elsewhere=rules.is_from_elsewhere(headers),
        )

    def _is_local(self, peer: tuple[str, int] | None, headers: Headers) -> bool:
        origin = self._origin
        return origin.is_local(peer, headers) and rules.is_own_name(origin.host(peer, headers), self._names)

    def _has_token(self, headers: Headers, address: str, *, local: bool) -> bool:
        """Return whether a request has the admin token. Who is not local and tries them out is soon told to stop."""
        given = headers.get("x-fn-admin-token")
        if not given or not self._token:
            return False
        if not local:
            _limit(self._rates.failures, address, "too many login attempts, try again later")
        right = isinstance(given, str) and hmac.compare_digest(given.encode(), self._token)
        if right and not local:
            self._rates.failures.give_back(address)
        return right


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """Return who sent the request that an ASGI scope is of."""
    caller: Caller = scope.get(CALLER, NOBODY)
    return caller


def _limit(rate: Rate, address: str, text: str) -> None:
    seconds = rate.take(address)
    if seconds:
        raise Refusal(429, text, (b"retry-after", str(math.ceil(seconds)).encode()))
