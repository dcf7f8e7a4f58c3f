"""Resource limits of another process, also one of another user.

The kernel lets root limit a process of another user only with CAP_SYS_RESOURCE, which root in a container often lacks. A
caller whose real user is the process's own needs nothing; so the calling thread takes that on for the length of the call. Its
effective user, which decides everything else, stays.
"""

import contextlib
import ctypes
import os
import platform
import resource
from collections.abc import Generator, Iterable
from pathlib import Path

_SET_USER = {"x86_64": 117, "aarch64": 147}
_SET_GROUP = {"x86_64": 119, "aarch64": 149}
_KEEP = -1


def lower(pid: int, limits: Iterable[tuple[int, int, int]]) -> None:
    """Set limits (which, soft, hard) of a process, none above what holds already.

    Raises:
        OSError: the kernel refuses.
    """
    owner = Path(f"/proc/{pid}").stat()
    with _as(owner.st_uid, owner.st_gid):
        for which, soft, hard in limits:
            _, most = resource.prlimit(pid, which)
            bound = hard if most == resource.RLIM_INFINITY else min(hard, most)
            resource.prlimit(pid, which, (min(soft, bound), bound))


@contextlib.contextmanager
def _as(user: int, group: int) -> Generator[None]:
    """Have this thread's real user be another, for the length of the block."""
    own_user, own_group, machine = os.getuid(), os.getgid(), platform.machine()
    if (user, group) == (own_user, own_group) or own_user != 0 or machine not in _SET_USER:
        yield
        return
    _set(_SET_GROUP[machine], group)
    try:
        _set(_SET_USER[machine], user)
        try:
            yield
        finally:
            _set(_SET_USER[machine], own_user)
    finally:
        _set(_SET_GROUP[machine], own_group)


def _set(call: int, number: int) -> None:
    """Set the real id, of this thread alone: libc's own function would change all threads."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(call, number, _KEEP, _KEEP) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
