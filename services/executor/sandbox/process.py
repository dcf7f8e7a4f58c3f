"""The lesser mode where bubblewrap cannot run: a session of its own, a clean environment, and resource limits.

User code sees the host's files with the executor's own rights, the network, and other processes of the same user. Where there
are no control groups a child that makes a session of its own outlives its worker.
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
from services.executor.sandbox.cgroups import Group, Groups


class ProcessSandbox:
    """Runs each guest as a plain process in a session and process group of its own."""

    name = "process"

    def __init__(self, *, groups: Groups | None = None) -> None:
        """Bound workers by control groups where there are any."""
        setpriv = shutil.which("setpriv")
        # The kernel then kills the guest when the executor dies, even in the middle of a handler.
        self._prefix = (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()
        self._groups = groups
        self._held: dict[int, Group] = {}

    @property
    def features(self) -> str:
        """What is there, in words, and what is not."""
        bounds = "rlimits and watchdog" if self._groups is None else self._groups.name
        return f"{self.name}, {bounds}, no sandbox"

    def headroom_bytes(self) -> int | None:
        """Return what the control group around all workers leaves."""
        return self._groups.headroom_bytes() if self._groups else None

    def close(self) -> None:
        """Remove the control groups."""
        if self._groups is not None:
            self._groups.close()

    def root(self, code: Path) -> str:
        """Return the folder itself."""
        return str(code)

    def launch(self, command: GuestCommand, *, code: Path, profile: Profile, guest_fd: int, info_fd: int) -> base.Launch:
        """Return the guest's own command line with a clean environment."""
        del profile, info_fd
        argv = (*self._prefix, *command.argv, str(guest_fd))
        return base.Launch(argv=argv, env=dict((*base.GUEST_ENV, *command.env)), cwd=str(code))

    def enter(self, pid: int, info: bytes, *, profile: Profile | None = None) -> base.Cell:
        """Return the cell around the started process, which is the guest's own."""
        del info, profile
        if self._groups is None:
            return WorkerCell(pid)
        group = self._groups.make()
        try:
            group.add((pid,))
        except OSError:
            group.close()
            raise
        self._held[pid] = group
        cell = WorkerCell(pid, group=group)
        cell.on_close(lambda: self._forget(pid))
        return cell

    def kill(self, pid: int, info: bytes) -> None:
        """Kill the process group, and what has left it but not the control group."""
        del info
        self._kill(pid)

    def gone(self, pid: int) -> bool:
        """Return whether nothing is left; what is left is killed."""
        return not self._kill(pid)

    def _kill(self, pid: int) -> bool:
        """Kill all that can be found of a worker; return whether there was anything."""
        found = False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
            found = True
        group = self._held.get(pid)
        for each in group.pids() if group is not None else ():
            base.send_kill(each)
            found = True
        return found

    def _forget(self, pid: int) -> None:
        group = self._held.pop(pid, None)
        if group is not None:
            group.close()

    def exit_text(self, returncode: int) -> str:
        """Return the guest's end in words."""
        return base.spoken(returncode)
