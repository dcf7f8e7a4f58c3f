"""Host users for workers: one for each, so that the kernel counts its processes apart and lets none touch another's.

Only an executor that is root can give them out. The numbers are far from those that people, services and containers get.
"""

import itertools
from pathlib import Path

_BASES = (1_900_000_000, 40_000)
"""Where the users begin: above all that systemd and `useradd` give out; else, in a container whose users are mapped, inside the
usual 65,536."""
_SLOTS = 16_384
_EXECUTORS = 1024
_ROW = 3


class Users:
    """Users in turn, those in use left out."""

    def __init__(self, base: int, *, slots: int = _SLOTS) -> None:
        """Give out `slots` users from `base` on."""
        self._numbers = itertools.cycle(range(base, base + slots))
        self._taken: set[int] = set()
        self._slots = slots

    def next(self) -> int:
        """Return a user that no worker has."""
        return next(user for user in itertools.islice(self._numbers, self._slots + 1) if user not in self._taken)

    def take(self, user: int) -> None:
        """Keep a user for a worker that runs."""
        self._taken.add(user)

    def release(self, user: int) -> None:
        """Take back the user of a worker that has ended."""
        self._taken.discard(user)


def find(*, executor: int, uid: int, uid_map: Path = Path("/proc/self/uid_map")) -> Users | None:
    """Return the users of this executor, None when it may not give any out.

    Args:
        executor: its process: executors on one machine begin at different users.
        uid: its own user.
        uid_map: which users exist in its namespace.
    """
    if uid != 0:
        return None
    try:
        rows = [[int(each) for each in line.split()] for line in uid_map.read_text().splitlines()]
    except (OSError, ValueError):
        return None
    for base in _BASES:
        start = base + executor % _EXECUTORS * _SLOTS if base == _BASES[0] else base
        if any(row[0] <= start and start + _SLOTS <= row[0] + row[2] for row in rows if len(row) == _ROW):
            return Users(start)
    return None
