"""Guests that have booted and hold no code yet: each in its sandbox, with an empty place of its own."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from libs import errors
from services.executor.profile import Profile
from services.executor.runtimes.base import GuestCommand, Runtime
from services.executor.sandbox.base import Sandbox
from services.executor.workers.descriptor import GuestDescriptor
from services.executor.workers.places import Place, Places
from services.executor.workers.process import Worker

FRAME_ROOM = 1024 * 1024
"""What an answer's head may have beyond the cap on its body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blank:
    """A worker that can become one of any version of its runtime and profile."""

    worker: Worker
    place: Place
    root: str
    """Where the guest sees the place."""

    @property
    def memory_bytes(self) -> int:
        """What it uses; 0 once it has ended."""
        return self.worker.cell.memory_kib() * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long a boot may take, and how many go on at once."""

    ready_seconds: float
    """From spawn to READY."""
    max_body_bytes: int
    max_booting: int
    """Processes that boot at the same time, of all versions together."""
    visible: tuple[Path, ...] = ()
    """Files and folders of this machine that every function may read, besides the system's own."""


class Guests:
    """Boots guests."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, Runtime],
        sandbox: Sandbox,
        descriptor: GuestDescriptor,
        places: Places,
        bounds: Bounds,
    ) -> None:
        self._runtimes = runtimes
        self._sandbox = sandbox
        self._descriptor = descriptor
        self._places = places
        self._bounds = bounds
        self._booting = asyncio.Semaphore(bounds.max_booting)
        self.waited_for = 0
        """Boots under way or in line that a start waits for."""

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Names of the runtimes that can be started here."""
        return tuple(self._runtimes)

    async def boot(self, runtime: str, profile: Profile, *, spare: bool = False) -> Blank:
        """Return a guest of a runtime within these walls, which is the caller's from now on.

        Args:
            runtime: its name.
            profile: the walls.
            spare: nobody waits for it.

        Raises:
            WorkerEndedError: it did not get ready.
            errors.UnavailableError: the runtime is not here, or the disk is full.
        """
        found = self._runtimes.get(runtime)
        if found is None:
            raise errors.UnavailableError(f"runtime {runtime} is not present on this executor")
        self.waited_for += not spare
        try:
            async with self._booting:
                return await self._boot(found, profile)
        finally:
            self.waited_for -= not spare

    async def _boot(self, runtime: Runtime, profile: Profile) -> Blank:
        try:
            place = self._places.new()
        except OSError as error:
            raise errors.UnavailableError(f"there is no place for a worker: {error}") from error
        try:
            worker = await Worker.start(
                sandbox=self._sandbox,
                command=self._command(runtime, profile),
                code=place.code,
                descriptor=self._descriptor,
                profile=profile,
                max_frame=self._bounds.max_body_bytes + FRAME_ROOM,
                ready_seconds=self._bounds.ready_seconds,
            )
        except BaseException:
            place.remove()
            raise
        worker.on_gone(place.remove)
        return Blank(worker=worker, place=place, root=self._sandbox.root(place.code))

    def _command(self, runtime: Runtime, profile: Profile) -> GuestCommand:
        command = runtime.command(profile)
        return replace(command, visible=(*command.visible, *self._bounds.visible)) if self._bounds.visible else command
