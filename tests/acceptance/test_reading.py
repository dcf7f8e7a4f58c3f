"""Requests that a handler reads by and by, from a client's socket to each language and back, with two executors."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator

import httpx
import pytest

from libs.testing.cluster import Cluster, running_cluster
from libs.testing.hostile import write
from libs.testing.wait import eventually

PATIENCE = 60.0
CONFIG = {"methods": ["GET", "POST"], "timeout_ms": 60_000, "max_body_bytes": 4_000_000, "max_concurrency": 1}
ECHO = {
    "echo-node": ("handler.mjs", "export default (request) => new Response(request.body ?? 'nothing');\n"),
    "echo-deno": (
        "handler.ts",
        "export default (request: Request): Response => new Response(request.body ?? 'nothing');\n",
    ),
    "echo-asgi": (
        "handler.py",
        "async def app(scope, receive, send):\n"
        "    if scope['type'] != 'http':\n"
        "        return\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    more = True\n"
        "    while more:\n"
        "        message = await receive()\n"
        "        more = message['more_body']\n"
        "        await send({'type': 'http.response.body', 'body': message['body'], 'more_body': more})\n",
    ),
    "echo-wsgi": (
        "handler.py",
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return iter(environ['wsgi.input'].read1, b'')\n",
    ),
}
FUNCTIONS = {
    path: text
    for name, (file, code) in ECHO.items()
    for path, text in (
        (f"{name}/{file}", code),
        (f"{name}/fn.config.json", json.dumps(CONFIG | ({"runtime": "deno"} if name == "echo-deno" else {}))),
    )
} | {
    "whole/handler.py": "def handler(event):\n    return str(len(event['body']))\n",
    "whole/fn.config.json": json.dumps(CONFIG),
}

every_style = pytest.mark.parametrize("name", list(ECHO))


@pytest.fixture(scope="module")
async def reading(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Everything, with handlers that send back what they read."""
    folder = write(tmp_path_factory.mktemp("functions"), FUNCTIONS)
    async with running_cluster(tmp_path_factory.mktemp("reading"), folder, counts={"executor": 2}) as cluster:
        yield cluster


@contextlib.asynccontextmanager
async def upload(cluster: Cluster, name: str) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Begin a request that comes in chunks."""
    host, port = cluster.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(f"POST /{name} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode())
            yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@every_style
async def test_answer_comes_while_its_request_is_sent(reading: Cluster, name: str) -> None:
    async with upload(reading, name) as (reader, writer):
        for number in range(20):
            writer.write(b"6\r\npart%02d\r\n" % number)
            await reader.readuntil(b"part%02d" % number)
        writer.write(b"0\r\n\r\n")
        await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.write(f"GET /{name} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


@every_style
async def test_large_request_comes_back_as_it_went(reading: Cluster, name: str) -> None:
    body = os.urandom(3_500_000)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 50_000):
            yield body[at : at + 50_000]
            await asyncio.sleep(0)

    async with httpx.AsyncClient(base_url=reading.url, timeout=PATIENCE) as http:
        assert (await http.post(f"/{name}", content=body)).content == body
        assert (await http.post(f"/{name}", content=pieces())).content == body
        for _ in range(3):
            assert (await http.post("/whole", content=b"x" * 3_000_000)).text == "3000000"


@every_style
async def test_client_that_leaves_in_the_middle_frees_the_only_slot(reading: Cluster, name: str) -> None:
    async with upload(reading, name) as (reader, writer):
        writer.write(b"5\r\nfirst\r\n")
        await reader.readuntil(b"first")
        writer.transport.abort()

    async with httpx.AsyncClient(base_url=reading.url, timeout=PATIENCE) as http:

        async def free() -> bool:
            return (await http.get(f"/{name}")).status_code == 200

        await eventually(free, within=PATIENCE)


async def test_request_over_the_limit_is_refused_while_it_is_sent(reading: Cluster) -> None:
    async with upload(reading, "whole") as (reader, writer):
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (4_000_001, bytes(4_000_001)))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
