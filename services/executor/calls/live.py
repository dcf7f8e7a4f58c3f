"""Lines that functions print, to whoever follows them: gathered for a moment, published, never in the way of a call.

Nobody may be listening, and nothing waits for those who are: a function that floods gets its share of lines through, the rest
is counted and thrown away before anything is made of it. What is kept of an execution is in its record, not here.
"""

import asyncio
import time
import weakref
from collections.abc import Callable

from libs.bus.port import Bus
from libs.messages import codec, subjects
from libs.messages.logs import LiveLine, LogBatch

FLUSH_SECONDS = 0.05
BATCH_LINES = 64
FUNCTION_BYTES = 1024 * 1024
"""What one version may publish a second, and at once; a line counts `_LINE_BYTES` more than its text."""
EXECUTOR_BYTES = 4 * 1024 * 1024
"""What all of them may together."""
PARTIAL_BYTES = 8 * 1024
"""A line that has not ended is taken for one at this length."""

_LINE_BYTES = 64


class _Budget:
    """So many bytes a second, and at most a second's at once."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._left = float(rate)
        self._at = time.monotonic()

    def has(self, cost: int) -> bool:
        now = time.monotonic()
        self._left = min(self._left + (now - self._at) * self._rate, self._rate)
        self._at = now
        return self._left >= cost

    def spend(self, cost: int) -> None:
        self._left -= cost


class LiveLogs:
    """All live lines of an executor."""

    def __init__(self, *, bus: Bus, executor: str) -> None:
        self._bus = bus
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._budget = _Budget(EXECUTOR_BYTES)
        self._versions: weakref.WeakValueDictionary[tuple[str, str, str], _Version] = weakref.WeakValueDictionary()
        """As long as one of their workers lives."""
        self._waiting: set[_Version] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.dropped = 0
        """Lines that were thrown away."""

    def tap(self, *, namespace: str, function: str, version: str, whose: Callable[[], str]) -> "WorkerTap":
        """Return what takes the lines of one worker.

        Args:
            namespace: of its function.
            function: that it serves.
            version: label of what it has loaded.
            whose: asked for the id of the execution that it runs now, empty when it runs none.
        """
        key = (namespace, function, version)
        found = self._versions.get(key)
        if found is None:
            found = self._versions[key] = _Version(key)
        return WorkerTap(self, found, whose)

    def admit(self, version: "_Version", size: int, lines: int) -> bool:
        """Return whether so much more may be published now; if not, it is counted as thrown away (for taps)."""
        cost = size + _LINE_BYTES * lines
        if version.budget.has(cost) and self._budget.has(cost):
            version.budget.spend(cost)
            self._budget.spend(cost)
            return True
        version.dropped += lines
        self.dropped += lines
        self._due(version)
        return False

    def add(self, version: "_Version", lines: list[LiveLine]) -> None:
        """Take lines that were admitted (for taps)."""
        version.lines += lines
        if len(version.lines) >= BATCH_LINES:
            self._publish(version)
        else:
            self._due(version)

    def flush(self) -> None:
        """Publish all that waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            self._publish(self._waiting.pop())

    def _due(self, version: "_Version") -> None:
        self._waiting.add(version)
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_SECONDS, self.flush)

    def _publish(self, version: "_Version") -> None:
        self._waiting.discard(version)
        namespace, function, label = version.key
        batch = LogBatch(
            namespace=namespace,
            function=function,
            version=label,
            executor=self._executor,
            lines=version.lines,
            dropped=version.dropped,
        )
        version.lines, version.dropped = [], 0
        self._bus.post(subjects.log(namespace=namespace, function=function), codec.encode(batch))


class _Version:
    """A version's lines that are not published yet, and its share of the bus."""

    __slots__ = ("__weakref__", "budget", "dropped", "key", "lines")

    def __init__(self, key: tuple[str, str, str]) -> None:
        self.key = key
        self.budget = _Budget(FUNCTION_BYTES)
        self.lines: list[LiveLine] = []
        self.dropped = 0


class WorkerTap:
    """Cuts what one worker prints into lines; an `output.Tap`."""

    def __init__(self, logs: LiveLogs, version: _Version, whose: Callable[[], str]) -> None:
        self._logs = logs
        self._version = version
        self._whose = whose
        self._partial: dict[str, tuple[bytes, int]] = {}
        """What came of a line that has not ended, and when."""

    def take(self, stream: str, piece: bytes, ms: int) -> None:
        """Take what was read."""
        ends = piece.count(b"\n")
        if not self._logs.admit(self._version, len(piece), max(ends, 1)):
            self._partial.pop(stream, None)
            return
        begun, _ = self._partial.pop(stream, (b"", 0))
        *whole, rest = (begun + piece).split(b"\n")
        if len(rest) >= PARTIAL_BYTES:
            whole.append(rest)
        elif rest:
            self._partial[stream] = rest, ms
        if whole:
            execution = self._whose()
            self._logs.add(self._version, [_line(execution, ms, stream, each) for each in whole])

    def settle(self) -> None:
        """Take what came of a last line for a whole one."""
        if self._partial:
            execution = self._whose()
            lines = [_line(execution, ms, stream, rest) for stream, (rest, ms) in self._partial.items()]
            self._logs.add(self._version, lines)
            self._partial.clear()


def _line(execution: str, ms: int, stream: str, text: bytes) -> LiveLine:
    return LiveLine(execution, ms, stream, text.removesuffix(b"\r").decode("utf-8", "replace"))
