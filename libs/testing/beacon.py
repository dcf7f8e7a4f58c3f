"""A place where handlers report, so that a test sees from outside whether they run, and whether they are dead."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from libs.testing.wait import eventually


@dataclass(slots=True)
class Beacon:
    """Handlers connect to it: it knows how many run, lets them answer, and sees at once when one is dead."""

    port: int
    connections: list[socket.socket] = field(default_factory=list[socket.socket])

    async def arrived(self, count: int, *, within: float = 40) -> None:
        """Wait until so many handlers have connected, in all."""
        await eventually(lambda: len(self.connections) >= count, within=within)

    async def told(self, index: int) -> str:
        """Return the request id that a handler reported, read once."""
        return (await asyncio.get_running_loop().sock_recv(self.connections[index], 1000)).decode()

    def release(self, text: str = "released") -> None:
        """Let every handler that waits answer with `text`."""
        for each in self.connections:
            with contextlib.suppress(OSError):
                each.send(text.encode())

    def alive(self, index: int = -1) -> bool:
        """Whether anything still holds the other end of a connection; no waiting: it is as it is at this moment."""
        try:
            while self.connections[index].recv(65536):
                pass
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        return False


@contextlib.asynccontextmanager
async def running_beacon() -> AsyncGenerator[Beacon]:
    """Listen on a port of its own for the length of the block."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        listener.settimeout(0)
        beacon = Beacon(int(listener.getsockname()[1]))

        async def accept() -> None:
            while True:
                made, _ = await asyncio.get_running_loop().sock_accept(listener)
                made.settimeout(0)
                beacon.connections.append(made)

        async with asyncio.TaskGroup() as tasks:
            accepting = tasks.create_task(accept())
            try:
                yield beacon
            finally:
                accepting.cancel()
                for each in beacon.connections:
                    each.close()
