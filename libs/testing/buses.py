"""One suite, several buses: a net that connects, goes down and comes back, whatever it is made of."""

from pathlib import Path
from typing import Protocol

import orjson

from libs.bus import jetstream
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.bus.port import Bus, ConsumerSpec
from libs.bus.server import NatsServer, ServerOptions

_INFO_SECONDS = 30.0


class Net(Protocol):
    """A server, or what stands for one, and connections to it."""

    max_payload: int

    async def connect(self, name: str = "gateway") -> Bus:
        """Return a new connection."""
        ...

    async def unsettled(self, spec: ConsumerSpec) -> int:
        """Return how many messages a consumer has before it or with its subscribers."""
        ...

    async def crash(self) -> None:
        """Take the server away without warning; what it stored stays."""
        ...

    async def restart(self) -> None:
        """Bring it back where it was."""
        ...

    async def close(self) -> None:
        """End connections and server."""
        ...


class MemoryNet:
    """A net in this process."""

    max_payload = 256 * 1024

    def __init__(self) -> None:
        self._broker = MemoryBroker(max_payload=self.max_payload)
        self._buses: list[MemoryBus] = []

    async def connect(self, name: str = "gateway") -> Bus:
        """Return a new connection; it has no use for the name."""
        del name
        bus = MemoryBus(self._broker)
        self._buses.append(bus)
        return bus

    async def unsettled(self, spec: ConsumerSpec) -> int:
        """Ask the stream."""
        return self._broker.streams[spec.stream].unsettled(spec.name)

    async def crash(self) -> None:
        """Make the broker unreachable."""
        self._broker.stop()

    async def restart(self) -> None:
        """Make it reachable again."""
        self._broker.start()

    async def close(self) -> None:
        """Close all connections."""
        for bus in self._buses:
            await bus.close()


class NatsNet:
    """A real server below a folder."""

    max_payload = 256 * 1024

    def __init__(self, program: Path, folder: Path) -> None:
        options = ServerOptions(folder=folder, max_payload=self.max_payload, sync_interval="2m")
        self.server = NatsServer(program, options)
        self._buses: list[Bus] = []

    async def connect(self, name: str = "gateway") -> Bus:
        """Return a new connection; the first one starts the server."""
        if not self.server.running:
            await self.server.start()
        bus = await jetstream.connect(url=self.server.url, user="", password="", name=name)
        self._buses.append(bus)
        return bus

    async def unsettled(self, spec: ConsumerSpec) -> int:
        """Ask the server."""
        told = await self._buses[0].request(f"$JS.API.CONSUMER.INFO.{spec.stream}.{spec.name}", b"", timeout=_INFO_SECONDS)
        info = orjson.loads(told.data)
        return info["num_pending"] + info["num_ack_pending"]

    async def crash(self) -> None:
        """Kill the server."""
        await self.server.kill()

    async def restart(self) -> None:
        """Start it again on the same port and store."""
        await self.server.start()

    async def close(self) -> None:
        """Close all connections, end the server."""
        for bus in self._buses:
            await bus.close()
        await self.server.stop()
