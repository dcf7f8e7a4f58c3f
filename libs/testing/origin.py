"""A web server for tests, of which one decides byte by byte what it answers."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

type Answer = Callable[[str], bytes | None]
"""From a request's first line to the bytes that are sent; None: nothing ever is."""


@dataclass(slots=True)
class Origin:
    """The server, and what it was asked."""

    port: int
    requests: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    """Head and body of each."""
    connections: int = 0

    @property
    def url(self) -> str:
        """Return where it is."""
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def origin(answer: Answer = lambda _: OK) -> AsyncGenerator[Origin]:
    """Serve on a free port of the loopback."""
    found = Origin(port=0)
    ends = asyncio.Event()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = head.partition("content-length: ")[2].partition("\r\n")[0]
                found.requests.append((head, await reader.readexactly(int(length or 0))))
                data = answer(head.partition("\r\n")[0])
                if data is None:
                    await ends.wait()
                    break
                writer.write(data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        ends.set()
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()
