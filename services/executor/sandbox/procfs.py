"""What `/proc` says about a family of processes: who belongs to it, what memory is its own, how long it computed.

Reads are small and tolerate processes that end meanwhile. Nothing here knows limits.
"""

import os
from dataclasses import dataclass
from pathlib import Path

_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_KIB = 1024
_READ_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one process has of the machine."""

    anonymous_bytes: int = 0
    shared_bytes: int = 0
    """Memory files (tmpfs, memfd, shared anonymous mappings) as far as they are mapped."""
    threads: int = 0
    cpu_us: int = 0
    """Its own, in steps of a clock tick."""
    ended_us: int = 0
    """That of its children that have ended and were waited for."""


def family(root: int) -> list[int]:
    """Return a process and all its descendants, parents first; empty when it has gone."""
    found = [root]
    seen = {root}
    alive: list[int] = []
    for pid in found:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        alive.append(pid)
        for thread in threads:
            for child in read(f"/proc/{pid}/task/{thread}/children").split():
                if int(child) not in seen:
                    seen.add(int(child))
                    found.append(int(child))
    return alive


def has_children(pid: int) -> bool:
    """Return whether a process's first thread has started processes that are still there."""
    return bool(read(f"/proc/{pid}/task/{pid}/children"))


def share(pid: int) -> Share:
    """Return what a process has; nothing when it has gone."""
    status = read(f"/proc/{pid}/status")
    own, ended = times(pid)
    return Share(
        anonymous_bytes=_KIB * _number(status, b"RssAnon"),
        shared_bytes=_KIB * _number(status, b"RssShmem"),
        threads=_number(status, b"Threads"),
        cpu_us=own,
        ended_us=ended,
    )


def times(pid: int) -> tuple[int, int]:
    """Return a process's own processor time, and that of its children that have ended; nothing when it has gone."""
    fields = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return sum(map(int, fields[11:13])) * _TICK_US, sum(map(int, fields[13:15])) * _TICK_US


def most_bytes(pid: int) -> int:
    """Return the most memory of its own that a process has had, as near as the kernel tells; 0 when it has gone."""
    status = read(f"/proc/{pid}/status")
    return _KIB * (_number(status, b"VmHWM") - _number(status, b"RssFile"))


def fair_bytes(pid: int) -> int:
    """Return a process's own memory with pages that several processes share counted in parts. Costs milliseconds."""
    rollup = read(f"/proc/{pid}/smaps_rollup")
    return _KIB * (_number(rollup, b"Pss_Anon") + _number(rollup, b"Pss_Shmem"))


def address_space_bytes(pid: int) -> int:
    """Return how much address space a process has taken, whether it uses it or not."""
    return _KIB * _number(read(f"/proc/{pid}/status"), b"VmSize")


def uid(pid: int) -> int:
    """Return a process's real user by the host's numbers, -1 when it has gone."""
    return _number(read(f"/proc/{pid}/status"), b"Uid", absent=-1)


def available_bytes() -> int:
    """Return how much memory could be used on this machine without swapping: the page cache counts as free."""
    return _KIB * _number(Path("/proc/meminfo").read_bytes(), b"MemAvailable")


def read(path: str) -> bytes:
    """Return a small file of the kernel's; empty when its process has gone, or hides it.

    Without `pathlib`, which takes longer than the kernel does: there are a thousand workers to look at.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, _READ_BYTES)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _number(text: bytes, name: bytes, *, absent: int = 0) -> int:
    """Return the first number behind a name; a line is looked for, since taking all apart is slow."""
    at = text.find(b"\n" + name + b":")
    if at < 0:
        return absent
    begin = at + len(name) + 2
    return int(text[begin : text.find(b"\n", begin)].split(maxsplit=1)[0])
