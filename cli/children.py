"""The processes of `fnbus dev` as the supervisor sees them: a service of ours, and the NATS server."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping

from cli.errors import CommandError
from libs import errors
from libs.bus.server import NatsServer
from libs.processes import bound_to_parent

_LONGEST_LINE = 4 * 1024 * 1024


class ServiceProcess:
    """One of the four services, as `python -m services.<name>`; its log lines are handed on as they come."""

    def __init__(self, name: str, *, env: Mapping[str, str], on_line: Callable[[str, str], None]) -> None:
        self._name = name
        self._env = env
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None

    @property
    def name(self) -> str:
        """The service's name."""
        return self._name

    @property
    def pid(self) -> int:
        """Process id; 0 before the first start."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start the process.

        Raises:
            errors.UnavailableError: the system has no room for it.
        """
        try:
            self._process = await asyncio.create_subprocess_exec(
                # -P: a folder named `services` where the user stands is not ours.
                *(sys.executable, "-P", "-m", f"services.{self._name}"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self._env,
                limit=_LONGEST_LINE,
                # Ctrl-C on a terminal goes to all of the process group: the services stop in order, when we say so.
                start_new_session=True,
                preexec_fn=bound_to_parent(),
            )
        except OSError as error:
            raise errors.UnavailableError(str(error)) from None

    async def wait(self) -> int:
        """Hand on what the process writes until it has ended; return its exit code."""
        process = self._process
        if process is None or process.stdout is None:
            return 0
        reader = process.stdout
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read(reader), name=f"log of {self._name}")
            code = await process.wait()
            # What it started may hold the pipe open for longer than it lives.
            await asyncio.wait({reading}, timeout=0.5)
            reading.cancel()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what it started must not outlive it
        return code

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        """End it and its process group at once."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError:  # longer than the limit: the buffer was dropped, what follows is readable
                continue
            if not line:
                return
            self._on_line(self._name, line.decode(errors="replace").rstrip("\n"))


class NatsProcess:
    """The NATS server; it keeps its port when it is started again."""

    name = "nats-server"

    def __init__(self, server: NatsServer) -> None:
        self._server = server

    @property
    def url(self) -> str:
        """Where the services connect."""
        return self._server.url

    async def start(self) -> None:
        """Start it and wait until it takes connections.

        Raises:
            errors.UnavailableError: it ended or was not ready in time.
        """
        try:
            await self._server.start()
        except OSError as error:
            raise CommandError(f"cannot run nats-server: {error}") from None

    async def wait(self) -> int:
        """Return its exit code once it has ended."""
        return await self._server.wait()

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._server.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._server.pid, number)
