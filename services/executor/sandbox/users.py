"""Host users for workers: one for each, so that the kernel counts its processes apart and lets none touch another's.

Only an executor that is root can give them out. The numbers are far from those that people, services and containers get.
"""

from pathlib import Path

_BASES = (1_900_000_000, 40_000)
"""Where the users begin: above all that systemd and `useradd` give out; else, in a container whose users are mapped, inside the
usual 65,536."""
_SLOTS = 16_384
_EXECUTORS = 1024
_STARTING = 64
"""More workers than are started at the same time."""
_ROW = 3
_NEEDED = 1 << 21 | 1 << 19
"""CAP_SYS_ADMIN makes namespaces without a user namespace, CAP_SYS_PTRACE sees into processes of other users."""


class Users:
    """Users in turn, those in use left out. Not more of them than are needed: each costs a few files once."""

    def __init__(self, base: int, *, slots: int = _SLOTS) -> None:
        """Give out `slots` users from `base` on."""
        self._base = base
        self._slots = slots
        self._last = -1
        self._taken: set[int] = set()

    def next(self) -> int:
        """Return a user that no worker has, and none that was returned lately: its worker may be about to `take` it."""
        most = min(self._slots, _STARTING + 2 * len(self._taken))
        for _ in range(most):
            self._last = (self._last + 1) % most
            if self._base + self._last not in self._taken:
                break
        return self._base + self._last

    @property
    def bounds(self) -> tuple[int, int]:
        """The first and the last of them."""
        return self._base, self._base + self._slots - 1

    def halves(self) -> "tuple[Users, Users]":
        """Return the first half of them, and the second."""
        half = self._slots // 2
        return Users(self._base, slots=half), Users(self._base + half, slots=self._slots - half)

    def take(self, user: int) -> None:
        """Keep a user for a worker that runs; one of others is left alone."""
        if self._base <= user < self._base + self._slots:
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


def become(setpriv: str, user: int) -> tuple[str, ...]:
    """Return the command line that turns root into a user without any privilege, for good, and runs what follows."""
    number = str(user)
    nothing = ("--clear-groups", "--nnp", "--inh-caps=-all", "--bounding-set=-all")
    return (setpriv, "--reuid", number, "--regid", number, *nothing, "--")


def may_be_given(status: Path = Path("/proc/self/status")) -> bool:
    """Return whether this process can run others as users of their own: root of a container often cannot."""
    try:
        held = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("CapEff:"))
        return int(held, 16) & _NEEDED == _NEEDED
    except (OSError, ValueError, StopIteration):
        return False
