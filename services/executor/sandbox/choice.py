"""Which sandbox an executor uses: bubblewrap when the kernel allows it, else what the setting says."""

import asyncio
import logging
import os
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Literal

from libs import errors
from services.executor.profile import Profile
from services.executor.runtimes.base import GuestCommand
from services.executor.sandbox import cgroups, fence, seccomp, users
from services.executor.sandbox.base import Sandbox
from services.executor.sandbox.bubblewrap import Bubblewrap, Means
from services.executor.sandbox.process import ProcessSandbox

log = logging.getLogger(__name__)

type Isolation = Literal["auto", "required", "process"]

_PROBE_SECONDS = 10.0


async def choose(isolation: Isolation, *, state: Path, fenced_ports: Collection[int] = ()) -> Sandbox:
    """Return the sandbox to use.

    Args:
        isolation: `auto` falls back to plain processes with a warning; `required` does not; `process` does not even try.
        state: folder for the sandbox's own few files; created when missing.
        fenced_ports: the only ports of this machine that functions do not reach; empty: they reach none.

    Raises:
        errors.PermanentError: `required`, and bubblewrap does not work here; the text says why.
    """
    if isolation == "process":
        log.warning(
            "functions run without a sandbox (FNBUS_ISOLATION=process): they see this machine's files and network",
            extra={"action": "sandbox_off"},
        )
        return ProcessSandbox(groups=cgroups.find())
    try:
        return await probe(state, fenced_ports=fenced_ports)
    except errors.UnavailableError as error:
        if isolation == "required":
            raise errors.PermanentError(f"FNBUS_ISOLATION=required, but {error}") from error
        log.warning(
            "functions run without a sandbox: %s; they see this machine's files and network",
            error,
            extra={"action": "sandbox_missing"},
        )
        return ProcessSandbox(groups=cgroups.find())


async def probe(state: Path, *, program: str | None = None, fenced_ports: Collection[int] = ()) -> Sandbox:
    """Return a bubblewrap sandbox that was seen to work.

    Raises:
        errors.UnavailableError: it is not installed or the kernel does not allow it; the text says which.
    """
    bwrap = program or shutil.which("bwrap")
    if bwrap is None:
        raise errors.UnavailableError("bubblewrap is not installed (Debian, Ubuntu: apt install bubblewrap)")
    folder = (state / "etc").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    groups = cgroups.find()
    plain = Means(machine=seccomp.here(), groups=groups, fenced_ports=fenced_ports)
    given = users.find(executor=os.getpid(), uid=os.geteuid()) if users.may_be_given() else None
    setpriv = shutil.which("setpriv")
    fault = ""
    for means in (replace(plain, users=given, setpriv=setpriv), plain) if given and setpriv else (plain,):
        fault = await _try(Bubblewrap(program=bwrap, etc=folder, means=means), folder)
        if not fault:
            return Bubblewrap(program=bwrap, etc=folder, means=_fenced(means, fenced_ports))
    if groups is not None:
        groups.close()
    raise errors.UnavailableError(f"bubblewrap does not work here: {fault}")


def _fenced(means: Means, ports: Collection[int]) -> Means:
    """Return means with a fence around the first half of the users, where the kernel puts one up."""
    if means.users is None:
        return means
    inside, local = means.users.halves()
    try:
        standing = fence.put_up([inside.bounds], ports)
    except OSError as error:
        log.warning(
            "functions with network reach this machine's own ports: the packet filter cannot be used (%s)",
            error,
            extra={"action": "fence_missing"},
        )
        return means
    return replace(means, users=inside, local_users=local, fence=standing)


async def _try(sandbox: Sandbox, folder: Path) -> str:
    """Return what is wrong when `/bin/true` is run in the sandbox; empty when nothing is."""
    info_read, info_write = os.pipe()
    handed: tuple[int, ...] = ()
    try:
        command = GuestCommand(argv=("/bin/true",))
        launch = sandbox.launch(command, code=folder, profile=Profile(network=False), guest_fd=info_write, info_fd=info_write)
        handed = launch.fds
        child = await asyncio.create_subprocess_exec(
            *launch.argv,
            env=dict(launch.env),
            pass_fds=(info_write, *launch.fds),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                _, complaint = await child.communicate()
        except BaseException:
            child.kill()
            await child.wait()
            raise
    except TimeoutError:
        return f"no answer within {_PROBE_SECONDS:g} s"
    except OSError as error:
        return str(error)
    finally:
        for fd in (info_read, info_write, *handed):
            os.close(fd)
    if child.returncode == 0:
        return ""
    return complaint.decode(errors="replace").strip() or f"exit code {child.returncode}"
