"""Where builds run: the language's own tool in a sandbox, with network, without secrets, bounded in time, memory and disk.

A build sees the system's programs and what its tool needs, both read-only, its folder `/build`, a `/tmp` of its own, and of
this machine's settings what `toolbox` names. It never sees the executor's environment, its state, or other functions. It runs
as a user of its own where the executor is root, in a user namespace elsewhere; where bubblewrap does not work it is a plain
process. When it ends, however it does, nothing of it goes on.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path

from libs import errors
from services.executor.builds.build_run import LINE_BYTES, Bounds, BuildRun, OnLine
from services.executor.builds.build_walls import BuildWalls
from services.executor.builds.toolbox import HOME, Toolbox
from services.executor.runtimes.base import BuildPlan
from services.executor.sandbox import fence, users
from services.executor.sandbox.fence import Fence

log = logging.getLogger(__name__)

_USERS = (1_899_000_000, 39_000)
"""Users that builds have, outside of those that workers have; the second for containers whose users are mapped."""
_MOST_USERS = 500
_EXECUTORS = 1024


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
        self._walls = BuildWalls(toolbox=toolbox, bounds=bounds, bwrap=bwrap)
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
        argv, env = self._walls.command(plan, work, user, info_write)
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
                limit=LINE_BYTES,
            )
        except OSError as error:
            os.close(info_read)
            raise errors.UnavailableError(f"a build cannot be started: {error}") from error
        finally:
            os.close(info_write)
        os.set_blocking(info_read, False)
        bounds = replace(self._bounds, seconds=plan.seconds or self._bounds.seconds)
        running = BuildRun(process, info_read, bounds=bounds, work=work, told=self._toolbox.told)
        try:
            return await running.end(on_line)
        finally:
            await running.kill()
            os.close(info_read)


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
