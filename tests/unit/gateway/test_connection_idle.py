"""The one timer of a connection: it closes what is idle, and only that."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from libs.testing.wait import eventually
from services.gateway.connection import Connection, send_whole

_REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
_KEEP_ALIVE = 75


class Transport:
    """A socket that notes what is done to it."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 81)}.get(name, default)

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Timer:
    """A call to be made later."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.canceled = False

    def cancel(self) -> None:
        self.canceled = True


class Loop:
    """The running loop with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []
        self.create_task = asyncio.get_running_loop().create_task

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + seconds, call))
        return self.timers[-1]

    def go_to(self, now: float) -> None:
        self.now = now
        due = [timer for timer in self.timers if timer.at <= now and not timer.canceled]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            timer.call()


class Client:
    """A connection and both its ends."""

    def __init__(self) -> None:
        self.answer = asyncio.Event()
        self.answer.set()
        self.loop = Loop()
        self.transport = Transport()
        config = uvicorn.Config(
            self._app, interface="asgi3", ws="none", lifespan="off", log_config=None, timeout_keep_alive=_KEEP_ALIVE
        )
        self.connection = Connection(config, ServerState(), {}, _loop=cast("asyncio.AbstractEventLoop", self.loop))
        self.connection.connection_made(cast("asyncio.Transport", self.transport))

    async def _app(self, _scope: Any, _receive: Any, send: Any) -> None:
        await self.answer.wait()
        send_whole(send, 200, [(b"content-length", b"0")], b"")

    async def ask(self, count: int = 1) -> None:
        """Send requests at once and wait for all answers."""
        before = self.transport.written.count(b"200 OK")
        self.connection.data_received(_REQUEST * count)
        await eventually(lambda: self.transport.written.count(b"200 OK") == before + count)


@pytest.fixture
async def client() -> Client:
    return Client()


async def test_idle_connection_is_closed_when_its_time_is_up(client: Client) -> None:
    await client.ask()
    client.loop.go_to(1000 + _KEEP_ALIVE - 1)
    assert not client.transport.closed
    client.loop.go_to(1000 + _KEEP_ALIVE)
    assert client.transport.closed


async def test_connection_that_asks_again_has_its_whole_time_with_one_timer(client: Client) -> None:
    for second in range(5):
        client.loop.go_to(1000 + second)
        await client.ask(count=3)
        assert len(client.loop.timers) == 1
    client.loop.go_to(1004 + _KEEP_ALIVE - 1)
    assert not client.transport.closed
    client.loop.go_to(1004 + _KEEP_ALIVE)
    assert client.transport.closed


async def test_long_call_is_no_idleness(client: Client) -> None:
    await client.ask()
    client.answer.clear()
    client.connection.data_received(_REQUEST)
    client.loop.go_to(1000 + 10 * _KEEP_ALIVE)
    assert not client.transport.closed
    assert not client.loop.timers
    client.answer.set()
    await eventually(lambda: client.loop.timers)
    client.loop.go_to(1000 + 11 * _KEEP_ALIVE)
    assert client.transport.closed


async def test_lost_connection_leaves_no_timer(client: Client) -> None:
    await client.ask()
    client.connection.connection_lost(OSError("reset"))
    assert all(timer.canceled for timer in client.loop.timers)
