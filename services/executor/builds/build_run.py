"""A build under way: its lines, and its end, by itself or since it took more time, memory or disk than it may."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from libs import errors
from services.executor.sandbox import procfs

type OnLine = Callable[[str], None]

LINE_BYTES = 65_536
"""Of one line of output, what is read at a time."""
_MIB = 1024 * 1024
_WATCH_SECONDS = 0.5
_SPACE = 4
"""How much more than its outcome a build may have on disk while it runs."""
_KEPT_LINES = 40
_LINE_CHARACTERS = 500


class BuildFailedError(errors.PermanentError):
    """A tool has failed, or took more than it may; the text is for whoever wrote the code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one build may take."""

    seconds: float = 300
    max_mb: int = 512
    """Size of what it makes."""
    memory_mb: int = 2048


class BuildRun:
    """A build under way."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        info_fd: int,
        *,
        bounds: Bounds,
        work: Path,
        told: Callable[[str], str],
    ) -> None:
        self._process = process
        self._info_fd = info_fd
        self._bounds = bounds
        self._work = work
        self._told = told
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._fault = ""

    async def end(self, on_line: OnLine) -> tuple[str, ...]:
        """Wait until the tool has ended; return its last lines.

        Raises:
            BuildFailedError: it failed, or was ended since it took too much.
        """
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._watch(), name="build watch")
            await self._read(on_line)
            await self._process.wait()
            watch.cancel()
        if self._fault or self._process.returncode:
            raise BuildFailedError(self._story())
        return tuple(self._lines)

    async def kill(self) -> None:
        """End all that is left of the build, and wait until it has ended."""
        if self._process.returncode is not None:
            return
        self._send_kill()
        await self._process.wait()

    def _story(self) -> str:
        fault = self._fault or f"exit code {self._process.returncode}"
        return "\n".join((*self._lines, fault))

    def _send_kill(self) -> None:
        """Kill process 1 of the namespace: the kernel ends all others with it; or the whole process group."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            os.kill(int(json.loads(os.read(self._info_fd, 4096))["child-pid"]), signal.SIGKILL)
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _read(self, on_line: OnLine) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101  it was asked for
        while True:
            try:
                raw = await stream.readline()
            except ValueError:  # a line without an end; what is in the buffer is dropped
                continue
            if not raw:
                return
            for part in raw.decode(errors="replace").replace("\r", "\n").splitlines():
                line = self._told(part.rstrip())[:_LINE_CHARACTERS]
                if line:
                    self._lines.append(line)
                    on_line(line)

    async def _watch(self) -> None:
        """End the build when it takes too much."""
        deadline = time.monotonic() + self._bounds.seconds
        while not self._fault:
            await asyncio.sleep(min(_WATCH_SECONDS, max(deadline - time.monotonic(), 0.0)))
            self._fault = await self._excess(deadline)
        self._send_kill()

    async def _excess(self, deadline: float) -> str:
        if time.monotonic() >= deadline:
            return f"it took longer than {self._bounds.seconds:g} s and was ended"
        memory = sum(_memory(pid) for pid in procfs.family(self._process.pid))
        if memory > self._bounds.memory_mb * _MIB:
            return f"it took more than {self._bounds.memory_mb} MB of memory and was ended"
        if await asyncio.to_thread(_size, self._work) > _SPACE * self._bounds.max_mb * _MIB:
            return f"it took more than {_SPACE * self._bounds.max_mb} MB on disk and was ended"
        return ""


def _memory(pid: int) -> int:
    share = procfs.share(pid)
    return share.anonymous_bytes + share.shared_bytes


def _size(folder: Path) -> int:
    total = 0
    for below, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(below, name)).st_size
    return total
