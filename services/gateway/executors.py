"""Who is there to run calls: executors are heard by their heartbeats, and missed when these stay away."""

import logging

from libs.bus import port
from libs.clock import Clock
from libs.messages import calls, codec, subjects

log = logging.getLogger(__name__)

HEARTBEAT_EXPIRY_SECONDS = 3.5
_FORGET_SECONDS = 60.0
"""How long an executor that was lost is known as such."""


class Executors:
    """Which executors are alive, by their heartbeats."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[float, calls.Heartbeat]] = {}

    async def start(self, bus: port.Bus) -> port.Subscription:
        """Listen for heartbeats."""
        return await bus.subscribe(subjects.HEARTBEAT, self._on_message)

    def note(self, heartbeat: calls.Heartbeat) -> None:
        """Take a heartbeat into account."""
        if heartbeat.stopping:
            self._seen.pop(heartbeat.executor, None)
        else:
            self._seen[heartbeat.executor] = (self._clock.monotonic(), heartbeat)

    def alive(self) -> list[calls.Heartbeat]:
        """Return the last heartbeat of each executor that was heard lately."""
        now = self._clock.monotonic()
        for executor in [name for name, (at, _) in self._seen.items() if at < now - _FORGET_SECONDS]:
            del self._seen[executor]
        return [heartbeat for at, heartbeat in self._seen.values() if at >= now - HEARTBEAT_EXPIRY_SECONDS]

    def lost(self, executor: str) -> bool:
        """Whether an executor was heard once, is not any more, and has not said that it stops (it finishes its calls first)."""
        seen = self._seen.get(executor)
        return seen is not None and seen[0] < self._clock.monotonic() - HEARTBEAT_EXPIRY_SECONDS

    def _on_message(self, message: port.Message) -> None:
        try:
            self.note(codec.decode(calls.Heartbeat, message.data))
        except codec.MalformedMessageError as error:
            log.error("a heartbeat is malformed: %s", error, extra={"action": "heartbeat_malformed"})
