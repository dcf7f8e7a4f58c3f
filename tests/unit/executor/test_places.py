"""Places: filled with links or copies, gone with their worker, and swept when an executor was killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from libs.testing.wait import eventually
from services.executor.workers.places import Places, Source


@pytest.fixture
def files(tmp_path: Path) -> Source:
    """A bundle's folder."""
    folder = tmp_path / "bundle"
    (folder / "lib").mkdir(parents=True)
    for name in ("handler.py", "lib/deep.py"):
        (folder / name).write_text(name)
        (folder / name).chmod(0o444)
    return Source(folder=folder, files=2)


async def test_place_is_empty_first_and_then_holds_links_to_the_files(tmp_path: Path, files: Source) -> None:
    place = Places(tmp_path / "workers").new()
    assert not os.listdir(place.code)
    await place.fill([files], writable=False)
    assert (place.code / "lib" / "deep.py").read_text() == "lib/deep.py"
    assert (place.code / "handler.py").samefile(files.folder / "handler.py")


async def test_place_holds_copies_when_the_guest_may_write(tmp_path: Path, files: Source) -> None:
    place = Places(tmp_path / "workers").new()
    await place.fill([files], writable=True)
    (place.code / "handler.py").write_text("changed")
    assert (files.folder / "handler.py").read_text() == "handler.py"
    assert (place.code / "lib").stat().st_mode & 0o777 == 0o777


async def test_place_puts_a_layer_below_its_mount_and_keeps_the_bundle_s_own_files(tmp_path: Path, files: Source) -> None:
    layer = tmp_path / "layer"
    (layer / "package").mkdir(parents=True)
    (layer / "package" / "a.py").write_text("a")
    (layer / "link").symlink_to("package/a.py")
    place = Places(tmp_path / "workers").new()
    await place.fill([files, Source(folder=layer, mount=".deps"), Source(folder=layer, mount="lib")], writable=False)
    assert (place.code / ".deps" / "link").read_text() == "a"
    assert (place.code / "lib" / "deep.py").read_text() == "lib/deep.py"
    assert (place.code / "lib" / "package" / "a.py").exists()


async def test_place_is_gone_when_it_was_removed_while_or_after_it_was_filled(tmp_path: Path, files: Source) -> None:
    places = Places(tmp_path / "workers")
    small, large = places.new(), places.new()
    await small.fill([files], writable=False)
    await large.fill([files], writable=True)
    small.remove()
    large.remove()
    assert not small.code.exists()
    await eventually(lambda: not large.code.parent.exists())
    assert (files.folder / "handler.py").exists()


def test_places_of_a_dead_executor_are_removed_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    program = "import sys, os, pathlib; from services.executor.workers.places import Places; " + (
        "Places(pathlib.Path(sys.argv[1])).new(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert len(list(tmp_path.glob("executor-*/*/code"))) == 1
    living = Places(tmp_path)
    place = living.new()
    other = Places(tmp_path)
    assert list(tmp_path.glob("executor-*/*/code")) == [place.code]
    other.close()
    living.close()
    assert not list(tmp_path.iterdir())
