"""The runtime of the scripted guest, and the ways to have a worker of it."""

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path

from libs.messages.catalog import Limits
from services.executor.profile import Profile
from services.executor.runtimes.base import Availability, BuildPlan, GuestCommand
from services.executor.runtimes.python import PythonRuntime
from services.executor.sandbox.base import Sandbox
from services.executor.sandbox.process import ProcessSandbox
from services.executor.workers.descriptor import GuestDescriptor
from services.executor.workers.frames import Frame
from services.executor.workers.output import Output
from services.executor.workers.process import Worker

PROGRAM = Path(__file__).with_name("scripted_guest.py")
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class ScriptedRuntime:
    """Starts the scripted guest in the way of `script`."""

    script: str = "well"
    name: str = "scripted"

    async def probe(self) -> Availability:
        """It is always there."""
        return Availability(present=True, version=sys.version)

    def command(self, profile: Profile) -> GuestCommand:
        """Return the guest's command, with what Python needs to be visible."""
        python = PythonRuntime().command(profile)
        argv = (python.argv[0], "-I", "-S", "-B", str(PROGRAM), self.script)
        return GuestCommand(argv=argv, visible=(PROGRAM, *python.visible))

    def build(self, code: Path, entrypoint: str) -> BuildPlan | None:
        """There is nothing to build."""
        del code, entrypoint
        return None


async def start(
    code: Path,
    *,
    script: str = "well",
    sandbox: Sandbox | None = None,
    ready_seconds: float = PATIENCE,
    max_frame: int = 1 << 20,
) -> Worker:
    """Return a worker that is ready for code."""
    with contextlib.closing(GuestDescriptor()) as descriptor:
        return await Worker.start(
            sandbox=sandbox or ProcessSandbox(),
            command=ScriptedRuntime(script).command(Profile()),
            code=code,
            descriptor=descriptor,
            profile=Profile(),
            max_frame=max_frame,
            ready_seconds=ready_seconds,
        )


class Caller:
    """Calls a worker and waits for what comes of it."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.ends: list[str] = []
        self.answers: list[tuple[Frame, Output]] = []
        self._happened = asyncio.Event()
        self._number = 0
        worker.serve(on_frame=self._answered, on_end=self._ended)

    @classmethod
    async def of(cls, code: Path, *, sandbox: Sandbox | None = None, max_frame: int = 1 << 20) -> "Caller":
        """Return a caller of a new worker that has loaded its code."""
        worker = await start(code, sandbox=sandbox, max_frame=max_frame)
        await worker.assign(b"{}", limits=Limits(), seconds=PATIENCE)
        return cls(worker)

    def send(self, body: bytes, *, head: bytes = b"") -> None:
        """Make a call."""
        self._happened.clear()
        self._number += 1
        self.worker.call(self._number, head, body)

    async def ask(self, body: bytes, *, head: bytes = b"") -> tuple[Frame, Output]:
        """Make a call and return its answer."""
        self.send(body, head=head)
        await self.happened()
        assert self.answers, self.ends
        return self.answers[-1]

    async def crash(self, body: bytes) -> str:
        """Make a call that the worker does not survive and return how it ended."""
        self.send(body)
        return await self.end()

    async def end(self) -> str:
        """Wait for the worker's end."""
        async with asyncio.timeout(PATIENCE):
            while not self.ends:
                await self._happened.wait()
                self._happened.clear()
        return self.ends[0]

    async def happened(self) -> None:
        """Wait for an answer or the end."""
        async with asyncio.timeout(PATIENCE):
            await self._happened.wait()

    def _answered(self, frame: Frame, output: Output) -> None:
        self.answers.append((frame, output))
        self._happened.set()

    def _ended(self, text: str) -> None:
        self.ends.append(text)
        self._happened.set()
