"""Waiting for the executor's next frame in an event loop, by several at once: one for credit, another for the body."""

from __future__ import annotations

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import channel as frames  # noqa: TID252  see the package's docstring


class Turns:
    """Those who wait for a frame of the present call; whoever it is for, all look again when one has come."""

    _present: Turns | None = None

    def __init__(self, channel: frames.Channel, call: int) -> None:
        """Watch the channel while somebody waits."""
        self._channel = channel
        self.call = call
        self._came = asyncio.Event()
        self._waiting = 0
        self._fault: OSError | None = None

    @classmethod
    def of(cls, channel: frames.Channel, call: int) -> Turns:
        """Return the one of a call."""
        if cls._present is None or cls._present.call != call:
            cls._present = cls(channel, call)
        return cls._present

    async def frame(self) -> None:
        """Return when a frame has come and been put where it belongs, or when somebody was woken.

        Raises:
            OSError: the executor went away.
        """
        if self._channel.has_frame():
            self._channel.pull(self.call)
            self.wake()
            return
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.add_reader(self._channel, self._readable)
        self._waiting += 1
        try:
            await self._came.wait()
        finally:
            self._waiting -= 1
            if not self._waiting:
                loop.remove_reader(self._channel)
        if self._fault is not None:
            raise self._fault

    def wake(self) -> None:
        """Have all who wait look again."""
        came, self._came = self._came, asyncio.Event()
        came.set()

    def _readable(self) -> None:
        try:
            self._channel.pull(self.call)
        except OSError as error:
            self._fault = error
        self.wake()
