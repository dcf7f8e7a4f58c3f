"""The lesser mode where bubblewrap cannot run: a session of its own, a clean environment, and resource limits.

User code sees the host's files with the executor's own rights, the network, and other processes of the same user. A child
that makes a session of its own outlives its worker.
"""

import contextlib
import os
import shutil
import signal
from pathlib import Path

from services.executor.profile import Profile
from services.executor.runtimes.base import GuestCommand
from services.executor.sandbox import base
from services.executor.sandbox.cells import WorkerCell


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

    def launch(self, command: GuestCommand, *, code: Path, profile: Profile, guest_fd: int, info_fd: int) -> base.Launch:
        """Return the guest's own command line with a clean environment."""
        del profile, info_fd
        argv = (*self._prefix, *command.argv, str(guest_fd))
        return base.Launch(argv=argv, env=dict((*base.GUEST_ENV, *command.env)), cwd=str(code))

    def enter(self, pid: int, info: bytes) -> base.Cell:
        """Return the cell around the started process, which is the guest's own."""
        del info
        return WorkerCell(pid)

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
