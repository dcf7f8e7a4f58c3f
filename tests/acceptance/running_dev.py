"""`fnbus dev` as a process of its own, for tests that look at it from outside."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

from libs.testing.wait import eventually

_ROOT = Path(__file__).parents[2]
_UP_SECONDS = 45.0


class Dev:
    """A run of `fnbus dev`, and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process, functions: Path) -> None:
        self.process = process
        self.functions = functions
        self.printed = ""

    @property
    def url(self) -> str:
        """The address that was printed; empty as long as none was."""
        found = re.search(r"is up at (http://\S+)", self.printed)
        return found[1] if found else ""

    async def read(self) -> None:
        """Follow what is printed until the end."""
        assert self.process.stdout is not None
        while chunk := await self.process.stdout.read(65536):
            self.printed += chunk.decode()

    async def says(self, text: str, *, within: float = 30.0) -> None:
        """Wait until `text` (a regular expression) was printed."""

        def check() -> bool:
            assert re.search(text, self.printed), f"{text!r} is not in:\n{self.printed}"
            return True

        await eventually(check, within=within)

    def children(self) -> dict[int, str]:
        """Return the processes that it started, and theirs, by process id, with their command lines."""
        parents: dict[int, int] = {}
        for path in Path("/proc").iterdir():
            if path.name.isdecimal():
                with contextlib.suppress(OSError):
                    parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        found: dict[int, str] = {}
        wanted = {self.process.pid}
        while wanted:
            wanted = {child for child, parent in parents.items() if parent in wanted}
            for child in wanted:
                with contextlib.suppress(OSError):
                    found[child] = (Path("/proc") / str(child) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def child(self, name: str) -> int:
        """Return the process id of a service, or of the bus."""
        program = "nats-server" if name == "nats-server" else f"services.{name}"
        return next(pid for pid, command in self.children().items() if program in command)


def alive(started: dict[int, str]) -> dict[int, str]:
    """Return which of these processes still live (an id may have been given to another one since)."""
    found: dict[int, str] = {}
    for pid, command in started.items():
        with contextlib.suppress(OSError):
            folder = Path("/proc") / str(pid)
            same = folder.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode() == command
            if same and command and folder.joinpath("stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found[pid] = command
    return found


def command(*arguments: str | Path) -> tuple[str, ...]:
    """Return the command line of `fnbus dev`."""
    return (sys.executable, "-m", "cli.main", "dev", *map(str, arguments))


def environment() -> dict[str, str]:
    """Return the environment without what a person has told fnbus."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FNBUS_", "FN_", "OTEL_"))}
    return kept | {"PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"}


@contextlib.asynccontextmanager
async def running(functions: Path, state: Path, *more: str, up: bool = True) -> AsyncGenerator[Dev]:
    """Run `fnbus dev` on a free port, in a session of its own as a terminal would have it."""
    process = await asyncio.create_subprocess_exec(
        *command(functions, "--port", "0", "--data", state, *more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(),
        cwd=state.parent,
        start_new_session=True,
    )
    dev = Dev(process, functions)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(dev.read())
        try:
            if up:
                await dev.says(r"is up at http", within=_UP_SECONDS)
            yield dev
        finally:
            started = dev.children()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            try:
                await eventually(lambda: not alive(started))
            finally:
                for pid in alive(started):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
