"""The port of a sandbox: how a guest is started so that it sees what it may, and ended so that nothing of it is left.

A sandbox only describes: it makes the command line and environment, and knows whom to kill. Spawning, pipes and waiting
belong to `services.executor.process`.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.executor.runtimes.base import GuestCommand

GUEST_ENV = (("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/tmp"), ("LANG", "C.UTF-8"), ("TMPDIR", "/tmp"))  # noqa: S108  the sandbox's own
"""Environment of every guest; nothing of the executor's own gets in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A process to start, complete."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    """The whole environment of the first process."""
    cwd: str
    tells: bool = False
    """Whether the first process writes to `info_fd`; else it does not inherit it."""


class Sandbox(Protocol):
    """A way to run guests apart from the host and from each other."""

    @property
    def name(self) -> str:
        """`bubblewrap` or `process`, as heartbeats and the start line tell it."""
        ...

    def root(self, code: Path) -> str:
        """Return the path under which a guest sees the folder `code` of the host."""
        ...

    def launch(self, command: GuestCommand, *, code: Path, network: bool, guest_fd: int, info_fd: int) -> Launch:
        """Return how to start a guest.

        Args:
            command: the runtime's guest.
            code: folder that the guest may read, seen at `root(code)`. It may still be empty when the guest starts.
            network: whether the guest may use the network.
            guest_fd: descriptor of the frames; inherited, its number becomes the guest's last argument.
            info_fd: descriptor, inherited, that the sandbox may write facts about the started process to.
        """
        ...

    def confine(self, pid: int) -> None:
        """Set what limits can be set from outside on the started process; called before any user code is loaded."""
        ...

    def kill(self, pid: int, info: bytes) -> None:
        """Send SIGKILL so that all of the sandbox's processes end before `pid` does, or as soon as can be.

        Args:
            pid: the process that was started; not yet waited for.
            info: what was written to `info_fd`.
        """
        ...

    def gone(self, pid: int) -> bool:
        """Return whether nothing is left, once `pid` itself has been waited for. Asked again until true."""
        ...

    def exit_text(self, returncode: int) -> str:
        """Return how the guest ended in words: `exit code 3`, `worker ended with signal 9`."""
        ...


def spoken(returncode: int) -> str:
    """Return a return code as `subprocess` tells it (negative: a signal) in words."""
    return f"worker ended with signal {-returncode}" if returncode < 0 else f"worker ended with exit code {returncode}"


def send_kill(pid: int) -> None:
    """Send SIGKILL; a process that has gone is no error."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
