"""That changes in a real folder are noticed, and that half-written files are waited for."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from libs.testing.wait import eventually
from services.registry.homes.folder import FolderHome
from services.registry.source import watching
from services.registry.source.files import FileSource
from services.registry.source.snapshot import Snapshot
from services.registry.source.watching import Stamp


class Followed:
    """The newest snapshot of a folder that is being watched."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.ready = asyncio.Event()

    def names(self) -> list[str]:
        return [] if self.snapshot is None else [each.name for each in self.snapshot.functions]

    def digest(self) -> str:
        assert self.snapshot is not None
        return self.snapshot.functions[0].versions[0].bundle


@asynccontextmanager
async def following(root: Path) -> AsyncGenerator[Followed]:
    """Load the folder whenever it changes, as the registry does."""
    followed = Followed()
    source = FileSource(FolderHome(root))

    async def follow() -> None:
        changes = cast("AsyncGenerator[frozenset[str]]", source.watch())
        async with aclosing(changes):
            async for _ in changes:
                followed.snapshot = await source.load()
                followed.ready.set()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(follow())
        await asyncio.wait_for(followed.ready.wait(), 20)
        yield followed
        task.cancel()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / "first.py").write_text("1")
    return folder


async def test_saved_file_is_noticed(root: Path) -> None:
    async with following(root) as followed:
        before = followed.digest()
        (root / "first.py").write_text("2")
        await eventually(lambda: followed.digest() != before)


async def test_file_that_replaces_another_is_noticed(root: Path) -> None:
    async with following(root) as followed:
        before = followed.digest()
        (root / ".first.py.tmp").write_text("2")
        (root / ".first.py.tmp").rename(root / "first.py")
        await eventually(lambda: followed.digest() != before)


async def test_renamed_file_is_noticed(root: Path) -> None:
    async with following(root) as followed:
        (root / "first.py").rename(root / "second.py")
        await eventually(lambda: followed.names() == ["second.py"])


async def test_deleted_file_is_noticed(root: Path) -> None:
    async with following(root) as followed:
        (root / "first.py").unlink()
        await eventually(lambda: followed.names() == [])


async def test_new_folder_is_noticed_and_so_is_what_is_saved_in_it_later(root: Path) -> None:
    async with following(root) as followed:
        (root / "python" / "new").mkdir(parents=True)
        (root / "python" / "new" / "handler.py").write_text("x")
        await eventually(lambda: followed.names() == ["first.py", "new"])
        (root / "python" / "new" / "v2").mkdir()
        (root / "python" / "new" / "v2" / "handler.py").write_text("x")
        await eventually(lambda: len(function_labels(followed)) == 2)


async def test_folder_that_goes_and_comes_back_is_followed(root: Path) -> None:
    async with following(root) as followed:
        replace_folder(root)
        await eventually(lambda: followed.names() == ["again.py"])


async def test_folder_is_polled_when_there_are_no_notices(root: Path) -> None:
    async def nothing_new() -> bool:
        return False

    changes = cast(
        "AsyncGenerator[frozenset[str]]", watching.watch(root, is_news=nothing_new, pace=watching.Pace(poll=True, poll_ms=100))
    )
    async with aclosing(changes), asyncio.timeout(45):
        first = asyncio.ensure_future(anext(changes))
        at = 0
        while not first.done():
            at += 1
            (root / "first.py").write_text("x" * at)
            await asyncio.wait([first], timeout=0.5)
        assert first.result() == {"first.py"}


async def test_folder_is_polled_after_notices_have_failed(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    polled: list[object] = []

    async def failing(*_: object, force_polling: bool, **__: object) -> AsyncGenerator[set[tuple[object, str]]]:
        polled.append(force_polling)
        if not force_polling:
            raise OSError("inotify watch limit reached")
        yield {(None, str(root / "first.py"))}

    async def nothing_new() -> bool:
        return False

    monkeypatch.setattr(watching, "awatch", failing)
    changes = cast("AsyncGenerator[frozenset[str]]", watching.watch(root, is_news=nothing_new))
    async with aclosing(changes), asyncio.timeout(30):
        assert await anext(changes) == {"first.py"}
    assert polled == [False, True]
    assert "inotify watch limit reached" in caplog.text


async def test_rescan_finds_what_no_notice_told(root: Path) -> None:
    answers = iter([False, False, True])

    async def is_news() -> bool:
        return next(answers, False)

    changes = cast("AsyncGenerator[frozenset[str]]", watching.watch(root, is_news=is_news, rescan_ms=20))
    async with aclosing(changes), asyncio.timeout(30):
        assert await anext(changes) == frozenset()


async def test_watching_ends_at_once_when_it_is_cancelled(root: Path) -> None:
    async with asyncio.timeout(30), following(root):
        pass


def replace_folder(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()
    (root / "again.py").write_text("x")


def looks(*stamps: Stamp) -> tuple[Callable[[str], Stamp], list[Stamp]]:
    """Return a look at a file that shows one stamp after the other, and what it has shown."""
    shown: list[Stamp] = []

    def look(_path: str) -> Stamp:
        shown.append(stamps[min(len(shown), len(stamps) - 1)])
        return shown[-1]

    return look, shown


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([(5, 1, 1)], 2),
        ([None], 2),
        ([(5, 1, 1), (9, 2, 1), (12, 3, 1)], 4),
        ([(0, 1, 1), (0, 1, 1), (0, 1, 1), (7, 2, 1)], 5),
        ([(5, 1, 1), None, (7, 2, 1)], 4),
    ],
)
async def test_settling_waits_until_two_looks_agree_on_a_file_with_content(stamps: list[Stamp], expected: int) -> None:
    look, shown = looks(*stamps)
    await watching.settle(frozenset({"x"}), look=look, pause=0)
    assert len(shown) == expected


async def test_settling_gives_up_on_a_file_that_stays_empty_or_never_rests() -> None:
    look, shown = looks((0, 1, 1))
    await watching.settle(frozenset({"x"}), look=look, pause=0)
    assert len(shown) == watching.PATIENCE + 1


async def test_half_written_file_ends_up_whole(root: Path) -> None:
    async with following(root) as followed:
        with (root / "first.py").open("w") as file:
            file.write("def handler(event):\n")
            file.flush()
            file.write("    return 1\n")
        whole = (await FileSource(FolderHome(root)).load()).functions[0].versions[0].bundle
        await eventually(lambda: followed.digest() == whole)


def function_labels(followed: Followed) -> list[str]:
    assert followed.snapshot is not None
    return [version.found.label for each in followed.snapshot.functions if each.name == "new" for version in each.versions]
