"""The lesser mode where bubblewrap cannot run: a session of its own, a clean environment, and resource limits.

User code sees the host's files with the executor's own rights, the network, and other processes of the same user. A child
that makes a session of its own outlives its worker.
"""

import contextlib
import os
import resource
import shutil
import signal
from pathlib import Path

from services.executor.runtimes.base import GuestCommand
from services.executor.sandbox import base

_OPEN_FILES = 1024
_FILE_BYTES = 1 << 30


class ProcessSandbox:
    """Runs each guest as a plain process in a session and process group of its own."""

    name = "process"

    def __init__(self) -> None:
        setpriv = shutil.which("setpriv")
        # The kernel then kills the guest when the executor dies, even in the middle of a handler.
        self._prefix = (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()

    def root(self, code: Path) -> str:
        """Return the folder itself."""
        return str(code)

    def launch(self, command: GuestCommand, *, code: Path, network: bool, guest_fd: int, info_fd: int) -> base.Launch:
        """Return the guest's own command line with a clean environment."""
        del network, info_fd
        argv = (*self._prefix, *command.argv, str(guest_fd))
        return base.Launch(argv=argv, env=dict((*base.GUEST_ENV, *command.env)), cwd=str(code))

    def confine(self, pid: int) -> None:
        """Bound core dumps, open files and file sizes of the guest and its later children."""
        for limit, value in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, _OPEN_FILES),
            (resource.RLIMIT_FSIZE, _FILE_BYTES),
        ):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                resource.prlimit(pid, limit, (value, value))

    def kill(self, pid: int, info: bytes) -> None:
        """Kill the process group."""
        del info
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    def gone(self, pid: int) -> bool:
        """Return whether the process group is empty; what is left of it is killed."""
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return True
        return False

    def exit_text(self, returncode: int) -> str:
        """Return the guest's end in words."""
        return base.spoken(returncode)
