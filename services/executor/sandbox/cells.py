"""Cells: a running worker's limits and use, by `/proc` and `prlimit`."""

import contextlib
import os
import resource
import time
from pathlib import Path

from libs.messages.calls import FailureCode
from libs.messages.catalog import Limits
from services.executor.sandbox.base import Usage

_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


class ProcCell:
    """A worker known by the process of its guest."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._clock = (~pid << 3) | 2
        self._statm = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)

    def limit(self, limits: Limits) -> None:
        """Bound core dumps and open files."""
        for limit, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, limits.open_files)):
            resource.prlimit(self.pid, limit, (value, value))

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

    def usage(self) -> Usage:
        """Return what the guest's process uses."""
        threads = 1
        with contextlib.suppress(OSError):
            threads = len(list(Path(f"/proc/{self.pid}/task").iterdir()))
        return Usage(memory_bytes=self.memory_kib() * 1024, processes=threads)

    def verdict(self) -> tuple[FailureCode, str] | None:
        """Return None: nothing here is enforced by the kernel with a word of its own."""
        return None

    def close(self) -> None:
        """Close the descriptor."""
        if self._statm >= 0:
            os.close(self._statm)
            self._statm = -1
