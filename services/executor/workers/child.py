"""The process of a worker: started in its sandbox, killed, and waited for until nothing of it is left."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from services.executor.profile import Profile
from services.executor.runtimes.base import GuestCommand
from services.executor.sandbox.base import Cell, Sandbox
from services.executor.workers.descriptor import GuestDescriptor

_SETTLE_SECONDS = 0.002
_SETTLE_TRIES = 1000
_INFO_BYTES = 4096


class Child:
    """A process and what its sandbox tells of it."""

    def __init__(self, *, sandbox: Sandbox, on_dead: Callable[[], None]) -> None:
        """Tell `on_dead` once, from the event loop, when the process and all that it started are dead."""
        self._loop = asyncio.get_running_loop()
        self._sandbox = sandbox
        self._on_dead = on_dead
        self._process: subprocess.Popen[bytes] | None = None
        self._profile: Profile | None = None
        self._pidfd = -1
        self._info = b""
        self._info_fd = -1

    @property
    def pid(self) -> int:
        """The process that was started (bubblewrap's own, when that is used); 0 before."""
        return self._process.pid if self._process else 0

    @property
    def alive(self) -> bool:
        """Whether it was started and nobody has seen it end."""
        return self._process is not None and self._process.returncode is None

    def spawn(
        self,
        command: GuestCommand,
        *,
        code: Path,
        profile: Profile,
        descriptor: GuestDescriptor,
        theirs: socket.socket,
        output: tuple[int, int],
    ) -> None:
        """Start the guest with `theirs` as its end of the frames' socket and `output` as its stdout and stderr.

        Raises:
            OSError: it could not be started.
        """
        self._profile = profile
        self._info_fd, info_write = os.pipe()
        os.set_blocking(self._info_fd, False)
        stdout, stderr = output
        handed: tuple[int, ...] = ()
        try:
            # Popen itself blocks for the millisecond until exec; a thread would be wrong, since the kernel ends the child
            # when the thread that made it ends (die-with-parent).
            with descriptor.of(theirs) as number:
                launch = self._sandbox.launch(command, code=code, profile=profile, guest_fd=number, info_fd=info_write)
                handed = launch.fds
                self._process = subprocess.Popen(
                    launch.argv,
                    env=dict(launch.env),
                    cwd=launch.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=(number, *launch.fds, info_write) if launch.tells else (number, *launch.fds),
                    start_new_session=True,
                )
        finally:
            for fd in (info_write, *handed):
                os.close(fd)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._exited)

    def enter(self) -> Cell:
        """Return the cell around the guest, which has said that it is ready.

        Raises:
            OSError: it has ended.
        """
        self._read_info()
        return self._sandbox.enter(self.pid, self._info, profile=self._profile)

    def kill(self) -> None:
        """Send SIGKILL to all of it; `on_dead` tells when that is done."""
        self._read_info()
        self._sandbox.kill(self.pid, self._info)

    def exit_text(self) -> str:
        """Return how it ended, in words."""
        code = self._process.returncode if self._process else None
        return "worker was not started" if code is None else self._sandbox.exit_text(code)

    def close(self) -> None:
        """Close what is open of it; it is dead."""
        for fd in (self._pidfd, self._info_fd):
            if fd >= 0:
                os.close(fd)
        self._pidfd = self._info_fd = -1

    def _read_info(self) -> None:
        if self._info_fd < 0 or self._info:
            return
        try:
            self._info = os.read(self._info_fd, _INFO_BYTES)
        except BlockingIOError:
            return
        os.close(self._info_fd)
        self._info_fd = -1

    def _exited(self) -> None:
        """The process has ended (its pidfd says so); see that nothing else is left of it."""
        if self._process is None or self._process.poll() is None:
            return
        self._loop.remove_reader(self._pidfd)
        self._settle(_SETTLE_TRIES)

    def _settle(self, tries: int) -> None:
        if tries and not self._sandbox.gone(self.pid):
            self._loop.call_later(_SETTLE_SECONDS, self._settle, tries - 1)
        else:
            self._on_dead()
