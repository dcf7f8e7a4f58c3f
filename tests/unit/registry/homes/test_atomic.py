"""Files are written as a whole, and never through a symbolic link or out of the root."""

import asyncio
import sys
from pathlib import Path

import pytest

from libs import errors
from services.registry.homes import atomic
from services.registry.homes.folder import FolderHome


def test_write_makes_folders_and_leaves_no_draft(tmp_path: Path) -> None:
    atomic.write(tmp_path, "python/new/handler.py", b"code")
    assert (tmp_path / "python/new/handler.py").read_bytes() == b"code"
    assert [path.name for path in (tmp_path / "python/new").iterdir()] == ["handler.py"]


def test_write_puts_a_new_file_in_the_old_one_s_place_with_its_permissions(tmp_path: Path) -> None:
    file = tmp_path / "run.py"
    file.write_text("old")
    file.chmod(0o750)
    with file.open() as opened_before:
        atomic.write(tmp_path, "run.py", b"new")
        assert opened_before.read() == "old"
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o750)


@pytest.mark.parametrize("path", ["link/handler.py", "handler.py", "folder"])
def test_write_refuses_links_and_folders(tmp_path: Path, path: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "handler.py").write_text("precious")
    (root / "link").symlink_to(outside)
    (root / "handler.py").symlink_to(outside / "handler.py")
    (root / "folder").mkdir()
    with pytest.raises(errors.PermanentError):
        atomic.write(root, path, b"evil")
    assert (outside / "handler.py").read_text() == "precious"


def test_write_refuses_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("a file")
    with pytest.raises(errors.PermanentError):
        atomic.write(tmp_path, "python/new/handler.py", b"code")


def test_remove_takes_the_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "precious")
    atomic.remove(root, "link")
    atomic.remove(root, "link")
    atomic.remove(root, "nowhere/file")
    assert list(root.iterdir()) == []
    assert (tmp_path / "precious").exists()


def test_clear_removes_all_but_what_is_kept_and_follows_no_link(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (outside / "precious").write_text("x")
    for path in ("f/handler.py", "f/.deps/a/b.py", "f/v2/handler.py", "f/acme/orders/handler.py", "f/acme/lib.py"):
        atomic.write(root if root.exists() else _made(root), path, b"x")
    (root / "f" / "link").symlink_to(outside)
    atomic.clear(root, "f", keep=("f/v2", "f/acme/orders"))
    left = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    assert left == ["f/acme/orders/handler.py", "f/v2/handler.py"]
    atomic.clear(root, "f")
    assert list(root.iterdir()) == []
    assert (outside / "precious").exists()


def test_clear_refuses_a_link(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (outside / "precious").write_text("x")
    root.mkdir()
    (root / "f").symlink_to(outside)
    with pytest.raises(errors.PermanentError):
        atomic.clear(root, "f")
    assert (outside / "precious").exists()


def _files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def _made(root: Path) -> Path:
    root.mkdir()
    return root


_WRITER = """
import os, sys, time
from pathlib import Path
from services.registry.homes import atomic

def stuck(descriptor: int) -> None:
    print("written", flush=True)
    time.sleep(600)

os.fsync = stuck
atomic.write(Path(sys.argv[1]), "python/demo/fn.env.json", b"s3cret")
"""


async def test_draft_of_a_registry_that_was_killed_goes_when_the_next_one_starts(tmp_path: Path) -> None:
    atomic.write(tmp_path, "python/demo/fn.env.json", b"before")
    (tmp_path / "python/demo/.keep.abcdefabcdef").write_text("somebody's own")
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WRITER, str(tmp_path)), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[4]
    )
    assert writer.stdout is not None
    assert await writer.stdout.readline() == b"written\n"
    writer.kill()
    await writer.wait()
    assert any("s3cret" in path.read_text() for path in (tmp_path / "python/demo").iterdir())
    (tmp_path / "python/.old.0123456789ab.fnbus-draft/lib").mkdir(parents=True)

    home = FolderHome(tmp_path)
    async with FolderHome(tmp_path).exclusive():
        await home.refresh()  # somebody is writing: there are drafts
        assert len(list((tmp_path / "python/demo").iterdir())) == 3
    await home.refresh()

    assert _files(tmp_path) == {"python/demo/fn.env.json", "python/demo/.keep.abcdefabcdef"}
    assert (tmp_path / "python/demo/fn.env.json").read_text() == "before"
    assert [path.name for path in (tmp_path / "python").iterdir()] == ["demo"]
