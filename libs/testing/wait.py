"""Patience for tests: wait for a condition instead of for a time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, overload


@overload
async def eventually[T](check: Callable[[], Awaitable[T]], *, within: float = 60.0, every: float = 0.02) -> T: ...
@overload
async def eventually[T](check: Callable[[], T], *, within: float = 60.0, every: float = 0.02) -> T: ...
async def eventually(check: Callable[[], Any], *, within: float = 60.0, every: float = 0.02) -> Any:
    """Return the first true value of `check`, asked again and again for at most `within` seconds.

    A check may raise AssertionError to say what is still missing; the last one is raised when time is up.

    Raises:
        AssertionError: the condition did not come true in time.
    """
    last: AssertionError | None = None
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        try:
            value = check()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
        except AssertionError as error:
            last = error
        if loop.time() >= deadline:
            raise last or AssertionError(f"still not true after {within} s: {check}")
        await asyncio.sleep(every)
