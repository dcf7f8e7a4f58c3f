"""How often somebody may do something: so many times in a window of time that begins with the first.

Each gateway counts for itself, so behind several of them the limits are as much higher. The memory is bounded: when more
clients come than it has room for, those that began first are forgotten.
"""

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

_ROOM = 10_000
_CLIENT_BITS = 64
"""Of an IPv6 address: what a single client has below it, it may choose from."""


class Rate:
    """Counts by client."""

    def __init__(self, *, limit: int, seconds: float, now: Callable[[], float], room: int = _ROOM) -> None:
        """Allow `limit` in `seconds`; 0: any number. `now` is a clock that never goes back."""
        self._limit = limit
        self._seconds = seconds
        self._now = now
        self._room = room
        self._windows: OrderedDict[str, list[float]] = OrderedDict()
        """By client: when its window began, and how often it came since; those that began first stand first."""

    def take(self, address: str) -> float:
        """Count one; return 0, or the seconds after which there is room again."""
        if not self._limit:
            return 0.0
        window = self._window(client_of(address))
        if window[1] >= self._limit:
            return max(0.001, window[0] + self._seconds - self._now())
        window[1] += 1
        return 0.0

    def give_back(self, address: str) -> None:
        """Count one less: it was none of those that are limited."""
        window = self._windows.get(client_of(address))
        if window is not None and window[1] > 0:
            window[1] -= 1

    def __len__(self) -> int:
        return len(self._windows)

    def _window(self, client: str) -> list[float]:
        now = self._now()
        window = self._windows.get(client)
        if window is not None and now < window[0] + self._seconds:
            return window
        self._windows.pop(client, None)
        if len(self._windows) >= self._room:
            self._windows.popitem(last=False)
        self._windows[client] = fresh = [now, 0.0]
        return fresh


def client_of(address: str) -> str:
    """Return what stands for one client: the address, or the network of an IPv6 address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(int(parsed) >> _CLIENT_BITS)
