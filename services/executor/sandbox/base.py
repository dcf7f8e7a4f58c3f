"""The port of a sandbox: how a guest is started so that it sees what it may, and ended so that nothing of it is left.

A sandbox only describes: it makes the command line and environment, and knows whom to kill. Spawning, pipes and waiting
belong to `services.executor.workers.process`.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from libs.messages.calls import FailureCode
from libs.messages.catalog import Limits
from services.executor.profile import Profile
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
    fds: tuple[int, ...] = ()
    """Further descriptors that it inherits under their own numbers; whoever starts it closes them afterwards, also when the
    start fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a worker uses now, by the kernel's accounting, all its processes together."""

    memory_bytes: int
    """Memory of its own: what would be free if it ended."""
    processes: int
    """Processes and threads."""
    children: int = 0
    """Processes besides the guest's own."""
    cpu_us: int = 0
    """Processor time so far in microseconds, with that of processes that have ended; in steps of a clock tick."""
    children_us: int = 0
    """What processes besides the guest's own had of that."""


class Cell(Protocol):
    """One running worker, seen from outside: its limits and what it uses. Made by `Sandbox.enter` once the guest is ready."""

    @property
    def pid(self) -> int:
        """The guest's own process, by the host's numbers."""
        ...

    def limit(self, limits: Limits) -> None:
        """Set what the worker may use; called once, before any user code is loaded.

        Raises:
            OSError: the kernel refuses; the worker must not be used.
        """
        ...

    def cpu_us(self) -> int:
        """Return the processor time that the guest has used so far, in microseconds. Cheap: asked twice for each call."""
        ...

    def memory_kib(self) -> int:
        """Return the memory of its own that the guest's process has now, in KiB. Cheap: asked once for each call."""
        ...

    def most_kib(self) -> int:
        """Return the most memory of its own that the guest's process has had, in KiB. For calls that took long."""
        ...

    def ended_us(self) -> int:
        """Return the processor time of the guest's children that have ended, by clock ticks. For calls that took long."""
        ...

    def crowded(self) -> bool:
        """Return whether so many processes are there that the worker can hardly start another. Cheap: asked with the memory."""
        ...

    def usage(self) -> Usage:
        """Return what all processes of the worker use now. Not cheap: for the watchdog."""
        ...

    def verdict(self) -> tuple[FailureCode, str] | None:
        """Return which limit the kernel itself has ended the worker for, in words; None when it has not."""
        ...

    def close(self) -> None:
        """Remove what the kernel keeps for the worker, which has ended."""
        ...


class Sandbox(Protocol):
    """A way to run guests apart from the host and from each other."""

    @property
    def name(self) -> str:
        """`bubblewrap` or `process`, as heartbeats and the start line tell it."""
        ...

    @property
    def features(self) -> str:
        """What it is made of on this machine, in words, for the start line and `fnbus doctor`."""
        ...

    def headroom_bytes(self) -> int | None:
        """Return what executor and workers may still use together; None when nothing but the machine bounds them."""
        ...

    def close(self) -> None:
        """Give back what was taken for all workers together; they have ended."""
        ...

    def root(self, code: Path) -> str:
        """Return the path under which a guest sees the folder `code` of the host."""
        ...

    def launch(self, command: GuestCommand, *, code: Path, profile: Profile, guest_fd: int, info_fd: int) -> Launch:
        """Return how to start a guest.

        Args:
            command: the runtime's guest.
            code: folder that the guest may read (and write, when the profile says so), seen at `root(code)`. It is empty
                when the guest starts, and filled when the guest gets its code.
            profile: the walls.
            guest_fd: descriptor of the frames; inherited, its number becomes the guest's last argument.
            info_fd: descriptor, inherited, that the sandbox may write facts about the started process to.
        """
        ...

    def enter(self, pid: int, info: bytes, *, profile: Profile | None = None) -> Cell:
        """Return the cell of a worker whose guest has said that it is ready.

        Args:
            pid: the process that was started.
            info: what was written to `info_fd`.
            profile: the walls that it was launched with; None: nothing that has to be done for them now.

        Raises:
            OSError: it has ended.
        """
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
