"""A change of files from the look at what is there to the write, begun anew when another registry was faster."""

import contextlib
from collections.abc import Awaitable, Callable

from services.registry.source.home import Home, MovedError

_TRIES = 10


async def alone[T](home: Home, work: Callable[[], Awaitable[T]]) -> T:
    """Do `work`, which looks and then writes, while no other registry writes; again from its look on when one has.

    Raises:
        MovedError: others were faster every time; nothing was changed.
        errors.TemporaryError: somebody else keeps the files for too long.
    """
    for _ in range(_TRIES - 1):
        with contextlib.suppress(MovedError):
            async with home.exclusive():
                return await work()
    async with home.exclusive():
        return await work()
