"""How a service starts, stays up, and stops.

A service's `main.py` builds its parts in dependency order and pushes each one's undo on a stack. On SIGTERM or SIGINT the
stack unwinds in reverse: stop intake, finish what is under way, close. A second signal ends the process at once. Every
background task has a name; if one dies, the service says which and stops with exit code 1.
"""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import uvloop

from libs.settings import ServiceSettings
from libs.telemetry import logs

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_FORCED_EXIT = 70
_CLOSE_GRACE_SECONDS = 5.0


class Service:
    """A running service: its tasks, its undo stack, and the wish to stop."""

    def __init__(self, name: str, tasks: asyncio.TaskGroup, stack: contextlib.AsyncExitStack) -> None:
        self.name = name
        self.tasks = tasks
        """For work of bounded length; a failure here stops the service."""
        self.stack = stack
        """Each part pushes its own undo."""
        self.stopping = asyncio.Event()
        """Set when the service is to stop."""
        self.failed = False
        self._loops: list[asyncio.Task[None]] = []

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Start a loop that runs as long as the service; if it ends by itself, the service stops."""
        task = self.tasks.create_task(self._guard(work, name), name=name)
        self._loops.append(task)
        return task

    def cancel_loops(self) -> None:
        """End all loops that `spawn` started."""
        for task in self._loops:
            task.cancel()

    async def _guard(self, work: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("task %r died: the service stops", name, extra={"action": "task_died", "task": name})
            self.failed = True
            self.stopping.set()


def run(name: str, settings: ServiceSettings, main: Callable[[Service], Awaitable[None]]) -> int:
    """Run a service until it is told to stop; return the process's exit code.

    Args:
        name: `gateway`, `registry`, `executor` or `scheduler`.
        settings: the service's settings.
        main: builds and starts everything, then returns.
    """
    logs.configure(service=name, format=settings.log_format, level=settings.log_level)
    if settings.exit_with_parent:
        exit_with_parent()
    return uvloop.run(_run(name, settings, main))


def exit_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent process dies (Linux)."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(0)


async def _run(name: str, settings: ServiceSettings, main: Callable[[Service], Awaitable[None]]) -> int:
    async with asyncio.TaskGroup() as tasks:
        stack = contextlib.AsyncExitStack()
        service = Service(name, tasks, stack)
        _on_signals(service)
        try:
            async with stack:
                try:
                    await main(service)
                    _settle_heap()
                    log.info("%s is up", name, extra={"action": "service_started"})
                    await service.stopping.wait()
                finally:
                    log.info("%s stops", name, extra={"action": "service_stopping"})
                    watchdog = asyncio.get_running_loop().call_later(
                        settings.drain_seconds + _CLOSE_GRACE_SECONDS, os._exit, _FORCED_EXIT
                    )
            watchdog.cancel()
        except Exception:
            log.exception("%s failed", name, extra={"action": "service_failed"})
            service.failed = True
        service.cancel_loops()
    return 1 if service.failed else 0


def _on_signals(service: Service) -> None:
    def stop() -> None:
        if service.stopping.is_set():
            os._exit(_FORCED_EXIT)
        service.stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _settle_heap() -> None:
    """Take what start-up made out of the garbage collector's sight: walking it costs 40 ms at every full collection."""
    gc.collect()
    gc.freeze()
