"""The largest resident size of the worker, which each answer tells."""

from __future__ import annotations

import os
from resource import RUSAGE_SELF, getrusage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from resource import struct_rusage

_KIB_PER_PAGE = 4


class Memory:
    """Asks the kernel as cheaply as the answer allows.

    `ru_maxrss` costs next to nothing, but a kernel counts into it the size of the program that started this one. Until the
    worker has outgrown that, which a worker started by a sandbox has at once, its own figures are read from `/proc`.
    """

    def __init__(self) -> None:
        self._inherited = getrusage(RUSAGE_SELF).ru_maxrss
        self._known = 0
        self._faults = -1
        self._statm = -1

    def peak(self, used: struct_rusage) -> int:
        """Return the largest resident size so far, in KiB; `used` is what the kernel says of the process now."""
        peak = used.ru_maxrss
        if peak > self._inherited:
            return peak
        if used.ru_minflt != self._faults:  # without a fault there are no new pages
            self._faults = used.ru_minflt
            if self._resident() > self._known:
                self._known = _own_peak()
        return self._known

    def _resident(self) -> int:
        if self._statm < 0:
            self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        return int(os.pread(self._statm, 100, 0).split()[1]) * _KIB_PER_PAGE


def _own_peak() -> int:
    with open("/proc/self/status", "rb", buffering=0) as status:
        text = status.read(4096)
    return int(text.partition(b"VmHWM:")[2].split(None, 1)[0])
