"""How a build goes on, told to its owner: in the executor's log, and live to whoever follows the function."""

import logging
import time

from libs.bus.port import Bus
from libs.messages import codec, subjects
from libs.messages.builds import BuildRequest
from libs.messages.logs import STDOUT, LiveLine, LogBatch

log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 2.0
"""Between two lines of a tool in the executor's log; who follows the function sees all of them."""


class Teller:
    """Tells a build's progress: to the executor's log, and live to whoever follows the function."""

    def __init__(self, bus: Bus, executor: str, request: BuildRequest) -> None:
        self._bus = bus
        self._executor = executor
        self._request = request
        self._next = time.monotonic() + _PROGRESS_SECONDS

    def say(self, level: int, action: str, text: str) -> None:
        """Tell what has happened."""
        log.log(level, "%s", text, extra={"action": action, **ids(self._request)})
        self._publish(text)

    def line(self, line: str) -> None:
        """Tell a line of the tool, unless one was told just now."""
        self._publish(line)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _PROGRESS_SECONDS
            log.info("%s: %s", self._request.function, line, extra={"action": "build_progress", **ids(self._request)})

    def _publish(self, text: str) -> None:
        request, now = self._request, time.time_ns() // 1_000_000
        batch = LogBatch(
            namespace=request.namespace,
            function=request.function,
            version=request.version,
            executor=self._executor,
            lines=[LiveLine("", now, STDOUT, line) for line in text.splitlines()],
        )
        subject = subjects.log(namespace=request.namespace, function=request.function)
        self._bus.post(subject, codec.encode(batch))


def ids(request: BuildRequest) -> dict[str, str]:
    """Return what a log line says of the version that a build is for."""
    return {
        "namespace": request.namespace,
        "function": request.function,
        "version": request.version,
        "runtime": request.runtime,
    }
