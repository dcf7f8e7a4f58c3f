"""What every home of files does, wherever it keeps them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import pytest

from libs import errors
from services.registry.homes.attempts import alone
from services.registry.source.home import Change, Home

ONE, TWO = b"def handler(event): return 1\n", b"def handler(event): return 2\n"
HANDLER, CONFIG, ENV = "python/demo/handler.py", "python/demo/fn.config.json", "python/demo/fn.env.json"
PACK = ".fastfn/packs/python/http/requirements.txt"


async def write(home: Home, change: Change) -> None:
    async with home.exclusive():
        await home.write(change)


async def paths(home: Home) -> list[str]:
    """Return what is there, as a registry lists it."""
    await home.refresh()
    return [file.path for file in (await asyncio.to_thread(home.scan)).files]


async def content(home: Home, path: str) -> bytes:
    """Return what is in a file, as a registry reads it."""
    await paths(home)
    return await asyncio.to_thread(home.read, path)


async def test_files_are_there_once_they_are_written(home: Home) -> None:
    assert await paths(home) == []
    await write(home, Change(put={HANDLER: ONE, CONFIG: b"{}"}))
    assert await paths(home) == [CONFIG, HANDLER]
    assert (await content(home, HANDLER), await home.fetch(HANDLER, limit=100)) == (ONE, ONE)
    await write(home, Change(put={HANDLER: TWO}, remove=(CONFIG, "gone.py")))
    assert await paths(home) == [HANDLER]
    assert (await content(home, HANDLER), await home.fetch(HANDLER, limit=100)) == (TWO, TWO)


async def test_another_registry_sees_what_was_written(home: Home, other: Home) -> None:
    await write(home, Change(put={HANDLER: ONE}))
    assert await content(other, HANDLER) == ONE
    await write(other, Change(put={HANDLER: TWO}))
    assert await content(home, HANDLER) == TWO


async def test_another_registry_is_told_that_something_was_written(home: Home, other: Home) -> None:
    async def is_news() -> bool:
        return bool(await paths(other))

    async with aclosing(cast("AsyncGenerator[frozenset[str]]", other.watch(is_news=is_news))) as news:
        waiting = asyncio.ensure_future(anext(news))
        await write(home, Change(put={HANDLER: ONE}))
        await waiting
    assert await paths(other) == [HANDLER]


async def test_everything_is_there_for_the_next_process(home: Home, other: Home) -> None:
    await write(home, Change(put={HANDLER: ONE, ENV: b'{"A": "1"}', PACK: b"requests\n"}))
    assert await paths(other) == [PACK, ENV, HANDLER]
    assert await content(other, ENV) == b'{"A": "1"}'
    assert await content(other, PACK) == b"requests\n"


async def test_a_file_has_changed_when_it_was_written(home: Home) -> None:
    await write(home, Change(put={HANDLER: ONE, CONFIG: b"{}", ENV: b"{}"}))
    await paths(home)
    before = {file.path: file for file in home.scan().files}
    await write(home, Change(put={HANDLER: TWO, ENV: b'{"A": "1"}'}))
    await paths(home)
    after = {file.path: file for file in home.scan().files}
    assert {path for path in after if after[path] != before[path]} == {HANDLER, ENV}
    assert {path: file.size for path, file in after.items()} == {CONFIG: 2, ENV: 10, HANDLER: len(TWO)}


async def test_folder_goes_but_for_what_is_kept(home: Home) -> None:
    there = ("f/handler.py", "f/lib/a.py", "f/v2/handler.py", "f/acme/orders/handler.py", "f/acme/lib.py", "ff/x.py")
    await write(home, Change(put=dict.fromkeys(there, ONE)))
    await write(home, Change(clear="f", keep=("f/v2", "f/acme/orders")))
    assert await paths(home) == ["f/acme/orders/handler.py", "f/v2/handler.py", "ff/x.py"]
    await write(home, Change(clear="f"))
    assert await paths(home) == ["ff/x.py"]


@pytest.mark.parametrize("path", ["python/demo", "python/demo/handler.py/more.py"])
async def test_file_and_folder_cannot_have_one_name(home: Home, path: str) -> None:
    await write(home, Change(put={HANDLER: ONE}))
    with pytest.raises(errors.PermanentError):
        await write(home, Change(put={path: TWO}))
    assert await paths(home) == [HANDLER]


async def test_what_is_too_large_or_not_there_is_an_error_of_the_system(home: Home) -> None:
    await write(home, Change(put={HANDLER: bytes(11)}))
    await paths(home)
    with pytest.raises(OSError, match="larger than 10 bytes"):
        await asyncio.to_thread(home.read, HANDLER, limit=10)
    with pytest.raises(OSError, match="larger than 10 bytes"):
        await home.fetch(HANDLER, limit=10)
    with pytest.raises(FileNotFoundError):
        await home.fetch("gone.py", limit=10)
    with pytest.raises(FileNotFoundError):
        await asyncio.to_thread(home.read, "gone.py")


async def test_of_many_who_add_at_once_all_have_added(home: Home, other: Home) -> None:
    await write(home, Change(put={"count": b"0"}))

    async def add(to: Home) -> None:
        async def work() -> None:
            before = int(await content(to, "count"))
            await to.write(Change(put={"count": str(before + 1).encode()}))

        for _ in range(4):
            await alone(to, work)

    await asyncio.gather(add(home), add(other))
    assert await content(home, "count") == b"8"


async def test_binary_and_empty_files_stay_as_they_are(home: Home, other: Home) -> None:
    await write(home, Change(put={"a.bin": bytes(range(256)) * 4096, "empty.txt": b""}))
    assert await content(other, "empty.txt") == b""
    assert await other.fetch("a.bin", limit=2 * 1024 * 1024) == bytes(range(256)) * 4096


async def test_whoever_does_not_wait_is_told_at_once_that_a_change_is_being_made(home: Home) -> None:
    async with home.exclusive():
        with pytest.raises(errors.TemporaryError):
            async with home.exclusive(wait=False):
                pass
    async with home.exclusive(wait=False):
        await home.write(Change(put={HANDLER: ONE}))
    assert await paths(home) == [HANDLER]
