"""Many small things sent together: what comes while a batch is under way goes with the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

MAX_ITEMS = 256


class Batches[T]:
    """Gathers items and hands them on in batches, a few batches at a time."""

    def __init__(
        self,
        *,
        name: str,
        tasks: asyncio.TaskGroup,
        send: Callable[[Sequence[T]], Awaitable[None]],
        size: Callable[[T], int] = lambda _: 0,
        max_bytes: int = 0,
        parallel: int = 2,
    ) -> None:
        """Send with `send`, which deals with its own errors.

        Args:
            name: of the tasks.
            tasks: where they run.
            send: takes one batch.
            size: bytes of an item.
            max_bytes: bytes of a batch of more than one item; 0: no bound.
            parallel: batches under way at once.
        """
        self._name = name
        self._tasks = tasks
        self._send = send
        self._size = size
        self._max_bytes = max_bytes
        self._parallel = parallel
        self._items: deque[T] = deque()
        self._sending: set[asyncio.Task[None]] = set()
        self._due = False
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, item: T) -> None:
        """Take an item; it is sent with what else comes in this turn of the event loop."""
        self._items.append(item)
        self._empty.clear()
        if not self._due and len(self._sending) < self._parallel:
            self._due = True
            asyncio.get_running_loop().call_soon(self._go)

    async def drained(self) -> None:
        """Wait until nothing is left to send."""
        await self._empty.wait()

    async def close(self) -> list[T]:
        """Stop sending; return what was never begun."""
        left = list(self._items)
        self._items.clear()
        for task in list(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        return left

    def _go(self) -> None:
        self._due = False
        while self._items and len(self._sending) < self._parallel:
            task = self._tasks.create_task(self._one(self._next()), name=self._name)
            self._sending.add(task)
            task.add_done_callback(self._sent)

    async def _one(self, batch: Sequence[T]) -> None:
        await self._send(batch)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if self._items:
            self._go()
        elif not self._sending:
            self._empty.set()

    def _next(self) -> list[T]:
        batch = [self._items.popleft()]
        total = self._size(batch[0])
        while self._items and len(batch) < MAX_ITEMS:
            total += self._size(self._items[0])
            if self._max_bytes and total > self._max_bytes:
                break
            batch.append(self._items.popleft())
        return batch
