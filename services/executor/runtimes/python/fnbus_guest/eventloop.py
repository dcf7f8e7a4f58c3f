"""The worker's one event loop: made when something asynchronous is to be run for the first time, kept between calls.

Connections that a handler opened in it stay usable for its next call. It only turns while a call, a load or the end of the
worker is being served: nothing of a call goes on between calls.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from typing import Any


class EventLoop:
    """Runs awaitables one after the other."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._at_end: list[Callable[[], Awaitable[Any]]] = []

    def prepare(self) -> asyncio.AbstractEventLoop:
        """Make the loop, and return it: importing `asyncio` takes longer than all else that a worker does to start."""
        if self._loop is None:
            import asyncio

            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """Return the result of `awaitable`, or raise what it raises."""
        return self.prepare().run_until_complete(_result_of(awaitable))

    def at_end(self, last: Callable[[], Awaitable[Any]]) -> None:
        """Have `last` run when the worker ends in order."""
        self._at_end.append(last)

    def close(self) -> None:
        """Run what has to run at the end."""
        for last in self._at_end:
            self.run(last())


async def _result_of(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
