"""Many waits at once, within a bound: group commit and the bus are fast only for those who do not come one by one."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable


async def in_parallel[T](items: Iterable[T], work: Callable[[T], Awaitable[object]], *, limit: int = 64) -> None:
    """Do `work` for every item, at most `limit` at a time.

    The first failure ends the rest and is raised as it is, not as a group.
    """
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(limit):
                tasks.create_task(worker())
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
