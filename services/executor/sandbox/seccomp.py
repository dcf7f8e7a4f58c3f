"""System calls that guests do not get: a filter for the kernel, made here as bytes. Pure.

It is a deny list: what reaches into other processes, changes mounts or namespaces, loads code into the kernel, or has been a
way out of sandboxes again and again. A denied call fails with EPERM. Calls of another machine (32 bit) kill the process, since
their numbers mean something else. `clone3` answers ENOSYS: its flags lie in memory, which a filter cannot read, and libc then
uses `clone`. So do calls that are newer than the list.
"""

import errno
import platform
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ALLOW, _ERRNO = 0x8000_0000, 0x7FFF_0000, 0x0005_0000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_WORD = 8

_X32 = 0x4000_0000
_NEWEST = 463
"""From here on calls are unknown to this list; numbers of this size are the same on all machines."""
_NAMESPACES = 0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000
_THREAD = 0x0001_0000
_TERMINAL_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX type into the terminal of whoever started the executor."""
_PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFF_FFFF)
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_INTERNET_PROTOCOLS = (0, 1, 6, 17, 58)
"""The family's own, ICMP, TCP, UDP, ICMPv6."""
_ROUTES = 0
"""The netlink protocol that name resolution asks for the machine's addresses."""

_EVERYWHERE = MappingProxyType(
    {
        "io_uring_setup": 425,
        "io_uring_enter": 426,
        "io_uring_register": 427,
        "open_tree": 428,
        "move_mount": 429,
        "fsopen": 430,
        "fsconfig": 431,
        "fsmount": 432,
        "fspick": 433,
        "clone3": 435,
        "pidfd_getfd": 438,
        "process_madvise": 440,
        "mount_setattr": 442,
        "quotactl_fd": 443,
        "memfd_secret": 447,
    }
)
"""Since Linux 5.1 a call has the same number on all machines."""

_X86_64 = MappingProxyType(
    {
        "ioctl": 16,
        "shmget": 29,
        "socket": 41,
        "socketpair": 53,
        "clone": 56,
        "fork": 57,
        "vfork": 58,
        "semget": 64,
        "msgget": 68,
        "ptrace": 101,
        "syslog": 103,
        "uselib": 134,
        "personality": 135,
        "vhangup": 153,
        "modify_ldt": 154,
        "pivot_root": 155,
        "_sysctl": 156,
        "chroot": 161,
        "acct": 163,
        "settimeofday": 164,
        "mount": 165,
        "umount2": 166,
        "swapon": 167,
        "swapoff": 168,
        "reboot": 169,
        "sethostname": 170,
        "setdomainname": 171,
        "iopl": 172,
        "ioperm": 173,
        "create_module": 174,
        "init_module": 175,
        "delete_module": 176,
        "quotactl": 179,
        "nfsservctl": 180,
        "lookup_dcookie": 212,
        "clock_settime": 227,
        "kexec_load": 246,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "migrate_pages": 256,
        "unshare": 272,
        "vmsplice": 278,
        "move_pages": 279,
        "perf_event_open": 298,
        "fanotify_init": 300,
        "name_to_handle_at": 303,
        "open_by_handle_at": 304,
        "clock_adjtime": 305,
        "setns": 308,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "kcmp": 312,
        "finit_module": 313,
        "memfd_create": 319,
        "kexec_file_load": 320,
        "bpf": 321,
        "userfaultfd": 323,
    }
)

_AARCH64 = MappingProxyType(
    {
        "lookup_dcookie": 18,
        "ioctl": 29,
        "umount2": 39,
        "mount": 40,
        "pivot_root": 41,
        "nfsservctl": 42,
        "chroot": 51,
        "vhangup": 58,
        "quotactl": 60,
        "vmsplice": 75,
        "acct": 89,
        "personality": 92,
        "unshare": 97,
        "kexec_load": 104,
        "init_module": 105,
        "delete_module": 106,
        "clock_settime": 112,
        "syslog": 116,
        "ptrace": 117,
        "reboot": 142,
        "sethostname": 161,
        "setdomainname": 162,
        "settimeofday": 170,
        "msgget": 186,
        "semget": 190,
        "shmget": 194,
        "socket": 198,
        "socketpair": 199,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "clone": 220,
        "swapon": 224,
        "swapoff": 225,
        "migrate_pages": 238,
        "move_pages": 239,
        "perf_event_open": 241,
        "fanotify_init": 262,
        "name_to_handle_at": 264,
        "open_by_handle_at": 265,
        "clock_adjtime": 266,
        "setns": 268,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "kcmp": 272,
        "finit_module": 273,
        "memfd_create": 279,
        "bpf": 280,
        "userfaultfd": 282,
        "kexec_file_load": 294,
    }
)

_PROCESSES = ("fork", "vfork")
_MEMORY = ("memfd_create", "shmget", "msgget", "semget")
_BY_ARGUMENT = ("clone", "clone3", "ioctl", "socket", "socketpair", "personality")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A processor architecture, as the kernel's filters know it."""

    audit: int
    """Its number in `linux/audit.h`."""
    calls: Mapping[str, int]
    """Numbers of the calls that the list knows."""


MACHINES: Mapping[str, Machine] = MappingProxyType(
    {
        "x86_64": Machine(audit=0xC000_003E, calls=MappingProxyType({**_X86_64, **_EVERYWHERE})),
        "aarch64": Machine(audit=0xC000_00B7, calls=MappingProxyType({**_AARCH64, **_EVERYWHERE})),
    }
)
"""Architectures by the name that `uname -m` has for them."""


def here() -> Machine | None:
    """Return this machine, None when there is no list for it."""
    return MACHINES.get(platform.machine())


def denied(machine: Machine, *, run: bool = True, memory_files: bool = True) -> tuple[str, ...]:
    """Return the calls that fail whatever their arguments are."""
    spared = {*_BY_ARGUMENT, *(_PROCESSES if run else ()), *(_MEMORY if memory_files else ())}
    return tuple(name for name in machine.calls if name not in spared)


def program(machine: Machine, *, run: bool = True, memory_files: bool = True) -> bytes:
    """Return the filter, as `bwrap --seccomp` reads it.

    Args:
        machine: whose calls.
        run: whether processes may be started; threads always may.
        memory_files: whether memory may be had that belongs to no process (memfd, System V): where a control group counts it.
    """
    lines = [
        _Line(_LOAD, _ARCH),
        _Line(_JUMP_EQUAL, machine.audit, unless="kill"),
        _Line(_LOAD, _NUMBER),
        _Line(_JUMP_ABOVE, _X32, then="deny"),
        _Line(_JUMP_ABOVE, _NEWEST, then="missing"),
        *(_Line(_JUMP_EQUAL, machine.calls[name], then="deny") for name in denied(machine, run=run, memory_files=memory_files)),
        _Line(_JUMP_EQUAL, machine.calls["clone3"], then="missing"),
        *(_Line(_JUMP_EQUAL, machine.calls[name], then=name) for name in _BY_ARGUMENT if name != "clone3"),
        _Line(_RETURN, _ALLOW),
        *_clone(run=run),
        *_sockets(),
        *_among("ioctl", 1, _TERMINAL_INPUT, found="deny", other="allow"),
        *_among("socketpair", 0, (_UNIX,), found="allow", other="deny"),
        *_among("personality", 0, _PERSONALITIES, found="allow", other="deny"),
        _Line(_RETURN, _ALLOW, label="allow"),
        _Line(_RETURN, _ERRNO | errno.EPERM, label="deny"),
        _Line(_RETURN, _ERRNO | errno.ENOSYS, label="missing"),
        _Line(_RETURN, _KILL, label="kill"),
    ]
    return _assembled(lines)


@dataclass(frozen=True, slots=True)
class _Line:
    """One instruction; jumps name labels, an empty one is the next instruction."""

    code: int
    value: int
    then: str = ""
    unless: str = ""
    label: str = ""


def _argument(number: int, *, label: str = "") -> _Line:
    """Load the lower half of an argument: the kernel reads no more of an `int`, and both machines are little endian."""
    return _Line(_LOAD, _ARGUMENTS + _WORD * number, label=label)


def _among(label: str, argument: int, values: Iterable[int], *, found: str, other: str) -> Iterator[_Line]:
    yield _argument(argument, label=label)
    *first, last = values
    for value in first:
        yield _Line(_JUMP_EQUAL, value, then=found)
    yield _Line(_JUMP_EQUAL, last, then=found, unless=other)


def _clone(*, run: bool) -> Iterator[_Line]:
    yield _argument(0, label="clone")
    yield _Line(_JUMP_SET, _NAMESPACES, then="deny")
    yield _Line(_JUMP_SET, _THREAD, then="allow", unless="allow" if run else "deny")


def _sockets() -> Iterator[_Line]:
    yield _argument(0, label="socket")
    yield _Line(_JUMP_EQUAL, _UNIX, then="allow")
    yield _Line(_JUMP_EQUAL, _INET, then="internet")
    yield _Line(_JUMP_EQUAL, _INET6, then="internet")
    yield _Line(_JUMP_EQUAL, _NETLINK, then="netlink", unless="deny")
    yield from _among("internet", 2, _INTERNET_PROTOCOLS, found="allow", other="deny")
    yield from _among("netlink", 2, (_ROUTES,), found="allow", other="deny")


def _assembled(lines: list[_Line]) -> bytes:
    places = {line.label: number for number, line in enumerate(lines) if line.label}

    def distance(label: str, number: int) -> int:
        return places[label] - number - 1 if label else 0

    return b"".join(
        struct.pack("=HBBI", line.code, distance(line.then, number), distance(line.unless, number), line.value)
        for number, line in enumerate(lines)
    )
