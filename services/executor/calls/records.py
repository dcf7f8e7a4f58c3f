"""Execution records on their way to the registry: gathered, sent in batches, never in the way of a call.

While the bus is away records wait in memory up to a bound; what comes beyond it is counted and dropped.
"""

import asyncio
import contextlib
import logging

from libs import errors
from libs.bus import streams
from libs.bus.port import Bus, StreamFullError
from libs.messages import codec, subjects
from libs.messages.executions import ExecutionBatch, ExecutionRow

log = logging.getLogger(__name__)

BATCH = 1024
BATCH_SECONDS = 0.4
MAX_WAITING = 20_000
MAX_WAITING_BYTES = 64 * 1024 * 1024

_RETRY_SECONDS = 1.0
_ROW_BYTES = 64
"""What a row takes beside its texts and bytes."""
_CHARACTER_BYTES = 4


class Records:
    """The executions that ended here and are not stored yet."""

    def __init__(self, *, bus: Bus, executor: str) -> None:
        self._bus = bus
        self._executor = executor
        self._waiting: list[ExecutionRow] = []
        self._bytes = 0
        self._some = asyncio.Event()
        self._full = asyncio.Event()
        self.dropped = 0
        """Records that were given up."""

    def add(self, row: ExecutionRow) -> None:
        """Take a record; it is sent within `BATCH_SECONDS`."""
        size = _size(row)
        if len(self._waiting) >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
            self.dropped += 1
            return
        self._waiting.append(row)
        self._bytes += size
        self._some.set()
        if len(self._waiting) >= BATCH:
            self._full.set()

    async def run(self) -> None:
        """Send batches for ever."""
        while True:
            await self._some.wait()
            self._some.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BATCH_SECONDS):
                    await self._full.wait()
            if not await self.flush():
                self._some.set()
                await asyncio.sleep(_RETRY_SECONDS)

    async def flush(self) -> bool:
        """Send all that waits; return whether it is stored."""
        self._full.clear()
        while self._waiting:
            count = self._next_count()
            batch = ExecutionBatch(executor=self._executor, executions=tuple(self._waiting[:count]))
            try:
                await self._bus.append(subjects.EXECUTION_FINISHED, codec.encode(batch))
            except (errors.UnavailableError, errors.DeadlineError, StreamFullError) as error:
                log.warning(
                    "execution records wait: %s", error, extra={"action": "records_waiting", "records": len(self._waiting)}
                )
                return False
            except errors.PermanentError:
                self.dropped += count
                log.exception("execution records were dropped", extra={"action": "records_dropped", "records": count})
            self._bytes -= sum(map(_size, self._waiting[:count]))
            del self._waiting[:count]
        return True

    def _next_count(self) -> int:
        room = self._bus.max_payload - streams.ENVELOPE_BYTES
        count = 0
        for row in self._waiting[:BATCH]:
            room -= _size(row)
            if room < 0 and count:
                break
            count += 1
        return count


def _size(row: ExecutionRow) -> int:
    """Return how many bytes a row has at most."""
    return _ROW_BYTES + len(row.packed) + _CHARACTER_BYTES * (len(row.id) + len(row.namespace) + len(row.function))
