"""Every place where the files of functions may be; a test never knows which one it has."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from libs.clock import ManualClock
from libs.secrets import KeyRing
from libs.storage.port import Store
from services.registry.homes.folder import FolderHome
from services.registry.homes.stored import StoredHome
from services.registry.source.home import Home

RING = KeyRing.parse(KeyRing.generate())

type OpenHome = Callable[[], Awaitable[Home]]


@pytest.fixture
def clock() -> ManualClock:
    """The time by which files are stamped."""
    return ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture
async def closed_later() -> AsyncIterator[AsyncExitStack]:
    """Closes what a test has opened."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture(params=["folder", "memory", "sqlite", "mongo"])
def open_home(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, closed_later: AsyncExitStack) -> OpenHome:
    """Opens the files under test; each call is another registry's look at the same files."""
    root = tmp_path / "functions"
    root.mkdir()

    async def folder() -> Home:
        return FolderHome(root)

    if request.param == "folder":
        return folder
    open_store: Callable[[], Awaitable[Store]] = request.getfixturevalue(f"open_{request.param}_store")

    async def stored() -> Home:
        store = await open_store()
        closed_later.push_async_callback(store.close)
        home = StoredHome(store=store, sealer=RING, clock=clock, poll_seconds=0.01)
        await home.refresh()
        return home

    return stored


@pytest.fixture
async def home(open_home: OpenHome) -> Home:
    """The files, as one registry has them."""
    return await open_home()


@pytest.fixture
async def other(open_home: OpenHome, home: Home) -> Home:
    """The same files, as another registry has them."""
    del home  # is first
    return await open_home()
