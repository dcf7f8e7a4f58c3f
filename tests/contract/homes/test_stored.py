"""What files in a store promise beyond what a folder can: changes of many files as a whole, and the loser is told."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from libs import errors
from libs.clock import ManualClock, SystemClock
from libs.secrets import KeyRing
from libs.storage.memory import MemoryStore
from libs.storage.port import Store, StoreUnavailableError
from libs.storage.sqlite import SqliteStore
from services.registry.homes.stored import FILES, StoredHome
from services.registry.source.files import FileSource
from services.registry.source.home import Change, MovedError

_ROOT = Path(__file__).parents[3]
_FILES = 40
OLD = {f"python/demo/{number}.py": b"old" for number in range(3)}
NEW = dict.fromkeys(OLD, b"new")
ENV = "python/demo/fn.env.json"


class Mortal:
    """A store that dies after so many writes, as its process might."""

    def __init__(self, store: Store, writes: int) -> None:
        self._store = store
        self._left = writes

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._store, name)
        if name not in ("insert", "insert_many", "replace", "delete"):
            return work

        async def counted(*arguments: Any, **more: Any) -> Any:
            if self._left == 0:
                raise StoreUnavailableError("dead")
            self._left -= 1
            return await work(*arguments, **more)

        return counted


def opened(store: Store, clock: ManualClock, ring: KeyRing | None = None) -> StoredHome:
    return StoredHome(store=store, sealer=ring or KeyRing.parse(KeyRing.generate()), clock=clock)


async def files(home: StoredHome) -> dict[str, bytes]:
    await home.refresh()
    return {file.path: await home.fetch(file.path, limit=10_000) for file in home.scan().files}


async def documents(store: Store) -> list[dict[str, Any]]:
    return await store.find(FILES)


@pytest.fixture
async def store(open_store: Callable[[], Awaitable[Store]]) -> AsyncIterator[Store]:
    """A store, closed after the test."""
    store = await open_store()
    yield store
    await store.close()


@pytest.mark.parametrize("writes", range(4))
async def test_change_of_many_files_is_made_as_a_whole_wherever_it_is_broken_off(
    store: Store, clock: ManualClock, writes: int
) -> None:
    home = opened(store, clock)
    await home.refresh()
    await home.write(Change(put=OLD))
    doomed = opened(Mortal(store, writes), clock)  # pyright: ignore[reportArgumentType]  it passes on all that it is asked
    await doomed.refresh()
    try:
        await doomed.write(Change(put=NEW))
        assert await files(home) == NEW
    except errors.UnavailableError:
        assert await files(home) == OLD


async def test_change_is_a_whole_when_its_process_is_killed(tmp_path: Path) -> None:
    database = tmp_path / "registry.sqlite3"
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, str(database)),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
    )
    try:
        assert writer.stdout is not None
        for _ in range(20):
            assert await writer.stdout.readline()
    finally:
        writer.send_signal(signal.SIGKILL)
        await writer.wait()
    store = await SqliteStore.open(database)
    home = StoredHome(store=store, sealer=KeyRing.parse(KeyRing.generate()), clock=SystemClock())
    found = await files(home)
    await store.close()
    assert len(found) == _FILES
    assert len(set(found.values())) == 1


async def test_of_two_who_saw_the_same_the_second_is_told(store: Store, clock: ManualClock) -> None:
    first, second = opened(store, clock), opened(store, clock)
    async with first.exclusive(), second.exclusive():
        await first.write(Change(put={"a.py": b"first"}))
        with pytest.raises(MovedError):
            await second.write(Change(put={"b.py": b"second"}))
    assert await files(second) == {"a.py": b"first"}
    async with second.exclusive():
        await second.write(Change(put={"b.py": b"second"}))
    assert await files(first) == {"a.py": b"first", "b.py": b"second"}


async def test_what_was_seen_is_what_was_there_when_the_change_began(store: Store, clock: ManualClock) -> None:
    first, second = opened(store, clock), opened(store, clock)
    async with second.exclusive():
        await first.refresh()
        await first.write(Change(put={"a.py": b"first"}))
        await second.refresh()  # as its deployments do by themselves
        with pytest.raises(MovedError):
            await second.write(Change(put={"a.py": b"second"}))
    assert await files(second) == {"a.py": b"first"}


async def test_change_is_taken_back_whatever_others_have_changed(store: Store, clock: ManualClock) -> None:
    first, second = opened(store, clock), opened(store, clock)
    async with first.exclusive():
        await first.write(Change(put={"a.py": b"bad", "b.py": b"bad"}))
        await second.refresh()
        await second.write(Change(put={"b.py": b"another's", "c.py": b"another's"}))
        await first.write(Change(remove=("a.py", "b.py"), takes_back=True))
    assert await files(first) == {"b.py": b"another's", "c.py": b"another's"}


async def test_environment_values_are_sealed_at_rest(store: Store, clock: ManualClock) -> None:
    home = opened(store, clock)
    await home.refresh()
    await home.write(Change(put={ENV: b'{"TOKEN": "s3cret"}', "x/FN.ENV.JSON": b"s3cret", "x/plain.txt": b"plain"}))
    assert (await files(home))[ENV] == b'{"TOKEN": "s3cret"}'
    kept = repr(await documents(store))
    assert "s3cret" not in kept
    assert "plain" in kept


async def test_environment_values_need_keys(clock: ManualClock) -> None:
    store = MemoryStore()
    home = opened(store, clock)
    await home.refresh()
    await home.write(Change(put={ENV: b"{}"}))
    stranger = opened(store, clock)
    await stranger.refresh()
    with pytest.raises(OSError, match="cannot be unsealed"):
        await stranger.fetch(ENV, limit=100)


async def test_environment_values_are_sealed_anew_under_a_new_key(store: Store, clock: ManualClock) -> None:
    old, new = KeyRing.generate("k1"), KeyRing.generate("k2")
    home = opened(store, clock, KeyRing.parse(old))
    await home.refresh()
    await home.write(Change(put={ENV: b'{"A": "1"}'}))
    await opened(store, clock, KeyRing.parse(f"{new},{old}")).refresh()
    assert (await files(opened(store, clock, KeyRing.parse(new))))[ENV] == b'{"A": "1"}'


async def test_what_is_not_needed_any_more_goes_after_a_while(store: Store, clock: ManualClock) -> None:
    home = opened(store, clock)
    await home.refresh()
    for number in range(5):
        await home.write(Change(put={"a.py": b"%d" % number}))
    assert len(await documents(store)) == 11  # for somebody may be reading
    clock.advance(timedelta(hours=2))
    await home.write(Change(put={"b.py": b"new"}))
    assert len(await documents(store)) == 5  # the head, two files, the list, and the list before
    assert await files(opened(store, clock)) == {"a.py": b"4", "b.py": b"new"}


async def test_what_has_not_changed_is_not_looked_through_again(store: Store, clock: ManualClock) -> None:
    home, other = opened(store, clock), opened(store, clock)
    source = FileSource(home)
    await home.refresh()
    await home.write(Change(put={"get.hello.py": b"def handler(event): ...\n"}))
    first = await source.load()
    assert await source.load() is first
    await other.refresh()
    await other.write(Change(put={"get.other.py": b"def handler(event): ...\n"}))
    assert [function.name for function in (await source.load()).functions] == ["get.hello.py", "get.other.py"]


async def test_store_that_is_away_is_no_fault_of_a_file(clock: ManualClock) -> None:
    store = MemoryStore()
    home = opened(store, clock)
    await home.refresh()
    await home.write(Change(put={"a.py": b"x"}))
    late = opened(store, clock)
    await late.refresh()
    home.scan()
    store.reachable = False
    with pytest.raises(errors.UnavailableError):
        await home.refresh()
    assert await asyncio.to_thread(home.read, "a.py") == b"x"


async def _write_for_ever(database: Path) -> None:
    store = await SqliteStore.open(database)
    home = StoredHome(store=store, sealer=KeyRing.parse(KeyRing.generate()), clock=SystemClock())
    await home.refresh()
    number = 0
    while True:
        number += 1
        await home.write(Change(put={f"f/{each}.txt": b"%d" % number for each in range(_FILES)}))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_write_for_ever(Path(sys.argv[1])))
