"""The filter of system calls: as bytes, and as a process inside the sandbox meets it."""

import errno
import json
import os
import platform
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.executor.profile import Profile
from services.executor.sandbox import seccomp
from services.executor.sandbox.base import Sandbox
from tests.unit.executor.inside import python, required, running

ALLOW, KILL, ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
EPERM = ERRNO | errno.EPERM

CALLER = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
print("ready", flush=True)
for line in sys.stdin:
    call = json.loads(line)
    ctypes.set_errno(0)
    done = libc.syscall(*(ctypes.c_long(each) for each in call))
    print(ctypes.get_errno() if done < 0 else 0, flush=True)
"""


def judged(program: bytes, *, number: int, arguments: tuple[int, ...] = (), arch: int = 0xC000_003E) -> int:
    """Return the filter's verdict, as the kernel would come to it."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *arguments, *(0,) * (6 - len(arguments)))
    lines = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at = word = 0
    while True:
        code, then, unless, value = lines[at]
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            (word,) = struct.unpack_from("<I", data, value)
            continue
        taken = {0x15: word == value, 0x35: word >= value, 0x45: bool(word & value)}[code]
        at += then if taken else unless


@pytest.mark.parametrize("name", sorted(seccomp.MACHINES))
def test_program_denies_every_call_of_the_list(name: str) -> None:
    machine = seccomp.MACHINES[name]
    program = seccomp.program(machine)
    for call in seccomp.denied(machine):
        assert judged(program, number=machine.calls[call], arch=machine.audit) == EPERM, call
    assert {"ptrace", "mount", "bpf", "userfaultfd", "keyctl", "perf_event_open", "setns", "unshare"} < set(
        seccomp.denied(machine)
    )


@pytest.mark.parametrize("name", sorted(seccomp.MACHINES))
def test_program_kills_when_the_call_is_of_another_machine(name: str) -> None:
    assert judged(seccomp.program(seccomp.MACHINES[name]), number=20, arch=0x4000_0003) == KILL


@pytest.mark.parametrize(
    ("call", "arguments", "verdict"),
    [
        ("clone", (0x11,), ALLOW),
        ("clone", (0x3D0F00,), ALLOW),
        ("clone", (0x1000_0011,), EPERM),
        ("clone", (0x0002_0011,), EPERM),
        ("clone3", (), ERRNO | errno.ENOSYS),
        ("socket", (1, 1, 0), ALLOW),
        ("socket", (2, 1, 6), ALLOW),
        ("socket", (10, 2, 0), ALLOW),
        ("socket", (2, 1, 262), EPERM),
        ("socket", (16, 3, 0), ALLOW),
        ("socket", (16, 3, 9), EPERM),
        ("socket", (17, 3, 0), EPERM),
        ("socket", (38, 5, 0), EPERM),
        ("socket", (40, 1, 0), EPERM),
        ("socketpair", (1, 1, 0), ALLOW),
        ("socketpair", (40, 1, 0), EPERM),
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), EPERM),
        ("ioctl", (0, 0xFFFF_FFFF_0000_5412), EPERM),
        ("ioctl", (0, 0x541C), EPERM),
        ("personality", (0xFFFF_FFFF,), ALLOW),
        ("personality", (0x0040_0000,), EPERM),
    ],
)
def test_program_judges_by_argument(call: str, arguments: tuple[int, ...], verdict: int) -> None:
    machine = seccomp.MACHINES["x86_64"]
    assert judged(seccomp.program(machine), number=machine.calls[call], arguments=arguments) == verdict


def test_program_allows_what_programs_do_all_the_time() -> None:
    program = seccomp.program(seccomp.MACHINES["x86_64"])
    for number in (0, 1, 2, 3, 9, 39, 42, 57, 59, 202, 231, 257, 262, 281, 302, 317, 318, 334, 439):
        assert judged(program, number=number) == ALLOW, number


def test_program_lets_threads_but_no_processes_start_when_programs_may_not_run() -> None:
    machine = seccomp.MACHINES["x86_64"]
    program = seccomp.program(machine, run=False)
    assert judged(program, number=machine.calls["fork"]) == EPERM
    assert judged(program, number=machine.calls["clone"], arguments=(0x11,)) == EPERM
    assert judged(program, number=machine.calls["clone"], arguments=(0x3D0F00,)) == ALLOW


def test_program_denies_uncounted_memory_when_nothing_counts_it() -> None:
    machine = seccomp.MACHINES["x86_64"]
    for memory_files, verdict in ((True, ALLOW), (False, EPERM)):
        program = seccomp.program(machine, memory_files=memory_files)
        for call in ("memfd_create", "shmget", "msgget", "semget"):
            assert judged(program, number=machine.calls[call]) == verdict


def test_program_answers_missing_for_calls_that_are_newer_than_it() -> None:
    assert judged(seccomp.program(seccomp.MACHINES["x86_64"]), number=600) == ERRNO | errno.ENOSYS


def test_program_denies_the_x32_forms_of_calls() -> None:
    assert judged(seccomp.program(seccomp.MACHINES["x86_64"]), number=0x4000_0000 | 39) == EPERM


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """bubblewrap with the filter of this machine."""
    made = await required(tmp_path / "state")
    if made is None or seccomp.here() is None:
        pytest.skip("no sandbox, or no filter for this machine")
    yield made
    made.close()


async def test_denied_calls_fail_inside(sandbox: Sandbox, tmp_path: Path) -> None:
    machine = seccomp.here()
    assert machine is not None
    async with running(sandbox, python(CALLER), code=tmp_path) as inmate:
        for call in seccomp.denied(machine):
            await inmate.tell(json.dumps([machine.calls[call], 0, 0, 0, 0]))
            assert await inmate.line() == str(errno.EPERM), call
        for call, arguments, code in (
            ("clone", (0x1000_0011, 0, 0, 0, 0), errno.EPERM),
            ("clone3", (0, 0), errno.ENOSYS),
            ("socket", (17, 3, 0), errno.EPERM),
            ("socket", (38, 5, 0), errno.EPERM),
            ("socket", (40, 1, 0), errno.EPERM),
            ("socket", (1, 1, 0), 0),
            ("ioctl", (0, 0x5412, 0), errno.EPERM),
            ("personality", (0x0040_0000,), errno.EPERM),
        ):
            await inmate.tell(json.dumps([machine.calls[call], *arguments]))
            assert await inmate.line() == str(code), (call, arguments)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="int 0x80 is of x86")
async def test_process_is_killed_when_it_makes_a_call_of_another_machine(sandbox: Sandbox, tmp_path: Path) -> None:
    source = """
import ctypes, mmap, os
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("b814000000cd80c3"))
print("ready", flush=True)
input()
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))(), flush=True)
"""
    async with running(sandbox, python(source), code=tmp_path) as inmate:
        await inmate.tell("")
        assert sandbox.exit_text(await inmate.ended()) == "worker ended with signal 31"


async def test_programs_cannot_be_started_when_they_may_not_run(sandbox: Sandbox, tmp_path: Path) -> None:
    source = """
import os, threading, sys
print("ready", flush=True)
input()
seen = []
thread = threading.Thread(target=seen.append, args=("thread",))
thread.start(); thread.join()
for name, attempt in (("fork", os.fork), ("spawn", lambda: os.posix_spawn(sys.executable, [sys.executable], {}))):
    try:
        attempt()
    except PermissionError:
        seen.append("no " + name)
seen += [path for path in ("/bin", "/usr/bin/env", "/usr/sbin", "/bin/sh") if os.path.exists(path)]
print(*seen, sep=",", flush=True)
"""
    profile = Profile(run=False)
    async with running(sandbox, python(source, profile=profile), code=tmp_path, profile=profile) as inmate:
        await inmate.tell("")
        assert await inmate.line() == "thread,no fork,no spawn"


def test_filter_is_for_this_machine_where_there_is_one() -> None:
    known = seccomp.here()
    assert (known is not None) == (os.uname().machine in seccomp.MACHINES)
