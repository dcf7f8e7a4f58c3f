"""Control groups: the files that are written, for both generations, and what this machine's kernel makes of them."""

from pathlib import Path

import pytest

from libs.messages.calls import FailureCode
from libs.messages.catalog import Limits
from services.executor.sandbox import cgroups


def written(path: Path, value: int | str) -> None:
    """Write a file that the kernel would have there."""
    path.write_text(str(value))


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of plain files in place of the kernel's, which makes a group's files by itself."""
    monkeypatch.setattr(cgroups, "_write", written)
    return tmp_path


def own(mounts: Path, text: str) -> Path:
    """Write the file that names this process's groups."""
    path = mounts / "own"
    path.write_text(text)
    return path


def test_unified_groups_are_made_below_the_executors_own(mounts: Path) -> None:
    slice_ = mounts / "fnbus.slice"
    slice_.mkdir()
    (mounts / "cgroup.controllers").write_text("memory pids")
    (slice_ / "cgroup.subtree_control").write_text("")
    (slice_ / "cgroup.procs").write_text("41\n42\n")
    found = cgroups.find(mounts=mounts, own=own(mounts, "0::/fnbus.slice\n"))
    assert found is not None
    assert (found.name, found.memory) == ("cgroup v2", True)
    assert (slice_ / "fnbus-executor" / "cgroup.procs").read_text() == "42"
    assert (slice_ / "cgroup.subtree_control").read_text() == "+memory +pids"
    group = found.make()
    group.add([7])
    group.limit(Limits(memory_mb=64, processes=10))
    (folder,) = (path.parent for path in slice_.glob("fnbus-*/*/memory.max"))
    assert (folder.parent / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert (folder / "memory.max").read_text() == str(64 << 20)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "pids.max").read_text() == str(10 + cgroups.ROOM)
    assert group.pids() == [7]
    assert group.broken() is FailureCode.NONE
    (folder / "pids.events").write_text("max 3\n")
    assert group.broken() is FailureCode.PROCESS_LIMIT
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert group.broken() is FailureCode.MEMORY_LIMIT
    (slice_ / "memory.max").write_text("1000")
    (slice_ / "memory.current").write_text("400")
    assert found.headroom_bytes() == 600
    (slice_ / "memory.max").write_text("max")
    assert found.headroom_bytes() is None


def test_nothing_is_found_where_no_group_can_be_made(mounts: Path) -> None:
    assert cgroups.find(mounts=mounts, own=own(mounts, "0::/\n")) is None
    assert cgroups.find(mounts=mounts, own=mounts / "nothing") is None


def test_groups_of_executors_that_were_killed_are_removed(tmp_path: Path) -> None:
    dead = tmp_path / "pids" / "fnbus-4194399.abcd" / "1"
    dead.mkdir(parents=True)
    found = cgroups.find(mounts=tmp_path, own=own(tmp_path, "8:pids:/\n"))
    assert found is not None
    assert not found.memory
    assert list((tmp_path / "pids").iterdir()) == []


def test_a_container_s_own_group_is_the_root_of_its_mount(tmp_path: Path) -> None:
    (tmp_path / "pids").mkdir()
    assert cgroups.find(mounts=tmp_path, own=own(tmp_path, "8:pids:/docker/0123\n")) is not None


def test_groups_are_gone_when_their_workers_are() -> None:
    found = cgroups.find()
    if found is None:
        pytest.skip("no control groups here")
    before = set(Path("/sys/fs/cgroup").glob("*/fnbus-*"))
    group = found.make()
    group.limit(Limits())
    group.close()
    assert set(Path("/sys/fs/cgroup").glob("*/fnbus-*")) - before == set()
