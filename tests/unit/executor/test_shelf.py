"""A shelf of folders: fetched once, kept while they are needed, and removed when nobody needs them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs import errors
from libs.testing.wait import eventually
from services.executor.disk.shelf import Shelf, make_beside, settle


class Source:
    """Where folders come from."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.fault: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def have(self, _key: str, place: Path) -> Path:
        if exists(place):
            return place
        self.fetched.append(place.name)
        await self.go_on.wait()
        if self.fault is not None:
            raise self.fault
        write(place, place.name)
        return place


def exists(place: Path) -> bool:
    return place.is_dir()


def write(place: Path, text: str) -> None:
    beside = make_beside(place)
    (beside / "x").write_text(text)
    settle(beside, place)


@pytest.fixture
def source() -> Source:
    """Where the shelf's folders come from."""
    return Source()


@pytest.fixture
async def shelf(source: Source, tmp_path: Path) -> AsyncIterator[Shelf[Path]]:
    """A shelf."""
    async with asyncio.TaskGroup() as tasks:
        yield Shelf(what="book", folder=tmp_path / "books", tasks=tasks, have=source.have, at_once=2)


async def test_folder_is_fetched_once_when_many_ask(shelf: Shelf[Path], source: Source) -> None:
    shelf.prefetch("a")
    places = await asyncio.gather(*(shelf.get("a") for _ in range(5)))
    assert {(place / "x").read_text() for place in places} == {"a"}
    assert source.fetched == ["a"]


async def test_fetch_goes_on_when_one_of_those_who_wait_gives_up(shelf: Shelf[Path], source: Source) -> None:
    source.go_on.clear()
    async with asyncio.TaskGroup() as tasks:
        hasty, patient = (tasks.create_task(shelf.get("a")) for _ in range(2))
        await eventually(lambda: source.fetched)
        hasty.cancel()
        source.go_on.set()
    assert hasty.cancelled()
    assert patient.result().is_dir()


async def test_folder_that_is_asked_for_goes_before_thousands_that_may_be_needed_some_time(
    shelf: Shelf[Path], source: Source
) -> None:
    source.go_on.clear()
    for number in range(1000):
        shelf.use(f"later-{number}")
    asked = asyncio.ensure_future(shelf.get("later-999"))
    await eventually(lambda: "later-999" in source.fetched)
    assert len(source.fetched) < 10
    source.go_on.set()
    assert (await asked).is_dir()
    await eventually(lambda: len(source.fetched) == 1000)


@pytest.mark.parametrize(
    ("fault", "raised"), [(errors.PermanentError("no"), errors.PermanentError), (ValueError("no"), errors.UnavailableError)]
)
async def test_folder_that_could_not_be_had_is_tried_again_when_it_is_asked_for(
    shelf: Shelf[Path], source: Source, fault: Exception, raised: type[Exception]
) -> None:
    source.fault = fault
    with pytest.raises(raised, match="no"):
        await shelf.get("a")
    source.fault = None
    assert (await shelf.get("a")).is_dir()


async def test_folder_goes_when_the_last_version_that_needs_it_has_gone(shelf: Shelf[Path], tmp_path: Path) -> None:
    shelf.use("a")
    shelf.use("a")
    place = await shelf.get("a")
    shelf.disuse("a")
    assert place.is_dir()
    shelf.disuse("a")
    assert not place.exists()
    await eventually(lambda: not list((tmp_path / "books").iterdir()))
    assert (await shelf.get("a")).is_dir()


async def test_folder_goes_that_nobody_needs_any_more_when_it_arrives(
    shelf: Shelf[Path], source: Source, tmp_path: Path
) -> None:
    source.go_on.clear()
    shelf.use("a")
    await eventually(lambda: source.fetched)
    shelf.disuse("a")
    source.go_on.set()
    await eventually(lambda: (tmp_path / "books").is_dir() and not list((tmp_path / "books").iterdir()))


async def test_what_an_earlier_run_left_goes_unless_a_version_needs_it(shelf: Shelf[Path], tmp_path: Path) -> None:
    (tmp_path / "books" / "left").mkdir(parents=True)
    shelf.use("a")
    kept = await shelf.get("a")
    await shelf.tidy()
    assert list((tmp_path / "books").iterdir()) == [kept]


async def test_forgotten_folder_is_fetched_again(shelf: Shelf[Path], source: Source) -> None:
    (await shelf.get("a")).rename((await shelf.get("a")).with_name("elsewhere"))
    shelf.forget("a")
    await shelf.get("a")
    assert source.fetched == ["a", "a"]


def test_folder_that_another_has_settled_meanwhile_stays(tmp_path: Path) -> None:
    place = tmp_path / "books" / "a"
    mine = make_beside(place)
    write(place, "theirs")
    settle(mine, place)
    assert (place / "x").read_text() == "theirs"
    assert list(place.parent.iterdir()) == [place]
