"""Group commit: what waits while one commit is under way goes into the next one together.

A durable commit costs the same for one write and for a thousand, so a store that commits one by one is bound by its disk,
and one that commits in groups by its processor. No write is held back to wait for others: the first goes at once, and a
group forms from what arrives meanwhile. Which statements a commit is made of is the adapter's business.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from libs.storage.port import StoreUnavailableError

MAX_GROUP = 1024
"""Writes in one commit: bounds how long the first of them waits for the last."""

MAX_WAITING = 65_536
"""Writes that may wait; one more is refused."""


class GroupCommitter[W, R]:
    """Commits writes in groups, one group at a time, in the order in which they were made.

    Args:
        commit: makes all writes of a group durable and returns, in the same order, each one's result or the exception
            that is its alone. What it raises is the fate of the whole group.
        name: of the task that commits, for debugging.
        max_group: writes in one commit.
        max_waiting: writes that may wait for their commit.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[W]], Awaitable[Sequence[R | Exception]]],
        *,
        name: str,
        max_group: int = MAX_GROUP,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._commit = commit
        self._name = name
        self._max_group = max_group
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[W, asyncio.Future[R]]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    def write(self, write: W) -> asyncio.Future[R]:
        """Hand in a write; the future has its result once it is durable.

        The order of calls is the order of writes. Canceling the future takes a write back that is still waiting; one
        whose commit has begun is made all the same.

        Raises:
            StoreUnavailableError: too many writes are waiting, or the store is closed.
        """
        if self._closed:
            raise StoreUnavailableError("the store is closed")
        if len(self._waiting) >= self._max_waiting:
            raise StoreUnavailableError(f"{self._max_waiting} writes are waiting already", retry_after=1.0)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((write, future))
        if self._writer is None:
            # Lives only while there is something to write, and is awaited by close: a store needs no task group of its owner.
            self._writer = loop.create_task(self._write_all(), name=self._name)
        return future

    async def close(self) -> None:
        """Refuse new writes and return when those that wait are made."""
        self._closed = True
        if self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                await self._write_group(self._take_group())
        finally:
            self._writer = None
            # Only reached with writes left over when the task was canceled: nobody would answer them any more.
            while self._waiting:
                self._waiting.popleft()[1].cancel()

    def _take_group(self) -> list[tuple[W, asyncio.Future[R]]]:
        group: list[tuple[W, asyncio.Future[R]]] = []
        while self._waiting and len(group) < self._max_group:
            write, future = self._waiting.popleft()
            if not future.done():
                group.append((write, future))
        return group

    async def _write_group(self, group: list[tuple[W, asyncio.Future[R]]]) -> None:
        if not group:
            return
        try:
            outcomes = await self._commit([write for write, _ in group])
        except asyncio.CancelledError:
            for _, future in group:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, those who wait must hear of it
            outcomes = [_for_one_caller(error) for _ in group]
        for (_, future), outcome in zip(group, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)


def _for_one_caller(error: Exception) -> Exception:
    """Return an exception for one of many callers: one that all raise would gather the tracebacks of all."""
    if not isinstance(error, StoreUnavailableError):
        return error
    own = StoreUnavailableError(str(error), retry_after=error.retry_after)
    own.__cause__ = error.__cause__
    return own
