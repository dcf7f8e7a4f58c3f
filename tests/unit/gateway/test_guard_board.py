"""Sessions and overrides that all gateways share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from libs.clock import ManualClock
from libs.messages import subjects
from libs.testing.buses import MemoryNet
from libs.testing.wait import eventually
from services.gateway.guard.board import Board
from services.gateway.guard.flags import Flags

CLOCK = datetime(2026, 3, 1, tzinfo=UTC)


class Gateways:
    """Two gateways' boards, on one bus and one clock."""

    def __init__(self, net: MemoryNet) -> None:
        self.net = net
        self.clock = ManualClock(CLOCK)

    async def board(self, *, secret: str = "", followed: bool = True) -> Board:
        bus = await self.net.connect("gateway")
        board = Board(bus, clock=self.clock, flags=Flags(), secret=secret)
        if followed:
            self.tasks.append(asyncio.create_task(board.follow()))
        return board

    tasks: list[asyncio.Task[None]]


@pytest.fixture
async def gateways() -> AsyncIterator[Gateways]:
    made = Gateways(MemoryNet())
    made.tasks = []
    yield made
    for task in made.tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await made.net.close()


async def test_session_is_good_at_every_gateway_until_it_ends_at_any(gateways: Gateways) -> None:
    one, other = await gateways.board(), await gateways.board()
    token = await one.begin("ada", seconds=60)
    assert [await one.user(token), await other.user(token)] == ["ada", "ada"]
    await other.end(token)
    assert await other.user(token) == ""

    async def ended() -> bool:
        return not await one.user(token)

    await eventually(ended)


async def test_session_that_has_not_come_by_watch_is_looked_up(gateways: Gateways) -> None:
    one, late = await gateways.board(), await gateways.board(followed=False)
    token = await one.begin("ada", seconds=60)
    assert await asyncio.gather(*(late.user(token) for _ in range(5))) == ["ada"] * 5


async def test_session_ends_after_its_time(gateways: Gateways) -> None:
    board = await gateways.board()
    token = await board.begin("ada", seconds=60)
    gateways.clock.advance(timedelta(seconds=60))
    assert await board.user(token) == ""


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "A" * 5000, "ä" * 43])
async def test_token_that_nobody_was_given_is_nobodys(gateways: Gateways, token: str) -> None:
    board = await gateways.board()
    await board.begin("ada", seconds=60)
    assert await board.user(token) == ""


async def test_token_is_kept_nowhere(gateways: Gateways) -> None:
    board = await gateways.board()
    token = await board.begin("ada", seconds=60)
    bucket = await (await gateways.net.connect("reader")).bucket(subjects.CONSOLE_BUCKET)
    entry = await bucket.get("sessions")
    assert entry is not None
    assert entry.value is not None
    assert token.encode() not in entry.value
    assert b"ada" in entry.value


async def test_new_secret_ends_all_sessions(gateways: Gateways) -> None:
    board = await gateways.board(secret="one")
    token = await board.begin("ada", seconds=60)
    assert await (await gateways.board(secret="one")).user(token) == "ada"
    assert await (await gateways.board(secret="two")).user(token) == ""


async def test_oldest_session_ends_when_there_are_too_many(gateways: Gateways) -> None:
    board = await gateways.board()
    tokens = [await board.begin("ada", seconds=60) for _ in range(258)]
    assert [await board.user(token) for token in tokens[:3]] == ["", "", "ada"]
    assert await board.user(tokens[-1]) == "ada"


async def test_logins_at_the_same_time_lose_none(gateways: Gateways) -> None:
    one, other = await gateways.board(), await gateways.board()
    tokens = await asyncio.gather(*(board.begin("ada", seconds=60) for board in (one, other, one, other)))
    assert [await one.user(token) for token in tokens] == ["ada"] * 4


async def test_switches_are_overridden_at_every_gateway_and_reset(gateways: Gateways) -> None:
    one, other = await gateways.board(), await gateways.board()
    await one.override({"write_enabled": True})
    await one.override({"ui_enabled": True})
    assert one.flags == Flags(write_enabled=True, ui_enabled=True)
    await eventually(lambda: other.flags == one.flags)
    assert (await gateways.board()).flags == Flags()
    await other.reset()
    await eventually(lambda: one.flags == Flags())


async def test_board_goes_on_when_the_bus_is_back(gateways: Gateways) -> None:
    board, other = await gateways.board(), await gateways.board()
    await gateways.net.crash()
    assert await board.user("A" * 43) == ""
    await gateways.net.restart()
    await other.override({"ui_enabled": True})
    await eventually(lambda: board.flags.ui_enabled)
