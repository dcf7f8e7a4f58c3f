"""Where builds run: the language's own tool in a sandbox, with network, without secrets, bounded in time, memory and disk.

A build sees the system's programs and what its tool needs, both read-only, its folder `/build`, a `/tmp` of its own, and of
this machine's settings what `toolbox` names. It never sees the executor's environment, its state, or other functions. It runs
as a user of its own where the executor is root, in a user namespace elsewhere; where bubblewrap does not work it is a plain
process. When it ends, however it does, nothing of it goes on.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from libs import errors
from services.executor.archives import EPOCH
from services.executor.runtimes.base import BuildPlan
from services.executor.sandbox import fence, procfs, users
from services.executor.sandbox.fence import Fence
from services.executor.sandbox.system import SYSTEM, top_folders
from services.executor.toolbox import HOME, Toolbox

log = logging.getLogger(__name__)

type OnLine = Callable[[str], None]

ROOT = "/build"
_USERS = (1_899_000_000, 39_000)
"""Users that builds have, outside of those that workers have; the second for containers whose users are mapped."""
_MOST_USERS = 500
_EXECUTORS = 1024
_MIB = 1024 * 1024
_WATCH_SECONDS = 0.5
_SPACE = 4
"""How much more than its outcome a build may have on disk while it runs."""
_KEPT_LINES = 40
_LINE_CHARACTERS = 500
_LINE_BYTES = 65_536
_OPEN_FILES = 4096
_PROCESSES = 1024
_ETC = (
    "ssl", "ca-certificates", "pki", "ld.so.cache", "alternatives", "localtime", "mime.types", "services", "resolv.conf",
    "hosts", "php",
)  # fmt: skip
_PATH = "/usr/local/bin:/usr/bin:/bin"


class BuildFailedError(errors.PermanentError):
    """A tool has failed, or took more than it may; the text is for whoever wrote the code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one build may take."""

    seconds: float = 300
    max_mb: int = 512
    """Size of what it makes."""
    memory_mb: int = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a build left."""

    folder: Path
    """`/build` as it lies on this machine, until the workshop is left."""
    output: Path
    lines: tuple[str, ...]
    """The last lines of the tool."""


class Workshop:
    """Runs builds, each in a folder of its own below `state`."""

    def __init__(self, *, state: Path, toolbox: Toolbox, bounds: Bounds, bwrap: str) -> None:
        """Use `bwrap` (a program's path); empty: builds are plain processes."""
        self._state = state
        self._toolbox = toolbox
        self._bounds = bounds
        self._bwrap = bwrap
        self._user = _own_user() if bwrap and shutil.which("setpriv") else 0
        self._taken: set[int] = set()
        self._fence = _fenced(self._user) if self._user and not toolbox.local else None

    @contextlib.asynccontextmanager
    async def built(self, plan: BuildPlan, code: Path, on_line: OnLine) -> AsyncGenerator[Outcome]:
        """Run a build; what it made lies in the outcome's folder for the length of the block.

        Args:
            plan: what is to be run.
            code: the bundle, for the plan's inputs.
            on_line: gets each line of the tool's output.

        Raises:
            BuildFailedError: the tool failed, or took too much of something.
            errors.UnavailableError: it could not be started, or the disk is full.
        """
        user = self._take_user()
        try:
            work = await asyncio.to_thread(self._prepare, plan, code, user)
        except OSError as error:
            self._taken.discard(user)
            raise errors.UnavailableError(f"a build cannot be prepared: {error}") from error
        try:
            lines = await self._run(plan, work, user, on_line)
            yield Outcome(folder=work / "build", output=work / "build" / plan.output, lines=lines)
        finally:
            self._taken.discard(user)
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, work, ignore_errors=True))

    def close(self) -> None:
        """Take down the fence around builds; all have ended."""
        if self._fence is not None:
            self._fence.close()

    def clean(self) -> None:
        """Remove what builds of an executor that was killed have left. Called before the first build."""
        for left in self._state.glob("build-*"):
            shutil.rmtree(left, ignore_errors=True)

    def _take_user(self) -> int:
        """Return a user that no other build has; 0 when builds have none of their own."""
        if not self._user:
            return 0
        user = next(each for each in range(self._user, self._user + _MOST_USERS) if each not in self._taken)
        self._taken.add(user)
        return user

    def _prepare(self, plan: BuildPlan, code: Path, user: int) -> Path:
        self._state.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="build-", dir=self._state))
        work.chmod(0o755)
        build, private = work / "build", work / "settings"
        for folder in (build, work / "tmp" / "home", private):
            folder.mkdir(parents=True)
        for path in plan.inputs:
            target = build / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(code / path, target)
            target.chmod(0o755 if os.access(code / path, os.X_OK) else 0o644)
        for path, data in plan.files:
            target = build / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        for number, (data, target) in enumerate(self._toolbox.files):
            (private / str(number)).write_bytes(data)
            (private / str(number)).chmod(0o400)
            if target.startswith(HOME):
                (work / "tmp" / target.removeprefix("/tmp/")).parent.mkdir(parents=True, exist_ok=True)  # noqa: S108
        if user:
            for folder, _, files in os.walk(work):
                for each in (folder, *(os.path.join(folder, name) for name in files)):
                    os.chown(each, user, user, follow_symlinks=False)
        return work

    async def _run(self, plan: BuildPlan, work: Path, user: int, on_line: OnLine) -> tuple[str, ...]:
        info_read, info_write = os.pipe()
        argv, env = self._command(plan, work, user, info_write)
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=env,
                cwd="/" if self._bwrap else work / "build",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(info_write,) if self._bwrap else (),
                start_new_session=True,
                limit=_LINE_BYTES,
            )
        except OSError as error:
            os.close(info_read)
            raise errors.UnavailableError(f"a build cannot be started: {error}") from error
        finally:
            os.close(info_write)
        os.set_blocking(info_read, False)
        bounds = replace(self._bounds, seconds=plan.seconds or self._bounds.seconds)
        running = _Running(process, info_read, bounds=bounds, work=work, told=self._toolbox.told)
        try:
            return await running.end(on_line)
        finally:
            await running.kill()
            os.close(info_read)

    def _command(self, plan: BuildPlan, work: Path, user: int, info_fd: int) -> tuple[list[str], dict[str, str]]:
        """Return the command line and the environment of its first process."""
        env = {"PATH": _PATH, "HOME": HOME, "LANG": "C.UTF-8", "TMPDIR": "/tmp", "SOURCE_DATE_EPOCH": str(EPOCH)}  # noqa: S108
        env |= {"CARGO_HOME": f"{HOME}/.cargo", "DENO_DIR": f"{HOME}/deno", "NO_COLOR": "1"} | dict(self._toolbox.env)
        env |= dict(plan.env)
        prefix = _limited(self._bounds, own_user=user != 0)
        if not self._bwrap:
            own = {"HOME": str(work / "tmp" / "home"), "TMPDIR": str(work / "tmp"), "CARGO_HOME": str(work / "tmp" / "cargo")}
            return [*prefix, *_moved(plan.argv, work)], {name: _moved((value,), work)[0] for name, value in (env | own).items()}
        argv = [self._bwrap, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent"]
        argv += ["--new-session", "--hostname", "build", "--info-fd", str(info_fd)]
        if user:
            argv += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"]
            prefix = [*prefix, *users.become("setpriv", user)]
        else:
            argv += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
        argv += self._walls(plan, work)
        for name, value in env.items():
            argv += ["--setenv", name, value]
        return [*argv, "--chdir", ROOT, "--", *prefix, *plan.argv], {}

    def _walls(self, plan: BuildPlan, work: Path) -> list[str]:
        argv = ["--ro-bind", "/usr", "/usr", *top_folders(SYSTEM)]
        argv += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"]
        argv += ["--perms", "0755", "--dir", "/etc"]
        for name in _ETC:
            argv += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        argv += ["--bind", str(work / "tmp"), "/tmp", "--bind", str(work / "build"), ROOT]  # noqa: S108  the build's own
        shown = [path for path in sorted({*plan.visible, *self._toolbox.visible}) if not _is_system(path)]
        # Above what is shown bubblewrap makes folders as closed as the host's, and the build has a user of its own.
        for parent in sorted({parent for path in shown for parent in path.parents if parent != Path("/")}):
            if not _is_system(parent):
                argv += ["--perms", "0755", "--dir", str(parent)]
        for path in shown:
            argv += ["--ro-bind-try", str(path), str(path)]
        for number, (_, target) in enumerate(self._toolbox.files):
            argv += ["--ro-bind", str(work / "settings" / str(number)), target]
        return [*argv, "--remount-ro", "/"]


class _Running:
    """A build under way."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        info_fd: int,
        *,
        bounds: Bounds,
        work: Path,
        told: Callable[[str], str],
    ) -> None:
        self._process = process
        self._info_fd = info_fd
        self._bounds = bounds
        self._work = work
        self._told = told
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._fault = ""

    async def end(self, on_line: OnLine) -> tuple[str, ...]:
        """Wait until the tool has ended; return its last lines.

        Raises:
            BuildFailedError: it failed, or was ended since it took too much.
        """
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._watch(), name="build watch")
            await self._read(on_line)
            await self._process.wait()
            watch.cancel()
        if self._fault or self._process.returncode:
            raise BuildFailedError(self._story())
        return tuple(self._lines)

    async def kill(self) -> None:
        """End all that is left of the build, and wait until it has ended."""
        if self._process.returncode is not None:
            return
        self._send_kill()
        await self._process.wait()

    def _story(self) -> str:
        fault = self._fault or f"exit code {self._process.returncode}"
        return "\n".join((*self._lines, fault))

    def _send_kill(self) -> None:
        """Kill process 1 of the namespace: the kernel ends all others with it; or the whole process group."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            os.kill(int(json.loads(os.read(self._info_fd, 4096))["child-pid"]), signal.SIGKILL)
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _read(self, on_line: OnLine) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101  it was asked for
        while True:
            try:
                raw = await stream.readline()
            except ValueError:  # a line without an end; what is in the buffer is dropped
                continue
            if not raw:
                return
            for part in raw.decode(errors="replace").replace("\r", "\n").splitlines():
                line = self._told(part.rstrip())[:_LINE_CHARACTERS]
                if line:
                    self._lines.append(line)
                    on_line(line)

    async def _watch(self) -> None:
        """End the build when it takes too much."""
        deadline = time.monotonic() + self._bounds.seconds
        while not self._fault:
            await asyncio.sleep(min(_WATCH_SECONDS, max(deadline - time.monotonic(), 0.0)))
            self._fault = await self._excess(deadline)
        self._send_kill()

    async def _excess(self, deadline: float) -> str:
        if time.monotonic() >= deadline:
            return f"it took longer than {self._bounds.seconds:g} s and was ended"
        memory = sum(_memory(pid) for pid in procfs.family(self._process.pid))
        if memory > self._bounds.memory_mb * _MIB:
            return f"it took more than {self._bounds.memory_mb} MB of memory and was ended"
        if await asyncio.to_thread(_size, self._work) > _SPACE * self._bounds.max_mb * _MIB:
            return f"it took more than {_SPACE * self._bounds.max_mb} MB on disk and was ended"
        return ""


def _is_system(path: Path) -> bool:
    """Whether a path is there in any case."""
    if path in (Path("/tmp"), Path("/etc")):  # noqa: S108  what is shown below the host's `/tmp` is put into the build's own
        return True
    return path.parts[1] in ("usr", "proc", "dev", *SYSTEM) or path.is_relative_to("/etc/ssl")


def _memory(pid: int) -> int:
    share = procfs.share(pid)
    return share.anonymous_bytes + share.shared_bytes


def _size(folder: Path) -> int:
    total = 0
    for below, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(below, name)).st_size
    return total


def _limited(bounds: Bounds, *, own_user: bool) -> list[str]:
    """Return the command line that bounds what follows, as far as this machine has the programs for it."""
    prefix: list[str] = []
    if shutil.which("prlimit"):
        prefix += ["prlimit", f"--fsize={bounds.max_mb * _MIB}", f"--nofile={_OPEN_FILES}", "--core=0"]
        if own_user:
            prefix.append(f"--nproc={_PROCESSES}")
        prefix.append("--")
    if shutil.which("nice"):
        prefix += ["nice", "-n", "10"]
    return prefix


def _moved(words: Sequence[str], work: Path) -> list[str]:
    """Return words with `/build` meaning a folder of the host: for builds without a file system of their own."""
    build = str(work / "build")
    moved: list[str] = []
    for word in words:
        head, equals, tail = word.rpartition("=")
        if tail == ROOT or tail.startswith(f"{ROOT}/"):
            tail = build + tail.removeprefix(ROOT)
        moved.append(f"{head}{equals}{tail}")
    return moved


def _fenced(user: int) -> Fence | None:
    """Keep builds from this machine's own ports, where the kernel can: a package may run programs while it is built."""
    try:
        return fence.put_up([(user, user + _MOST_USERS - 1)])
    except OSError as error:
        log.info("builds reach this machine's own ports: %s", error, extra={"action": "build_fence_missing"})
        return None


def _own_user() -> int:
    """Return the first of the users that builds have; 0 when this executor may give none out."""
    if os.getuid() != 0 or not users.may_be_given():
        return 0
    rows = [[int(each) for each in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
    for first in _USERS:
        executors = _EXECUTORS if first == _USERS[0] else 2
        if any(inside <= first and first + executors * _MOST_USERS <= inside + count for inside, _, count in rows):
            # Executors of one machine have different ones: a fence of one must not keep in the builds of another.
            return first + os.getpid() % executors * _MOST_USERS
    return 0
