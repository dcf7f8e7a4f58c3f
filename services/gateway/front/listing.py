"""The routes that the landing page lists, put together once for each state of the catalogue and each host."""

import functools
from collections.abc import Sequence

from services.gateway.catalogue import Catalogue
from services.gateway.front.landing import Listed
from services.gateway.routing.table import METHODS

_HOSTS = 16
"""For how many hosts lists are kept."""


class Listing:
    """What can be called, as the catalogue has it."""

    def __init__(self, catalogue: Catalogue) -> None:
        """List what is in a catalogue."""
        self._catalogue = catalogue
        self._made = functools.lru_cache(maxsize=_HOSTS)(self._make)

    def routes(self, host: str) -> Sequence[Listed]:
        """Return the routes that requests to a host may use."""
        return self._made(host, self._catalogue.changes)

    def _make(self, host: str, _: int) -> tuple[Listed, ...]:
        table = self._catalogue.table
        found = (
            Listed(pattern, tuple(method for method in METHODS if method in target.methods), target.owner.function.runtime)
            for pattern, targets in table.patterns()
            if pattern not in table.conflicts
            for target in targets
            if target.takes_host(host)
        )
        return tuple(sorted(set(found)))
