"""What this executor tells the gateways about itself: that it is there, what it can run, how busy it is."""

import asyncio

from libs import errors
from libs.bus.port import Bus
from libs.messages import codec, subjects
from libs.messages.calls import Heartbeat
from services.executor.calls.dispatch import Dispatch

EVERY_SECONDS = 1.0


class Pulse:
    """Sends heartbeats, and does what else is due every second."""

    def __init__(
        self, *, bus: Bus, executor: str, runtimes: tuple[str, ...], isolation: str, dispatch: Dispatch, limit: int
    ) -> None:
        self._bus = bus
        self._executor = executor
        self._runtimes = runtimes
        self._isolation = isolation
        self._dispatch = dispatch
        self._limit = limit
        self._stopping = False
        bus.on_state(self._on_state)

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            if not self._stopping:
                self.beat()
            self._dispatch.trim()
            await asyncio.sleep(EVERY_SECONDS)

    def stop(self) -> None:
        """Send the last heartbeat: no more calls for this executor."""
        self._stopping = True
        self.beat()

    def beat(self) -> None:
        """Send one heartbeat now; without a bus there is nobody to hear it."""
        pool = self._dispatch.pool
        heartbeat = Heartbeat(
            executor=self._executor,
            runtimes=self._runtimes,
            isolation=self._isolation,
            workers=pool.workers,
            busy=pool.busy,
            waiting=pool.waiting,
            limit=self._limit,
            stopping=self._stopping,
        )
        if self._bus.connected:
            try:
                self._bus.post(subjects.HEARTBEAT, codec.encode(heartbeat))
            except errors.UnavailableError:
                return

    def _on_state(self, connected: bool) -> None:  # noqa: FBT001  the port's listener has this shape
        if connected and not self._stopping:
            self.beat()
