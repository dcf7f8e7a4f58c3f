"""Load that does not wait for answers: requests leave when they are due, and latency counts from then.

`python -m benchmarks.openloop URL RATE SECONDS` prints what it found as JSON. A closed loop slows down with the system it
measures and so hides the queue in front of it. The arrivals are those of many independent clients (exponential gaps), the same
in each run.
"""

import asyncio
import contextlib
import json
import random
import selectors
import sys
import time
from collections import deque
from urllib.parse import urlsplit

_CONNECTIONS = 128
_LAST_SECONDS = 10.0
_SEED = 1


class _Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, request: bytes, due: float) -> None:
        assert self._transport is not None
        self.due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        lower = head.lower()
        length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self._data = b""
            self._load.answered(self, ok=head[9:10] in (b"2", b"3"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost(self)


class _Load:
    """The requests of one run."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._idle: list[_Connection] = []
        self._due: deque[float] = deque()
        self.latencies: list[float] = []
        self.errors = 0
        self.open = 0
        self._none_open = asyncio.Event()

    async def settled(self, seconds: float) -> None:
        """Wait until all is answered, but not longer than that."""
        self._none_open.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds if self.open else 0):
                await self._none_open.wait()

    def add(self, connection: _Connection) -> None:
        self._idle.append(connection)

    def send(self, due: float) -> None:
        self.open += 1
        if self._idle:
            self._idle.pop().ask(self._request, due)
        else:
            self._due.append(due)

    def answered(self, connection: _Connection, *, ok: bool) -> None:
        self._close_one()
        self.errors += not ok
        self.latencies.append(time.perf_counter() - connection.due)
        connection.due = 0.0
        if self._due:
            connection.ask(self._request, self._due.popleft())
        else:
            self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        if connection.due:
            self._close_one()
            self.errors += 1
        elif connection in self._idle:
            self._idle.remove(connection)

    def _close_one(self) -> None:
        self.open -= 1
        if not self.open:
            self._none_open.set()


async def run(url: str, rate: float, seconds: float) -> dict[str, float]:
    """Send `rate` requests a second; return how many, and quantiles of latency in milliseconds."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    load = _Load(f"GET {parts.path or '/'} HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode())
    loop = asyncio.get_running_loop()
    for _ in range(_CONNECTIONS):
        _, connection = await loop.create_connection(lambda: _Connection(load), host, port)
        load.add(connection)
    gaps = random.Random(_SEED)
    began = due = time.perf_counter()
    sent = 0
    while (due := due + gaps.expovariate(rate)) < began + seconds:
        pause = due - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        elif not sent % 16:
            await asyncio.sleep(0)
        load.send(due)
        sent += 1
    await load.settled(_LAST_SECONDS)
    found = sorted(load.latencies)
    quantiles = {f"p{name}": found[int(len(found) * share)] * 1000 for name, share in _QUANTILES} if found else {}
    return {"sent": sent, "errors": load.errors + load.open, **quantiles}


_QUANTILES = (("50", 0.5), ("99", 0.99), ("999", 0.999))


def main() -> None:
    """Run as a program."""
    url, rate, seconds = sys.argv[1:]
    # select() has microseconds where epoll has milliseconds: requests leave when they are due.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        sys.stdout.write(json.dumps(runner.run(run(url, float(rate), float(seconds)))))


if __name__ == "__main__":
    main()
