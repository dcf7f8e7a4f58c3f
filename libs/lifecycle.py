"""How a service starts, stays up, and stops.

A service's `main.py` builds its parts in dependency order and pushes each one's undo on a stack. On SIGTERM or SIGINT the
stack unwinds in reverse: stop intake, finish what is under way, close. A second signal ends the process at once. Every
background task has a name; if one dies, the service says which and stops with exit code 1.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import uvloop

from libs import errors, heap, processes
from libs.settings import ServiceSettings
from libs.telemetry import logs

log = logging.getLogger(__name__)

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
        except Exception:
            log.exception("task %r died: the service stops", name, extra={"action": "task_died", "task": name})
        else:
            if self.stopping.is_set():
                return
            log.error("task %r ended early: the service stops", name, extra={"action": "task_died", "task": name})
        self.failed = True
        self.stopping.set()


def run(name: str, settings: ServiceSettings, main: Callable[[Service], Awaitable[None]]) -> int:
    """Run a service until it is told to stop; return the process's exit code.

    Args:
        name: `gateway`, `registry`, `executor` or `scheduler`.
        settings: the service's settings.
        main: builds and starts everything, then returns. A signal that comes before it has returned cancels it.
    """
    logs.configure(service=name, format=settings.log_format, level=settings.log_level)
    if settings.exit_with_parent:
        processes.exit_with_parent()
    processes.work_in_batches()
    return uvloop.run(_run(name, settings, main))


async def _run(name: str, settings: ServiceSettings, main: Callable[[Service], Awaitable[None]]) -> int:
    failed = False
    with _Watchdog(settings.drain_seconds + _CLOSE_GRACE_SECONDS) as watchdog:
        try:
            async with asyncio.TaskGroup() as tasks:
                failed = await _serve(Service(name, tasks, contextlib.AsyncExitStack()), main, watchdog)
        except* Exception:
            log.exception("a task of %s failed", name, extra={"action": "task_died"})
            failed = True
    return 1 if failed else 0


async def _serve(service: Service, main: Callable[[Service], Awaitable[None]], watchdog: "_Watchdog") -> bool:
    """Build, wait for the wish to stop, unwind; return whether anything failed."""
    starting = _on_signals(service)
    try:
        async with service.stack:
            try:
                if await _build(service, main, starting):
                    await service.stopping.wait()
            finally:
                service.stopping.set()
                watchdog.start()
                log.info("%s stops", service.name, extra={"action": "service_stopping"})
    except errors.FnbusError as error:
        log.error("%s: %s", service.name, error, extra={"action": "service_failed"})
        service.failed = True
    except Exception:
        log.exception("%s failed", service.name, extra={"action": "service_failed"})
        service.failed = True
    service.cancel_loops()
    return service.failed


async def _build(service: Service, main: Callable[[Service], Awaitable[None]], starting: asyncio.Event) -> bool:
    """Start everything; return False when a signal came first, which cancels the start."""
    try:
        await main(service)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or not service.stopping.is_set() or task.uncancel() > 0:
            raise
        return False
    finally:
        starting.clear()
    heap.settle()
    log.info("%s is up", service.name, extra={"action": "service_started"})
    return True


def _on_signals(service: Service) -> asyncio.Event:
    """Obey SIGTERM and SIGINT; the event returned is set as long as the service still starts."""
    starting = asyncio.Event()
    starting.set()
    runner = asyncio.current_task()

    def stop() -> None:
        if service.stopping.is_set():
            os._exit(_FORCED_EXIT)
        service.stopping.set()
        if starting.is_set() and runner is not None:
            runner.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return starting


class _Watchdog:
    """Ends the process when stopping takes longer than it may."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> "_Watchdog":
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def start(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._bite)

    def _bite(self) -> None:
        log.error("not stopped after %s s: the process ends", self._seconds, extra={"action": "forced_exit"})
        os._exit(_FORCED_EXIT)
