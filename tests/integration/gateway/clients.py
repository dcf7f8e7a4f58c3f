"""A client that sees an answer as it comes, byte by byte."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Self

from services.gateway.assembly import Gateway

PATIENCE = 60.0


class RawClient:
    """A connection to a gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, gateway: Gateway, *, limit: int = 1 << 16) -> AsyncGenerator[Self]:
        """Connect; `limit` is how many bytes `until` looks through."""
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=limit)
        yield cls(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def until(self, end: bytes) -> bytes:
        """Return what comes, up to and with these bytes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(end)

    async def rest(self) -> bytes:
        """Return all that comes until the connection ends."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()
