"""Keeps a set of processes running, and stops them in order.

It knows no NATS and no service: a child is anything that starts, ends and can be told to end. Whoever owns the supervisor
starts the children in the order of their needs and says in which order they stop.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Sequence
from typing import Protocol

from cli import backoff
from cli.errors import CommandError
from libs import errors
from libs.clock import Clock

log = logging.getLogger(__name__)

WRONG_SETTING = 2
"""Exit code of a service whose settings are wrong: starting it again cannot help."""

_STAGE_SECONDS = 1.5
_ALL_SECONDS = 4.5


class Child(Protocol):
    """A process that is kept running."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    async def start(self) -> None:
        """Start the process; return once it exists (a server: once it takes connections).

        Raises:
            errors.FnbusError: it could not be started.
        """
        ...

    async def wait(self) -> int:
        """Return its exit code once it has ended; negative for a signal."""
        ...

    def terminate(self) -> None:
        """Ask it to end; one that has ended is no error."""
        ...

    def kill(self) -> None:
        """End it, and what it started, at once; one that has ended is no error."""
        ...


class Supervisor:
    """Starts children, starts them again when they die, and stops them all."""

    def __init__(self, *, tasks: asyncio.TaskGroup, clock: Clock, say: Callable[[str], None]) -> None:
        self._tasks = tasks
        self._clock = clock
        self._say = say
        self._stopping = asyncio.Event()
        self.gave_up = asyncio.Event()
        """Set when a child cannot be kept running; `reason` says why."""
        self.reason = CommandError("")
        self._keepers: dict[str, tuple[Child, asyncio.Task[None]]] = {}

    async def start(self, child: Child) -> None:
        """Start a child and keep it running from now on.

        Raises:
            errors.FnbusError: its first start failed.
        """
        began = self._clock.monotonic()
        await child.start()
        self._keepers[child.name] = child, self._tasks.create_task(self._keep(child, began), name=f"keep {child.name}")

    async def stop(
        self, order: Sequence[str], *, stage_seconds: float = _STAGE_SECONDS, all_seconds: float = _ALL_SECONDS
    ) -> None:
        """End the children in this order, each when the one before it has ended; who does not obey in time is killed."""
        self._stopping.set()
        loop = asyncio.get_running_loop()
        end = loop.time() + all_seconds
        for name in order:
            if name not in self._keepers:
                continue
            child, keeper = self._keepers[name]
            child.terminate()
            patience = max(0.1, min(stage_seconds, end - loop.time()))
            await asyncio.wait({keeper}, timeout=patience)
            if not keeper.done():
                log.debug("%s did not stop in %s s", name, patience)
                child.kill()
                await asyncio.wait({keeper})

    def kill(self) -> None:
        """End all children at once, whatever they do."""
        self._stopping.set()
        for child, _ in self._keepers.values():
            child.kill()

    async def _keep(self, child: Child, began: float) -> None:
        failures = 0
        reason = self._judge(await child.wait())
        while reason and not self._stopping.is_set():
            failures = backoff.failures_in_row(failures, seconds_up=self._clock.monotonic() - began)
            pause = backoff.pause(failures)
            self._say(f"{child.name} {reason}; it is started again in {pause:g} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            if self._stopping.is_set():
                return
            began = self._clock.monotonic()
            reason = await self._run(child)

    async def _run(self, child: Child) -> str:
        """Run the child once more; return how that ended, in words; empty when there is no point in another try."""
        try:
            await child.start()
        except errors.FnbusError as error:
            return f"could not be started ({error})"
        if self._stopping.is_set():
            child.terminate()
        else:
            self._say(f"{child.name} is running again")
        return self._judge(await child.wait())

    def _judge(self, code: int) -> str:
        if code == WRONG_SETTING and not self._stopping.is_set():
            self.reason = CommandError("a setting is wrong, see above", code=WRONG_SETTING)
            self.gave_up.set()
            return ""
        return how_it_ended(code)


def how_it_ended(code: int) -> str:
    """Return what an exit code means, in words."""
    if code < 0:
        return f"was killed by {_signal_name(-code)}"
    return f"ended with exit code {code}" if code else "ended"


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
