"""Limits of workers and what they use, with real processes in the sandbox and without."""

import errno
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.messages.calls import FailureCode
from libs.messages.catalog import Limits
from libs.testing.wait import eventually
from services.executor.profile import Profile
from services.executor.sandbox import cgroups
from services.executor.sandbox.base import Sandbox, Usage
from services.executor.sandbox.cells import memory_text
from services.executor.sandbox.process import ProcessSandbox
from services.executor.sandbox.users import Users, find
from services.executor.workers.watchdog import IDLE_AT_ONCE, IDLE_SECONDS, Watchdog, over
from tests.unit.executor.inside import Inmate, bare, python, required, running

MIB = 1024 * 1024
OBEDIENT = """
import os, sys, time, threading, mmap, resource, socket, ctypes
kept = []
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(eval(line), flush=True)
    except Exception as error:
        print(type(error).__name__, getattr(error, "errno", ""), flush=True)
"""


@pytest.fixture(params=["bubblewrap", "bare", "process"])
async def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sandbox]:
    """Both, with what this machine has of control groups, and bubblewrap as an executor without any means uses it."""
    made = await required(tmp_path / "state") if request.param != "process" else ProcessSandbox(groups=cgroups.find())
    if made is None:
        pytest.skip("bubblewrap does not work here")
    if request.param == "bare":
        made.close()
        made = bare(tmp_path / "etc")
    yield made
    made.close()


@pytest.fixture
async def inmate(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Inmate]:
    """A program that does what it is told."""
    async with running(sandbox, python(OBEDIENT), code=tmp_path) as made:
        yield made


async def ask(inmate: Inmate, expression: str) -> str:
    """Have an expression evaluated inside."""
    await inmate.tell(expression)
    return await inmate.line()


async def test_limit_bounds_open_files(inmate: Inmate) -> None:
    inmate.cell.limit(Limits(open_files=64))
    assert await ask(inmate, "[kept.append(socket.socket()) for _ in range(10000)]") == f"OSError {errno.EMFILE}"


async def test_limit_bounds_files_and_core_dumps(inmate: Inmate) -> None:
    inmate.cell.limit(Limits(disk_mb=16))
    assert await ask(inmate, "resource.getrlimit(resource.RLIMIT_FSIZE)") == f"({16 * MIB}, {16 * MIB})"
    assert await ask(inmate, "resource.getrlimit(resource.RLIMIT_CORE)") == "(0, 0)"


async def test_limit_bounds_processes_when_the_worker_has_a_user_of_its_own(inmate: Inmate) -> None:
    if inmate.sandbox.name == "process" or (os.geteuid() == 0 and "namespaces" in inmate.sandbox.features):
        pytest.skip("this worker is root, whose processes the kernel does not count")
    inmate.cell.limit(Limits(processes=20))
    told = await ask(inmate, "[kept.append(os.fork() or time.sleep(60)) for _ in range(100)]")
    assert told == f"BlockingIOError {errno.EAGAIN}"
    assert 20 < inmate.cell.usage().processes <= 20 + 2 * cgroups.ROOM


async def test_limit_cannot_be_undone_from_inside(inmate: Inmate) -> None:
    if inmate.sandbox.name == "process":
        pytest.skip("a worker without a sandbox may be root")
    inmate.cell.limit(Limits(open_files=64))
    assert (await ask(inmate, "resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))")).startswith("ValueError")


async def test_usage_counts_memory_of_children(inmate: Inmate) -> None:
    inmate.cell.limit(Limits(memory_mb=512))
    before = inmate.cell.usage()
    await ask(inmate, "kept.append(os.fork() or (kept.append(bytearray(50000000)), time.sleep(60)))")
    await eventually(lambda: inmate.cell.usage().memory_bytes > before.memory_bytes + 40 * MIB)
    after = inmate.cell.usage()
    assert after.children == before.children + 1


async def test_usage_counts_pages_that_a_fork_shares_once_when_it_matters(inmate: Inmate) -> None:
    await ask(inmate, "kept.append(bytearray(50000000))")
    inmate.cell.limit(Limits(memory_mb=128))
    await ask(inmate, "[kept.append(os.fork() or time.sleep(60)) for _ in range(4)]")
    await eventually(lambda: inmate.cell.usage().children == 4)
    assert over(inmate.cell.usage(), Limits(memory_mb=128)) is None


async def test_cell_is_crowded_when_it_has_all_its_processes(inmate: Inmate) -> None:
    inmate.cell.limit(Limits(processes=12))
    assert not inmate.cell.crowded()
    await ask(inmate, "[kept.append(os.fork() or time.sleep(60)) for _ in range(14)]")
    assert inmate.cell.crowded()
    await ask(inmate, "[os.kill(pid, 9) or os.waitpid(pid, 0) for pid in kept]")
    assert not inmate.cell.crowded()


async def test_usage_counts_files_in_tmp_as_memory(inmate: Inmate) -> None:
    if inmate.sandbox.name == "process":
        pytest.skip("a worker without a sandbox has the machine's /tmp")
    before = inmate.cell.usage().memory_bytes
    await ask(inmate, "open('/tmp/x', 'wb').write(bytes(30000000))")
    assert inmate.cell.usage().memory_bytes > before + 25 * MIB


async def test_usage_counts_files_that_hold_nothing(inmate: Inmate) -> None:
    if inmate.sandbox.name == "process":
        pytest.skip("a worker without a sandbox has the machine's /tmp")
    before = inmate.cell.usage().memory_bytes
    await ask(inmate, "sum(not open(f'/tmp/{n}', 'wb').close() for n in range(12000))")
    assert inmate.cell.usage().memory_bytes > before + 11 * MIB


async def test_tmp_is_as_large_as_the_profile_says(sandbox: Sandbox, tmp_path: Path) -> None:
    if sandbox.name == "process":
        pytest.skip("a worker without a sandbox has the machine's /tmp")
    async with running(sandbox, python(OBEDIENT), code=tmp_path, profile=Profile(disk_mb=8)) as inmate:
        told = await ask(inmate, "[open(f'/tmp/{n}', 'wb').write(bytes(1000000)) for n in range(20)]")
        assert told == f"OSError {errno.ENOSPC}"
        assert await ask(inmate, "[open(f'/dev/shm/{n}', 'wb').write(bytes(1000000)) for n in range(60)]") == told


async def test_usage_counts_processor_time_of_children(inmate: Inmate) -> None:
    await ask(inmate, "kept.append(os.fork() or any(False for _ in iter(int, 1)))")
    await eventually(lambda: inmate.cell.usage().cpu_us > 300_000)
    assert inmate.cell.cpu_us() < 300_000


async def test_verdict_names_memory_when_the_kernel_ended_the_worker(inmate: Inmate) -> None:
    if not inmate.sandbox.features.count("cgroup") or "only" in inmate.sandbox.features:
        pytest.skip("no control groups for memory")
    inmate.cell.limit(Limits(memory_mb=64))
    assert inmate.cell.verdict() is None
    await inmate.tell("kept.append(b'x' * 300000000)")
    await inmate.ended()
    told = FailureCode.MEMORY_LIMIT, "memory limit of 64 MB exceeded"
    assert inmate.cell.verdict() == told
    inmate.cell.close()
    assert inmate.cell.verdict() == told


async def test_memory_of_no_process_is_counted_or_denied(inmate: Inmate) -> None:
    if inmate.sandbox.name == "process":
        pytest.skip("nothing is denied without a sandbox")
    inmate.cell.limit(Limits(memory_mb=64, disk_mb=512))
    await inmate.tell("[os.write(os.memfd_create('bomb'), bytes(16000000)) for _ in range(20)]")
    if "cgroup" in inmate.sandbox.features:
        await inmate.ended()
        assert inmate.cell.verdict() is not None
    else:
        assert await inmate.line() == f"PermissionError {errno.EPERM}"


async def test_cells_leave_no_group_behind(sandbox: Sandbox, tmp_path: Path) -> None:
    def groups() -> int:
        return sum(1 for _ in Path("/sys/fs/cgroup").glob(f"**/fnbus-{os.getpid()}.*/*/cgroup.procs"))

    def left() -> int:
        sandbox.close()
        return groups()

    before = groups()
    async with running(sandbox, python(OBEDIENT), code=tmp_path):
        held = groups()
    assert held > before or "cgroup" not in sandbox.features
    await eventually(lambda: left() <= before)


async def test_worker_owns_its_copy_when_it_may_write(sandbox: Sandbox, tmp_path: Path) -> None:
    code = tmp_path / "code"
    (code / "inner").mkdir(parents=True)
    (code / "inner" / "file").write_text("old")
    profile = Profile(write=True)
    async with running(sandbox, python(OBEDIENT), code=code, profile=profile) as inmate:
        inmate.cell.limit(Limits())
        root = sandbox.root(code)
        assert await ask(inmate, f"open('{root}/inner/file', 'w').write('new')") == "3"
    assert (code / "inner" / "file").read_text() == "new"


async def test_environment_is_the_workers_own(inmate: Inmate) -> None:
    told = await ask(inmate, "','.join(sorted(os.environ))")
    assert set(told.split(",")) <= {"HOME", "LANG", "PATH", "PWD", "TMPDIR", "LC_CTYPE"}


async def test_worker_can_reopen_its_output(inmate: Inmate) -> None:
    assert await ask(inmate, "open('/proc/self/fd/1', 'w').write('x')") == "x1"


class Subject:
    """A worker for the watchdog."""

    def __init__(self, inmate: Inmate, limits: Limits, *, busy: bool = True) -> None:
        self.cell = inmate.cell
        self.limits = limits
        self.busy = busy
        self.call_cpu_started_us = inmate.cell.cpu_us()
        self.breaches: list[tuple[FailureCode, str]] = []
        self.now = time.monotonic()

    def seen(self, usage: Usage) -> None:
        """Nobody asks what it used."""

    def breach(self, code: FailureCode, message: str) -> None:
        """Keep what is told."""
        self.breaches.append((code, message))


def watched(watchdog: Watchdog, subject: Subject) -> list[tuple[FailureCode, str]]:
    """Look once."""
    watchdog.look(time.monotonic())
    return subject.breaches


def rested(watchdog: Watchdog, subject: Subject) -> list[tuple[FailureCode, str]]:
    """Look when it is the turn of a worker that is idle."""
    for _ in range(2):  # the first time after a call, only that is looked at
        subject.now += IDLE_SECONDS
        watchdog.look(subject.now)
    return subject.breaches


async def test_watchdog_tells_memory_once(inmate: Inmate) -> None:
    watchdog, subject = Watchdog(), Subject(inmate, Limits(memory_mb=64))
    watchdog.add(subject)
    assert watched(watchdog, subject) == []
    await ask(inmate, "kept.append(bytearray(90000000))")
    (found,) = watched(watchdog, subject)
    assert found[0] is FailureCode.MEMORY_LIMIT
    assert found[1].startswith("memory limit of 64 MB exceeded (used ")
    assert len(watched(watchdog, subject)) == 1


async def test_watchdog_tells_processes_and_threads(inmate: Inmate) -> None:
    watchdog, subject = Watchdog(), Subject(inmate, Limits(processes=4))
    watchdog.add(subject)
    await ask(inmate, "[threading.Thread(target=time.sleep, args=(60,), daemon=True).start() for _ in range(4)]")
    assert watched(watchdog, subject) == [(FailureCode.PROCESS_LIMIT, "process limit of 4 exceeded")]


async def test_watchdog_tells_processor_time_of_a_call_with_its_children(inmate: Inmate) -> None:
    watchdog, subject = Watchdog(), Subject(inmate, Limits(cpu_ms=200))
    watchdog.add(subject)
    assert watched(watchdog, subject) == []
    await ask(inmate, "kept.append(os.fork() or any(False for _ in iter(int, 1)))")
    await eventually(lambda: watched(watchdog, subject))
    assert subject.breaches == [(FailureCode.CPU_LIMIT, "cpu limit of 200 ms exceeded")]


async def test_watchdog_leaves_an_idle_worker_alone_when_it_rests(inmate: Inmate) -> None:
    watchdog, subject = Watchdog(), Subject(inmate, Limits(), busy=False)
    watchdog.add(subject)
    assert rested(watchdog, subject) == []
    assert rested(watchdog, subject) == []


async def test_watchdog_tells_an_idle_worker_that_left_children(inmate: Inmate) -> None:
    watchdog, subject = Watchdog(), Subject(inmate, Limits(), busy=False)
    watchdog.add(subject)
    await ask(inmate, "kept.append(os.fork() or time.sleep(60))")
    await eventually(lambda: rested(watchdog, subject))
    assert subject.breaches[0] == (
        FailureCode.NONE,
        "worker was ended: 1 processes that it had started went on after the answer",
    )


async def test_watchdog_tells_an_idle_worker_that_computes(inmate: Inmate) -> None:
    watchdog, subject = Watchdog(), Subject(inmate, Limits(), busy=False)
    watchdog.add(subject)
    assert rested(watchdog, subject) == []
    await ask(inmate, "threading.Thread(target=lambda: any(False for _ in iter(int, 1)), daemon=True).start()")
    before = inmate.cell.usage().cpu_us
    await eventually(lambda: inmate.cell.usage().cpu_us > before + 500_000)
    rested(watchdog, subject)
    assert "went on computing" in subject.breaches[0][1]


async def test_watchdog_looks_at_many_idle_workers_in_turns(inmate: Inmate) -> None:
    watchdog = Watchdog()
    subjects = [Subject(inmate, Limits(memory_mb=1), busy=False) for _ in range(3 * IDLE_AT_ONCE)]
    for subject in subjects:
        watchdog.add(subject)
    now = time.monotonic()
    watchdog.look(now)  # all have just answered
    told: list[int] = []
    for _ in range(4):
        now += IDLE_SECONDS
        watchdog.look(now)
        told.append(sum(len(subject.breaches) for subject in subjects))
    assert told == [IDLE_AT_ONCE, 2 * IDLE_AT_ONCE, 3 * IDLE_AT_ONCE, 3 * IDLE_AT_ONCE]


async def test_watchdog_tells_when_memory_runs_short() -> None:
    missing: list[int] = []
    watchdog = Watchdog(on_pressure=missing.append, headroom=lambda: 10 * MIB, reserve_bytes=64 * MIB)
    watchdog.check_memory()
    assert missing == [54 * MIB]


def test_over_is_none_when_limits_are_kept() -> None:
    assert over(Usage(memory_bytes=64 * MIB, processes=4), Limits(memory_mb=64, processes=4)) is None


def test_memory_text_tells_use_when_it_is_known() -> None:
    assert memory_text(Limits(memory_mb=128), 140 * MIB) == "memory limit of 128 MB exceeded (used 140 MB)"


def test_users_are_not_given_out_twice() -> None:
    users = Users(100, slots=3)
    users.take(101)
    assert [users.next() for _ in range(3)] == [100, 102, 100]
    users.release(101)
    assert users.next() == 101


@pytest.mark.parametrize(
    ("uid", "rows", "there"),
    [(0, "0 0 4294967295", True), (1000, "0 0 4294967295", False), (0, "0 100000 65536", True), (0, "0 1000 1", False)],
)
def test_users_are_found_when_the_executor_may_give_them(tmp_path: Path, uid: int, rows: str, *, there: bool) -> None:
    (tmp_path / "uid_map").write_text(rows + "\n")
    assert (find(executor=7, uid=uid, uid_map=tmp_path / "uid_map") is not None) == there
