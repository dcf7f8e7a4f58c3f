"""Folders that hold far too much: what is wrong is said in a line, and everything else goes on."""

import os
from pathlib import Path

import pytest

from services.registry.homes.folder import FolderHome
from services.registry.source import listing
from services.registry.source.files import FileSource
from services.registry.source.snapshot import Snapshot

HANDLER = "def handler(event):\n    return 1\n"
HUGE = 100 * 1024 * 1024


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(HANDLER)


def write_huge(path: Path) -> None:
    """Write a file of 100 MB that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(HUGE)


def write_many(folder: Path) -> None:
    for number in range(10_000):
        (folder / f"{number}.dat").write_bytes(b"x")


def names(snapshot: Snapshot) -> list[str]:
    return [function.name for function in snapshot.functions]


def said(snapshot: Snapshot) -> list[str]:
    return [f"{problem.path}: {problem.message}" for problem in snapshot.problems]


async def test_function_of_ten_thousand_files_is_named_and_the_others_live(tmp_path: Path) -> None:
    write(tmp_path, "get.a.py", "python/big/handler.py", "python/small/handler.py")
    write_many(tmp_path / "python" / "big")
    snapshot = await FileSource(FolderHome(tmp_path)).load()
    assert names(snapshot) == ["get.a.py", "small"]
    assert said(snapshot) == ["python/big/handler.py: its bundle has 10001 files, more than 2000"]
    assert snapshot.broken == {("python", "big")}


async def test_function_with_a_file_of_100_mb_is_named_and_the_others_live(tmp_path: Path) -> None:
    write(tmp_path, "python/big/handler.py", "python/small/handler.py")
    write_huge(tmp_path / "python" / "big" / "model.bin")
    snapshot = await FileSource(FolderHome(tmp_path)).load()
    assert names(snapshot) == ["small"]
    assert said(snapshot) == [f"python/big/handler.py: its bundle has {HUGE + len(HANDLER)} bytes, more than 33554432"]


@pytest.mark.parametrize("how", ["huge", "many"])
async def test_routes_live_beside_data_that_is_too_much_and_still_find_their_modules(tmp_path: Path, how: str) -> None:
    write(tmp_path, "get.a.py", "get.b.py", "_lib/words.py")
    if how == "huge":
        write_huge(tmp_path / "video.mp4")
    else:
        write_many(tmp_path)
    source = FileSource(FolderHome(tmp_path))
    snapshot = await source.load()
    assert names(snapshot) == ["get.a.py", "get.b.py"]
    [problem] = said(snapshot)
    assert problem.startswith(".: its routes find only source files beside them: with the others its bundle has ")
    bundle = await source.bundle(snapshot.functions[0].versions[0].found)
    assert [file.path for file in bundle.files] == ["_lib/words.py", "get.a.py"]


async def test_two_names_that_mean_one_route_are_a_conflict_that_is_named(tmp_path: Path) -> None:
    write(tmp_path, "get.Hello.py", "get.hello.py", "get.café.py", "get.cafè.py")
    snapshot = await FileSource(FolderHome(tmp_path)).load()
    assert snapshot.conflicts == ("/caf-", "/hello")
    assert len(snapshot.problems) == 2


def test_pipe_that_took_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fn.config.json")
    assert listing.read_small(tmp_path, "fn.config.json") == b""
    assert listing.scan(tmp_path).files == ()
