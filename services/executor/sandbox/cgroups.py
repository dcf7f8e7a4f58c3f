"""Control groups: memory and processes of a worker bounded by the kernel, where the machine lets the executor make groups.

Two generations of the kernel's interface stand behind one small one. `find` tells which there is; `None` means that rlimits
and the watchdog have to do. Every worker has a group of its own below the one that the executor runs in, so that whatever
bounds the executor as a whole bounds its workers too.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from libs.messages.calls import FailureCode
from libs.messages.catalog import Limits
from services.executor.sandbox import procfs

ROOM = 8
"""Processes that the kernel allows beyond a worker's limit: the watchdog, which tells why a worker ends, comes first."""

_MIB = 1024 * 1024
_PREFIX = "fnbus-"
_MOUNTS = Path("/sys/fs/cgroup")


class Group(Protocol):
    """The group of one worker."""

    def add(self, pids: Iterable[int]) -> None:
        """Move processes into the group, with all their threads; those that have gone are left out.

        Raises:
            OSError: the kernel refuses.
        """
        ...

    def limit(self, limits: Limits) -> None:
        """Bound the group.

        Raises:
            OSError: the kernel refuses.
        """
        ...

    def pids(self) -> list[int]:
        """Return the processes of the group."""
        ...

    def processes(self) -> int:
        """Return how many processes and threads are in the group."""
        ...

    def broken(self) -> FailureCode:
        """Return which limit the kernel has enforced on the group so far, `NONE` when it has not."""
        ...

    def close(self) -> None:
        """Remove the group; nothing runs in it any more."""
        ...


class Groups(Protocol):
    """Makes groups."""

    @property
    def name(self) -> str:
        """`cgroup v1` or `cgroup v2`."""
        ...

    @property
    def memory(self) -> bool:
        """Whether memory is bounded; processes alone may be."""
        ...

    def make(self) -> Group:
        """Return a new group.

        Raises:
            OSError: the kernel refuses.
        """
        ...

    def headroom_bytes(self) -> int | None:
        """Return what the executor and its workers may still use together; None when nothing bounds them."""
        ...

    def close(self) -> None:
        """Remove what was made for this executor; its workers have ended."""
        ...


def find(*, mounts: Path = _MOUNTS, own: Path = Path("/proc/self/cgroup")) -> Groups | None:
    """Return what this machine offers, after trying it; groups that dead executors have left are removed."""
    try:
        places = dict(_places(own.read_text()))
    except OSError:
        return None
    for found in (_Unified.find(mounts, places), _Legacy.find(mounts, places)):
        if found is not None:
            return found
    return None


class _Folders:
    """Workers' groups in a folder of this executor below the groups that it runs in, one per hierarchy.

    The executor's folder exists only while there are workers, so that nothing is left of an executor that ended well.
    """

    def __init__(self, parents: Iterable[Path], *, control: str = "") -> None:
        """Try it: make the executor's folder and remove it again.

        Args:
            parents: where it lies.
            control: what has to be written to its `cgroup.subtree_control`.

        Raises:
            OSError: the kernel does not allow it.
        """
        self._parents = tuple(parents)
        self._control = control
        self._own: list[Path] = []
        self._held: set[Path] = set()
        self._left: set[Path] = set()
        for parent in self._parents:
            _remove_stale(parent)
        self._open()
        self.remove()

    def make(self) -> list[Path]:
        """Return new folders for a worker."""
        if not self._own:
            self._open()
        made = [_new(own, "") for own in self._own]
        self._held.update(made)
        return made

    def discard(self, folders: list[Path]) -> None:
        """Remove a worker's folders; for a moment after its end the kernel may still hold them, then it is tried later."""
        self._held.difference_update(folders)
        self._left.update(folders)
        self._left = {folder for folder in self._left if not _remove(folder)}
        if not self._held and not self._left:
            self.remove()

    def remove(self) -> None:
        """Remove everything."""
        for own in self._own:
            _remove(own)
        self._own = []

    def _open(self) -> None:
        self._own = [_new(parent, f"{_PREFIX}{os.getpid()}.") for parent in self._parents]
        if self._control:
            for own in self._own:
                _write(own / "cgroup.subtree_control", self._control)


class _Group:
    """What both generations have in common."""

    def __init__(self, home: _Folders) -> None:
        self._home = home
        self._folders = home.make()

    def add(self, pids: Iterable[int]) -> None:
        for pid in pids:
            for folder in self._folders:
                try:
                    _write(folder / "cgroup.procs", pid)
                except OSError as error:
                    if error.errno != errno.ESRCH:
                        raise

    def pids(self) -> list[int]:
        try:
            return [int(each) for each in (self._folders[0] / "cgroup.procs").read_text().split()]
        except OSError:
            return []

    def processes(self) -> int:
        try:
            return int((self._folders[-1] / "pids.current").read_text())
        except OSError:
            return 0

    def close(self) -> None:
        self._home.discard(self._folders)


class _UnifiedGroup(_Group):
    def __init__(self, home: _Folders) -> None:
        super().__init__(home)
        self._kills = str(self._folders[0] / "memory.events")
        self._refusals = str(self._folders[0] / "pids.events")

    def limit(self, limits: Limits) -> None:
        folder = self._folders[0]
        _write(folder / "memory.max", limits.memory_mb * _MIB)
        with contextlib.suppress(OSError):  # no swap, or no accounting of it
            _write(folder / "memory.swap.max", 0)
        with contextlib.suppress(OSError):  # before Linux 4.19
            _write(folder / "memory.oom.group", 1)
        _write(folder / "pids.max", limits.processes + ROOM)

    def broken(self) -> FailureCode:
        if _counter(self._kills, b"oom_kill"):
            return FailureCode.MEMORY_LIMIT
        return FailureCode.PROCESS_LIMIT if _counter(self._refusals, b"max") else FailureCode.NONE


class _Unified:
    """cgroup v2, delegated to the executor."""

    name = "cgroup v2"
    memory = True

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._folders = _Folders((parent,), control="+memory +pids")

    @classmethod
    def find(cls, mounts: Path, places: dict[str, str]) -> "_Unified | None":
        if "" not in places or not (mounts / "cgroup.controllers").exists():
            return None
        parent = _folder(mounts, places[""])
        try:
            # The kernel lets a group have processes or controlled children: the executor itself moves into one of its own.
            if not {"memory", "pids"} <= set((parent / "cgroup.subtree_control").read_text().split()):
                inner = parent / f"{_PREFIX}executor"
                inner.mkdir(exist_ok=True)
                for pid in (parent / "cgroup.procs").read_text().split():
                    _write(inner / "cgroup.procs", pid)
                _write(parent / "cgroup.subtree_control", "+memory +pids")
            return cls(parent)
        except OSError:
            return None

    def make(self) -> Group:
        return _UnifiedGroup(self._folders)

    def headroom_bytes(self) -> int | None:
        return _headroom(self._parent / "memory.max", self._parent / "memory.current")

    def close(self) -> None:
        self._folders.remove()


class _LegacyGroup(_Group):
    def __init__(self, home: _Folders, *, memory: bool) -> None:
        super().__init__(home)
        self._memory = self._folders[0] if memory else None
        self._pids = self._folders[-1]
        self._kills = str(self._memory / "memory.oom_control") if self._memory is not None else ""
        self._refusals = str(self._pids / "pids.events")

    def limit(self, limits: Limits) -> None:
        if self._memory is not None:
            most = limits.memory_mb * _MIB
            _write(self._memory / "memory.limit_in_bytes", most)
            with contextlib.suppress(OSError):  # a kernel that does not account for swap
                _write(self._memory / "memory.memsw.limit_in_bytes", most)
        _write(self._pids / "pids.max", limits.processes + ROOM)

    def broken(self) -> FailureCode:
        if self._kills and _counter(self._kills, b"oom_kill"):
            return FailureCode.MEMORY_LIMIT
        return FailureCode.PROCESS_LIMIT if _counter(self._refusals, b"max") else FailureCode.NONE


class _Legacy:
    """cgroup v1, with a hierarchy for each controller."""

    name = "cgroup v1"

    def __init__(self, memory: Path | None, pids: Path) -> None:
        self.memory = memory is not None
        self._parent = memory
        self._folders = _Folders((memory, pids) if memory else (pids,))

    @classmethod
    def find(cls, mounts: Path, places: dict[str, str]) -> "_Legacy | None":
        folders = {name: _folder(mounts / name, places[name]) for name in ("memory", "pids") if name in places}
        writable = {name: path for name, path in folders.items() if os.access(path, os.W_OK)}
        if "pids" not in writable:
            return None
        try:
            return cls(writable.get("memory"), writable["pids"])
        except OSError:
            return None

    def make(self) -> Group:
        return _LegacyGroup(self._folders, memory=self.memory)

    def headroom_bytes(self) -> int | None:
        if self._parent is None:
            return None
        return _headroom(self._parent / "memory.limit_in_bytes", self._parent / "memory.usage_in_bytes")

    def close(self) -> None:
        self._folders.remove()


def _places(text: str) -> Iterator[tuple[str, str]]:
    """Read `/proc/self/cgroup`: the group of this process by controller; the unified hierarchy has an empty name."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _folder(mount: Path, place: str) -> Path:
    """Return the folder of a group; a container may see its own as the root of the mount although its name is longer."""
    inner = mount / place.lstrip("/")
    return inner if inner.is_dir() else mount


def _remove_stale(parent: Path) -> None:
    """Remove the groups of executors that were killed."""
    for old in parent.glob(f"{_PREFIX}*"):
        pid = old.name.removeprefix(_PREFIX).partition(".")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            _remove(old)


def _new(parent: Path, prefix: str) -> Path:
    """Make a folder of a new name."""
    folder = parent / f"{prefix}{secrets.token_hex(4)}"
    folder.mkdir()
    return folder


def _remove(folder: Path) -> bool:
    """Remove a group and those in it; return whether it is gone: one that still holds a process is not."""
    with contextlib.suppress(OSError):
        for inner in folder.iterdir():
            if inner.is_dir():
                _remove(inner)
    with contextlib.suppress(FileNotFoundError):
        try:
            folder.rmdir()
        except OSError:
            return False
    return True


def _write(path: Path, value: int | str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)


def _counter(path: str, name: bytes) -> int:
    lines = (line.partition(b" ") for line in procfs.read(path).splitlines())
    return next((int(value) for key, _, value in lines if key == name), 0)


def _headroom(limit: Path, used: Path) -> int | None:
    try:
        most, now = limit.read_text().strip(), int(used.read_text())
    except (OSError, ValueError):
        return None
    unbounded = 1 << 60
    return None if most == "max" or int(most) >= unbounded else int(most) - now
