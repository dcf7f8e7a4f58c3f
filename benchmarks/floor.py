"""The floor: the least that a gateway, a bus and a responder can cost, without isolation, policy, records or traces.

`python -m benchmarks.floor gateway PORT NATS_URL` is a raw ASGI callable that asks nats-py for an answer;
`python -m benchmarks.floor responder NATS_URL` is one nats-py subscription that gives it.
"""

import asyncio
import sys
from typing import Any

import nats
import uvicorn
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg

_SUBJECT = "floor.hello"
_ANSWER = b'{"hello":"world"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]


class Gateway:
    """Asks the bus for each answer."""

    def __init__(self, connection: Client) -> None:
        self._connection = connection

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one request (ASGI)."""
        answer = await self._connection.request(_SUBJECT, scope["raw_path"], timeout=5)
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": answer.data})


async def gateway(port: int, url: str) -> None:
    """Serve HTTP on loopback until ended."""
    connection = await nats.connect(url)  # pyright: ignore[reportUnknownMemberType]  untyped options
    app = Gateway(connection)
    config = uvicorn.Config(app, port=port, http="httptools", lifespan="off", access_log=False, log_level="warning")
    await uvicorn.Server(config).serve()


async def responder(url: str) -> None:
    """Answer on the bus until ended."""
    connection = await nats.connect(url)  # pyright: ignore[reportUnknownMemberType]  untyped options

    async def respond(message: Msg) -> None:
        await message.respond(_ANSWER)

    await connection.subscribe(_SUBJECT, cb=respond)  # pyright: ignore[reportUnknownMemberType]  its future parameter
    await asyncio.Event().wait()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["gateway", port, url]:
            uvloop.run(gateway(int(port), url))
        case ["responder", url]:
            uvloop.run(responder(url))
        case _:
            sys.exit(__doc__)
