"""What an attack is measured by: the caller's answer, the neighbours' answers meanwhile, and the record of it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import httpx

from libs.testing.cluster import Cluster
from libs.testing.wait import eventually

_PATIENCE = 60.0
_NEIGHBOUR_SECONDS = 60.0
"""A busy machine needs much less; a neighbour that is held up by an attack would wait for as long as that goes on."""


@dataclass(slots=True, kw_only=True)
class Victim:
    """A platform under attack."""

    cluster: Cluster
    client: httpx.AsyncClient

    async def attack(self, function: str, do: str, **query: str | int) -> httpx.Response:
        """Have a function attack, and see that neighbours answer all the while: one of Python, and one of its own runtime."""
        async with self._neighbours(f"{function.partition('-')[0]}-neighbour"):
            return await self.client.get(f"/{function}", params={"do": do, **query})

    async def done(self, function: str, do: str, **query: str | int) -> Any:
        """Return what an attack that answers has achieved, or the text of its failure."""
        answer = await self.attack(function, do, **query)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        return told["done"] if "done" in told else str(told["failed"])

    async def failure(self, answer: httpx.Response) -> dict[str, Any]:
        """Return the record of a call that failed, once it is there."""
        found = f"/_fn/executions/{answer.headers['x-request-id']}"

        async def record() -> dict[str, Any]:
            told = await self.client.get(found)
            return told.json() if told.is_success else {}

        return await eventually(record, within=_PATIENCE, every=0.1)

    async def fine(self, *others: str) -> None:
        """Make sure that everything still works; `others` are attackers that do nothing."""
        answer = await self.client.get("/neighbour")
        assert (answer.status_code, answer.text) == (200, "fine")
        for other in others:
            answer = await self.client.get(f"/{other}", params={"do": "left"})
            assert (answer.status_code, answer.json()) == (200, {"done": []})

    @contextlib.asynccontextmanager
    async def _neighbours(self, *others: str) -> AsyncGenerator[None]:
        """Call neighbours for the length of the block: they answer each time, and in time."""
        await self.fine(*others)
        ended = asyncio.Event()
        answers = 0

        async def call() -> None:
            nonlocal answers
            while not ended.is_set():
                async with asyncio.timeout(_NEIGHBOUR_SECONDS):
                    await self.fine(*others)
                answers += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await ended.wait()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call(), name="neighbour")
            try:
                yield
            finally:
                ended.set()
        assert answers
