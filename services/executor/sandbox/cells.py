"""Cells: a running worker's limits and use, by `/proc`, `prlimit` and, where there are any, control groups."""

import contextlib
import os
import resource
import time
from collections.abc import Callable

from libs.messages.calls import FailureCode
from libs.messages.catalog import Limits
from services.executor.sandbox import procfs, rlimits
from services.executor.sandbox.base import Usage
from services.executor.sandbox.cgroups import ROOM, Group

_MIB = 1024 * 1024
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
_STACK = (8 * _MIB, 64 * _MIB)
_LOCKED_BYTES = 8 * _MIB
_RESERVES_BYTES = 1024 * _MIB
"""A guest that has taken this much address space before it ran anything is V8, which an address space limit breaks."""
_SPACE_ROOM_BYTES = 4096 * _MIB
"""Address space beyond the memory limit: a bound for bombs that are faster than the watchdog, no measure of use."""
_MEMORY_FOLDERS = ("tmp", "dev/shm")
_INODE_BYTES = 1024
"""What the kernel keeps of a file in them, an empty one too: their number is bounded by nothing else."""


def memory_text(limits: Limits, used: int = 0) -> str:
    """Return the words for a worker that used too much memory."""
    return f"memory limit of {limits.memory_mb} MB exceeded" + (f" (used {round(used / _MIB)} MB)" if used else "")


def process_text(limits: Limits) -> str:
    """Return the words for a worker with too many processes and threads."""
    return f"process limit of {limits.processes} exceeded"


class WorkerCell:
    """A worker known by the process of its guest and the root of its processes."""

    def __init__(
        self,
        pid: int,
        *,
        init: int = 0,
        group: Group | None = None,
        on_limit: Callable[[int], None] | None = None,
    ) -> None:
        """Look at a running worker.

        Args:
            pid: the guest's process.
            init: process 1 of its namespace, by the host's numbers; 0 when it has none.
            group: its control group, which it is in already.
            on_limit: told the guest's process when limits are set: what the sandbox does at that moment.
        """
        self.pid = pid
        self._init = init
        self._group = group
        self._on_limit = on_limit
        self._on_close: Callable[[], None] | None = None
        self._limits: Limits | None = None
        self._verdict: tuple[FailureCode, str] | None = None
        self._clock = (~pid << 3) | 2
        self._statm = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)

    def on_close(self, done: Callable[[], None]) -> None:
        """Have `done` called once the worker has gone: what the sandbox has to give back, the group included."""
        self._on_close = done

    def limit(self, limits: Limits) -> None:
        """Set rlimits and, when there is a group, its bounds."""
        self._limits = limits
        if self._group is not None:
            self._group.limit(limits)
        disk = limits.disk_mb * _MIB
        processes = limits.processes + 2 * ROOM  # above the group's bound, which keeps count of what it refused
        wanted = [
            (resource.RLIMIT_CORE, 0, 0),
            (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
            (resource.RLIMIT_NPROC, processes, processes),
            (resource.RLIMIT_FSIZE, disk, disk),
            (resource.RLIMIT_STACK, *_STACK),
            (resource.RLIMIT_MEMLOCK, _LOCKED_BYTES, _LOCKED_BYTES),
        ]
        if procfs.address_space_bytes(self.pid) < _RESERVES_BYTES:
            space = limits.memory_mb * _MIB + _SPACE_ROOM_BYTES
            wanted.append((resource.RLIMIT_AS, space, space))
        rlimits.lower(self.pid, wanted)
        if self._on_limit is not None:
            self._on_limit(self.pid)

    def cpu_us(self) -> int:
        """Return the guest's processor time."""
        try:
            return time.clock_gettime_ns(self._clock) // 1000
        except OSError:
            return 0

    def memory_kib(self) -> int:
        """Return the guest's own memory."""
        try:
            _, resident, shared, *_ = os.pread(self._statm, 128, 0).split()
        except (OSError, ValueError):
            return 0
        return (int(resident) - int(shared)) * _PAGE_KIB

    def most_kib(self) -> int:
        """Return the most memory that the guest had."""
        return procfs.most_bytes(self.pid) // 1024

    def ended_us(self) -> int:
        """Return the processor time of the guest's children that have ended."""
        return procfs.times(self.pid)[1]

    def crowded(self) -> bool:
        """Return whether the worker has as many processes as it may."""
        if self._limits is None:
            return False
        if self._group is not None:
            return self._group.processes() >= self._limits.processes
        return procfs.has_children(self.pid) and self.usage().processes >= self._limits.processes

    def usage(self) -> Usage:
        """Return what all processes of the worker use."""
        pids = self._pids()
        shares = {pid: procfs.share(pid) for pid in pids}
        each_of = shares.values()
        filed = self._filed_bytes()
        own = sum(each.anonymous_bytes for each in each_of)
        own += max(filed, sum(each.shared_bytes for each in each_of))
        if len(pids) > 1 and self._limits is not None and own > self._limits.memory_mb * _MIB:
            # Pages that a fork shares with its parent were counted twice.
            own = min(own, max(filed, sum(procfs.fair_bytes(pid) for pid in pids)))
        guest = shares.get(self.pid, procfs.Share())
        init_us, orphans_us = procfs.times(self._init) if self._init else (0, 0)
        children_us = sum(each.cpu_us + each.ended_us for each in each_of) - guest.cpu_us + orphans_us
        return Usage(
            memory_bytes=own,
            processes=sum(each.threads for each in each_of),
            children=len(pids) - (self.pid in pids),
            cpu_us=init_us + guest.cpu_us + children_us,
            children_us=children_us,
        )

    def verdict(self) -> tuple[FailureCode, str] | None:
        """Return what the control group has enforced; still known when the cell is closed."""
        if self._verdict is None and self._group is not None and self._limits is not None:
            code = self._group.broken()
            if code is FailureCode.MEMORY_LIMIT:
                self._verdict = code, memory_text(self._limits)
            elif code is FailureCode.PROCESS_LIMIT:
                self._verdict = code, process_text(self._limits)
        return self._verdict

    def close(self) -> None:
        """Remove the group and close the descriptor."""
        if self._statm < 0:
            return
        self.verdict()
        os.close(self._statm)
        self._statm = -1
        self._group = None
        if self._on_close is not None:
            self._on_close()

    def _pids(self) -> list[int]:
        """Return the worker's processes, the namespace's own process 1 left out."""
        if self._init:
            return [pid for pid in procfs.family(self._init) if pid != self._init]
        found = dict.fromkeys(procfs.family(self.pid))
        if self._group is not None:
            found |= dict.fromkeys(self._group.pids())
        return list(found)

    def _filed_bytes(self) -> int:
        """Return what lies in the worker's own memory file systems, mapped or not."""
        if not self._init:
            return 0
        total = 0
        for folder in _MEMORY_FOLDERS:
            with contextlib.suppress(OSError):
                told = os.statvfs(f"/proc/{self.pid}/root/{folder}")
                total += (told.f_blocks - told.f_bfree) * told.f_frsize + (told.f_files - told.f_ffree) * _INODE_BYTES
        return total
