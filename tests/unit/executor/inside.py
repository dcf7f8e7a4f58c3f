"""Programs inside the sandbox: run to their end, or a worker that is there for as long as a test looks at it."""

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from pathlib import Path

from libs import errors
from libs.testing.wait import eventually
from services.executor.profile import Profile
from services.executor.runtimes.base import GuestCommand
from services.executor.runtimes.python import PythonRuntime
from services.executor.sandbox import choice, seccomp
from services.executor.sandbox.base import Cell, Sandbox
from services.executor.sandbox.bubblewrap import Bubblewrap, Means
from tests.unit.executor.scripted import PATIENCE


async def required(folder: Path, *, fenced_ports: Collection[int] = ()) -> Sandbox | None:
    """Return bubblewrap as the executor uses it; None where it does not work, unless it has to."""
    try:
        return await choice.probe(folder, fenced_ports=fenced_ports)
    except errors.UnavailableError:
        if os.environ.get("CI") == "true":
            raise
        return None


def bare(folder: Path) -> Sandbox:
    """Return bubblewrap as an executor without any privilege and without control groups uses it."""
    folder.mkdir(parents=True, exist_ok=True)
    return Bubblewrap(program=shutil.which("bwrap") or "", etc=folder, means=Means(machine=seccomp.here()))


def python(source: str, *, profile: Profile | None = None) -> GuestCommand:
    """Return the command that runs a Python program as runtimes run their guests."""
    command = PythonRuntime().command(profile or Profile())
    return GuestCommand(argv=(command.argv[0], "-I", "-S", "-B", "-c", source), visible=command.visible)


@dataclass(slots=True, kw_only=True)
class Inmate:
    """A program that runs in a sandbox and is entered."""

    sandbox: Sandbox
    process: asyncio.subprocess.Process
    info: bytes
    cell: Cell

    async def line(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self.process.stdout.readline()).decode().strip()

    async def tell(self, text: str) -> None:
        """Write a line to its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n".encode())
        await self.process.stdin.drain()

    async def ended(self) -> int:
        """Wait for its end and return the code."""
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def running(
    sandbox: Sandbox, command: GuestCommand, *, code: Path, profile: Profile | None = None
) -> AsyncGenerator[Inmate]:
    """Run a program for the length of the block; it is entered once it has printed a first line."""
    info_read, info_write = os.pipe()
    guest_fd = os.open(os.devnull, os.O_RDWR)
    launch = sandbox.launch(command, code=code, profile=profile or Profile(), guest_fd=guest_fd, info_fd=info_write)
    process = await asyncio.create_subprocess_exec(
        *launch.argv,
        env=dict(launch.env),
        cwd=launch.cwd,
        pass_fds=(guest_fd, info_write, *launch.fds),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    for fd in (guest_fd, info_write, *launch.fds):
        os.close(fd)
    info = b""
    cell: Cell | None = None
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            first = await process.stdout.readline()
        if launch.tells:
            info = os.read(info_read, 4096)
        assert first
        assert process.returncode is None
        cell = sandbox.enter(process.pid, info, profile=profile)
        yield Inmate(sandbox=sandbox, process=process, info=info, cell=cell)
    finally:
        os.close(info_read)
        if process.returncode is None:
            sandbox.kill(process.pid, info)
        await process.communicate()
        await eventually(lambda: sandbox.gone(process.pid), within=PATIENCE)
        if cell is not None:
            cell.close()
