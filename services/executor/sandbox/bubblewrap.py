"""The sandbox proper: namespaces and an empty file system around each worker, made by bubblewrap.

A guest sees the system's programs and libraries read-only, its own interpreter and code read-only, a private `/tmp`, its
own `/proc`, and nothing else of the host. bubblewrap's process 1 keeps the environment it was started with, readable from
inside, so it is started with an empty one.
"""

import json
import os
from pathlib import Path

from services.executor.profile import Profile
from services.executor.runtimes.base import GuestCommand
from services.executor.sandbox import base
from services.executor.sandbox.cells import WorkerCell

CODE_ROOT = "/fn"
"""Where a worker finds its function's files."""

_USER = 1000
_TMP_BYTES = 64 * 1024 * 1024
_SHM_BYTES = 16 * 1024 * 1024
_SIGNAL_BASE = 128
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_SHARED_ETC = ("ssl", "ca-certificates", "pki", "ld.so.cache", "alternatives", "localtime", "mime.types", "services")
_NETWORK_ETC = ("resolv.conf", "hosts")
_OWN_ETC = {
    "passwd": f"fnbus:x:{_USER}:{_USER}:fnbus:/tmp:/bin/sh\n",
    "group": f"fnbus:x:{_USER}:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


class Bubblewrap:
    """Runs each guest in user, pid, ipc, uts and mount namespaces of its own."""

    name = "bubblewrap"

    def __init__(self, *, program: str, etc: Path) -> None:
        """Use the `bwrap` at `program`, with the few `/etc` files of its own that `write_etc` put into `etc`."""
        self._head = (program, *_namespaces(), *_system(), *_etc(etc))

    def root(self, code: Path) -> str:
        """Return where the guest sees its code, wherever that lies on the host."""
        del code
        return CODE_ROOT

    def launch(self, command: GuestCommand, *, code: Path, profile: Profile, guest_fd: int, info_fd: int) -> base.Launch:
        """Return the bwrap command line around the guest's."""
        argv: list[str] = [*self._head, "--info-fd", str(info_fd)]
        if profile.network:
            argv += _binds("/etc", _NETWORK_ETC)
        else:
            argv.append("--unshare-net")
        for path in command.visible:
            if not path.is_relative_to("/usr"):
                argv += ("--ro-bind", str(path), str(path))
        for name, value in (*base.GUEST_ENV, *command.env):
            argv += ("--setenv", name, value)
        argv += ("--ro-bind", str(code), CODE_ROOT, "--chdir", CODE_ROOT, "--remount-ro", "/")
        return base.Launch(argv=(*argv, "--", *command.argv, str(guest_fd)), env={}, cwd="/", tells=True)

    def enter(self, pid: int, info: bytes) -> base.Cell:
        """Return the cell around the guest, the child of the namespace's process 1."""
        init = _namespace_init(info)
        children = Path(f"/proc/{init}/task/{init}/children").read_text().split()
        if not children:
            raise ProcessLookupError(f"no guest below process {pid}")
        return WorkerCell(int(children[0]))

    def kill(self, pid: int, info: bytes) -> None:
        """Kill process 1 of the namespace: the kernel ends all others with it, and bwrap exits after that."""
        base.send_kill(_namespace_init(info) or pid)

    def gone(self, pid: int) -> bool:
        """Return True: bwrap has waited for its process 1, and that for the whole namespace."""
        del pid
        return True

    def exit_text(self, returncode: int) -> str:
        """Return the guest's end in words; bwrap tells a signal as 128 and its number."""
        return base.spoken(_SIGNAL_BASE - returncode if returncode > _SIGNAL_BASE else returncode)


def write_etc(folder: Path) -> None:
    """Write the files that a guest finds under `/etc` instead of the host's (which name the host's users)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in _OWN_ETC.items():
        (folder / name).write_text(text)


def _namespaces() -> tuple[str, ...]:
    user = str(_USER)
    apart = ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
    return (*apart, "--uid", user, "--gid", user, "--hostname", "fnbus", "--die-with-parent", "--new-session")


def _system() -> tuple[str, ...]:
    argv: list[str] = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM:
        path = f"/{name}"
        if os.path.islink(path):
            argv += ("--symlink", os.readlink(path), path)
        elif os.path.isdir(path):
            argv += ("--ro-bind", path, path)
    # /proc is read-only because an executor that is root would show a writable /proc/sys (core_pattern!). The root of
    # /dev and /dev/shm are bounded because both are memory.
    argv += ("--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev")
    argv += ("--size", str(_SHM_BYTES), "--tmpfs", "/dev/shm", "--remount-ro", "/dev")  # noqa: S108  the sandbox's own
    argv += ("--size", str(_TMP_BYTES), "--perms", "1777", "--tmpfs", "/tmp")  # noqa: S108  the sandbox's own
    return tuple(argv)


def _etc(own: Path) -> tuple[str, ...]:
    argv = _binds("/etc", _SHARED_ETC)
    for name in _OWN_ETC:
        argv += ["--ro-bind", str(own / name), f"/etc/{name}"]
    return tuple(argv)


def _binds(folder: str, names: tuple[str, ...]) -> list[str]:
    argv: list[str] = []
    for name in names:
        argv += ["--ro-bind-try", f"{folder}/{name}", f"{folder}/{name}"]
    return argv


def _namespace_init(info: bytes) -> int:
    """Return the host's number of the namespace's process 1, 0 when bwrap has not told it."""
    try:
        return int(json.loads(info)["child-pid"])
    except (ValueError, KeyError, TypeError):
        return 0
