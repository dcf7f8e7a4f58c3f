"""A real Jaeger for a test: takes spans over OTLP/HTTP on a free port, keeps them in memory, and is asked what it got."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from libs.ports import unused_port
from libs.testing import programs
from libs.testing.wait import eventually

type Trace = dict[str, Any]
"""As Jaeger's query API has it: `spans` and `processes`."""

_PORTS = (
    "admin.http.host-port",
    "collector.grpc-server.host-port",
    "collector.http-server.host-port",
    "collector.otlp.grpc.host-port",
    "query.grpc-server.host-port",
)
"""Addresses that nobody here uses, which must be free all the same."""


class JaegerServer:
    """A running Jaeger.

    Attributes:
        otlp_endpoint: for `OTEL_EXPORTER_OTLP_ENDPOINT`.
        url: of the query API.
    """

    def __init__(self, *, otlp_endpoint: str, url: str, client: httpx.AsyncClient) -> None:
        self.otlp_endpoint = otlp_endpoint
        self.url = url
        self._client = client

    async def services(self) -> list[str]:
        """Return the names of the services that sent spans, sorted."""
        return sorted((await self._ask("/api/services"))["data"] or [])

    async def traces(self, service: str, *, limit: int = 200) -> list[Trace]:
        """Return the newest traces in which a service has spans."""
        return (await self._ask("/api/traces", service=service, limit=limit))["data"] or []

    async def trace(self, id: str) -> Trace | None:  # noqa: A002  the word for it
        """Return a trace by its id of 32 hex digits, or None while there is none."""
        found = (await self._ask(f"/api/traces/{id}", missing_ok=True))["data"]
        return found[0] if found else None

    async def _ask(self, path: str, *, missing_ok: bool = False, **query: str | int) -> dict[str, Any]:
        answer = await self._client.get(f"{self.url}{path}", params=query)
        if missing_ok and answer.status_code == HTTPStatus.NOT_FOUND:
            return {"data": None}
        return answer.raise_for_status().json()


@contextlib.asynccontextmanager
async def running_jaeger() -> AsyncGenerator[JaegerServer]:
    """Run a server for the length of the block; without the program skip, or fail in CI."""
    program = programs.required_program("jaeger")
    otlp, query = unused_port(), unused_port()
    with tempfile.TemporaryDirectory(prefix="jaeger", ignore_cleanup_errors=True) as folder:
        process = await _spawn(program, Path(folder) / "log", otlp, query)
        try:
            async with httpx.AsyncClient(timeout=20) as client:
                server = JaegerServer(otlp_endpoint=f"http://127.0.0.1:{otlp}", url=f"http://127.0.0.1:{query}", client=client)
                await eventually(lambda: _is_up(server, process))
                yield server
        finally:
            # What it keeps is in memory only: there is nothing to wait for.
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _spawn(program: Path, log: Path, otlp: int, query: int) -> asyncio.subprocess.Process:
    addresses = {name: unused_port() for name in _PORTS}
    addresses |= {"collector.otlp.http.host-port": otlp, "query.http-server.host-port": query}
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            program,
            *(f"--{name}=127.0.0.1:{port}" for name, port in addresses.items()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )


async def _is_up(server: JaegerServer, process: asyncio.subprocess.Process) -> bool:
    if process.returncode is not None:
        raise RuntimeError("jaeger ended at its start")
    try:
        await server.services()
    except httpx.HTTPError:
        return False
    return True
