"""The sandbox proper: namespaces and an empty file system around each worker, made by bubblewrap.

A guest sees the system's programs and libraries read-only, its own interpreter and code read-only, a private `/tmp`, its
own `/proc`, and nothing else of the host. bubblewrap's process 1 keeps the environment it was started with, readable from
inside, so it is started with an empty one.

An executor that is root makes no user namespace: bubblewrap starts `setpriv`, which gives up everything and becomes a host user
that only this worker has. Any other executor puts each worker into a user namespace of its own.
"""

import contextlib
import json
import os
import signal
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from services.executor.profile import Profile
from services.executor.runtimes.base import GuestCommand
from services.executor.sandbox import base, gate, procfs, seccomp
from services.executor.sandbox.cells import WorkerCell
from services.executor.sandbox.cgroups import Group, Groups
from services.executor.sandbox.fence import Fence
from services.executor.sandbox.gate import Gate
from services.executor.sandbox.system import SYSTEM, top_folders
from services.executor.sandbox.users import Users, become

CODE_ROOT = "/fn"
"""Where a worker finds its function's files."""

_USER = 1000
_MIB = 1024 * 1024
_SHM_BYTES = 16 * _MIB
_SIGNAL_BASE = 128
_LIBRARIES = ("lib", "lib32", "lib64", "libx32", "share", "local/lib", "local/share")
_SHARED_ETC = ("ssl", "ca-certificates", "pki", "ld.so.cache", "alternatives", "localtime", "mime.types", "services")
_NETWORK_ETC = ("resolv.conf", "hosts")
_SWITCH = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
_OUTPUTS = (1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What this machine has for the walls besides bubblewrap itself; without one of these the others stand."""

    users: Users | None = None
    """Host users to give out, for an executor that is root."""
    local_users: Users | None = None
    """Those of workers that may reach this machine's own addresses; None: no worker is kept from that."""
    fence: Fence | None = None
    """What keeps `users` from it."""
    fenced_ports: Collection[int] | None = None
    """Ports of this machine that lists of hosts do not lead to; empty: they lead to none of them. None: no bound."""
    setpriv: str = ""
    """The program that becomes one of them."""
    machine: seccomp.Machine | None = None
    """Whose system calls are filtered."""
    groups: Groups | None = None
    """Control groups."""


class Bubblewrap:
    """Runs each guest in pid, ipc, uts and mount namespaces of its own, under a user of its own."""

    name = "bubblewrap"

    def __init__(self, *, program: str, etc: Path, means: Means | None = None) -> None:
        """Use the `bwrap` at `program`; the few `/etc` files of guests are written below `etc`."""
        self._program = program
        self._etc_folder = etc
        self._means = means or Means()
        self._users = self._means.users if self._means.setpriv else None
        self._local_users = self._means.local_users or self._users
        self._gate = Gate(enter_users=self._users is None, fenced_ports=self._means.fenced_ports)
        self._known_users: set[int] = set()
        self._filters = _filters(self._means)
        self._system = {run: _system(run=run) for run in (True, False)}
        self._shared_etc = ("--dir", "/etc", *_binds("/etc", _SHARED_ETC))

    @property
    def features(self) -> str:
        """What the sandbox is made of, in words, for the start line."""
        means = self._means
        bounds = "rlimits and watchdog" if means.groups is None else means.groups.name
        if means.groups is not None and not means.groups.memory:
            bounds += " (processes only)"
        user = "one host user per worker" if self._users else "user namespaces"
        fence = "fence" if means.fence else "no fence"
        return ", ".join((self.name, "seccomp" if means.machine else "no seccomp", bounds, user, fence))

    def headroom_bytes(self) -> int | None:
        """Return what the control group around all workers leaves."""
        return self._means.groups.headroom_bytes() if self._means.groups else None

    def close(self) -> None:
        """End the program that lets workers out, take down the fence, and remove the control groups."""
        self._gate.close()
        if self._means.fence is not None:
            self._means.fence.close()
        if self._means.groups is not None:
            self._means.groups.close()

    def root(self, code: Path) -> str:
        """Return where the guest sees its code, wherever that lies on the host."""
        del code
        return CODE_ROOT

    def launch(self, command: GuestCommand, *, code: Path, profile: Profile, guest_fd: int, info_fd: int) -> base.Launch:
        """Return the bwrap command line around the guest's."""
        users = self._local_users if profile.local else self._users
        user = users.next() if users else 0
        argv: list[str] = [self._program, *_namespaces(user), *self._system[profile.run], *self._etc(user or _USER)]
        argv += ("--size", str(profile.disk_mb * _MIB), "--perms", "1777", "--tmpfs", "/tmp")  # noqa: S108  the sandbox's own
        argv += ("--info-fd", str(info_fd))
        if profile.network and not profile.hosts:
            argv += _binds("/etc", _NETWORK_ETC)
        else:
            argv.append("--unshare-net")
        shown = _needed(command, self._means.setpriv if user else "", run=profile.run)
        argv += _parents(shown)
        for path in shown:
            argv += ("--ro-bind", str(path), str(path))
        for name, value in (*base.GUEST_ENV, *gate.environment(profile.hosts), *command.env):
            argv += ("--setenv", name, value)
        argv += ("--bind" if profile.write else "--ro-bind", str(code), CODE_ROOT, "--chdir", CODE_ROOT, "--remount-ro", "/")
        fds = self._filter(profile)
        for fd in fds:
            argv += ("--seccomp", str(fd))
        argv.append("--")
        if user:
            argv += become(self._means.setpriv, user)
        return base.Launch(argv=(*argv, *command.argv, str(guest_fd)), env={}, cwd="/", tells=True, fds=fds)

    def enter(self, pid: int, info: bytes, *, profile: Profile | None = None) -> base.Cell:
        """Return the cell around the guest, the child of the namespace's process 1."""
        init = _namespace_init(info)
        children = Path(f"/proc/{init}/task/{init}/children").read_text().split()
        if not children:
            raise ProcessLookupError(f"no guest below process {pid}")
        guest = int(children[0])
        with contextlib.ExitStack() as undo:
            group = self._group(init)
            if group is not None:
                undo.callback(group.close)
            if self._users is not None:
                user = procfs.uid(guest)
                for users in filter(None, (self._users, self._local_users)):
                    users.take(user)
                    undo.callback(users.release, user)
                _give(user, *(f"/proc/{guest}/fd/{fd}" for fd in _OUTPUTS))
            if profile is not None and profile.hosts:
                undo.callback(self._gate.shut, self._gate.open(guest, profile.hosts, local=profile.local))
            cell = WorkerCell(guest, init=init, group=group, on_limit=_give_code if self._users else None)
            cell.on_close(undo.pop_all().close)
        return cell

    def kill(self, pid: int, info: bytes) -> None:
        """Kill process 1 of the namespace: the kernel ends all others with it, and bwrap exits after that."""
        base.send_kill(_namespace_init(info) or pid)

    def gone(self, pid: int) -> bool:
        """Return True: bwrap has waited for its process 1, and that for the whole namespace."""
        del pid
        return True

    def exit_text(self, returncode: int) -> str:
        """Return the guest's end in words; bwrap tells a signal as 128 and its number."""
        signalled = _SIGNAL_BASE < returncode <= _SIGNAL_BASE + signal.SIGRTMAX
        return base.spoken(_SIGNAL_BASE - returncode if signalled else returncode)

    def _group(self, init: int) -> Group | None:
        """Return a group that holds the whole sandbox, None when this machine has none."""
        if self._means.groups is None:
            return None
        group = self._means.groups.make()
        try:
            group.add(procfs.family(init))
        except OSError:
            group.close()
            raise
        return group

    def _filter(self, profile: Profile) -> tuple[int, ...]:
        """Return the reading end of a pipe that holds the filter of system calls."""
        if not self._filters:
            return ()
        read, write = os.pipe()
        try:
            os.write(write, self._filters[profile.run])
        finally:
            os.close(write)
        return (read,)

    def _etc(self, user: int) -> tuple[str, ...]:
        """Return the binds of `/etc`, with files that name the one user there is."""
        folder = self._etc_folder / str(user)
        if user not in self._known_users:
            _write_etc(folder, user)
            self._known_users.add(user)
        argv = list(self._shared_etc)
        for name in _own_etc(user):
            argv += ["--ro-bind", str(folder / name), f"/etc/{name}"]
        return tuple(argv)


def _filters(means: Means) -> dict[bool, bytes]:
    """Return the filters of system calls, with and without the right to run programs; none for an unknown machine."""
    if means.machine is None:
        return {}
    counted = means.groups is not None and means.groups.memory
    return {run: seccomp.program(means.machine, run=run, memory_files=counted) for run in (True, False)}


def _own_etc(user: int) -> dict[str, str]:
    """Return what a guest finds under `/etc` instead of the host's files, which name the host's users."""
    return {
        "passwd": f"fnbus:x:{user}:{user}:fnbus:/tmp:/bin/sh\n",
        "group": f"fnbus:x:{user}:\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }


def _write_etc(folder: Path, user: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in _own_etc(user).items():
        path = folder / name
        path.write_text(text)
        path.chmod(0o644)


def _namespaces(user: int) -> tuple[str, ...]:
    argv: list[str] = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    argv += ("--hostname", "fnbus", "--die-with-parent", "--new-session")
    if user:
        argv += ("--cap-drop", "ALL")
        for capability in _SWITCH:
            argv += ("--cap-add", capability)
    else:
        argv += ("--unshare-user", "--uid", str(_USER), "--gid", str(_USER))
    return tuple(argv)


def _system(*, run: bool) -> tuple[str, ...]:
    argv: list[str] = []
    if run:
        argv += ("--ro-bind", "/usr", "/usr")
    else:
        argv += ("--dir", "/usr", "--dir", "/usr/local", *_binds("/usr", _LIBRARIES))
    argv += top_folders(name for name in SYSTEM if run or name not in ("bin", "sbin"))
    # /proc is read-only because an executor that is root would show a writable /proc/sys (core_pattern!). The root of
    # /dev and /dev/shm are bounded because both are memory.
    argv += ("--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev")
    argv += ("--size", str(_SHM_BYTES), "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev")  # noqa: S108  the sandbox's own
    return tuple(argv)


def _needed(command: GuestCommand, setpriv: str, *, run: bool) -> list[Path]:
    """Return what is shown besides the system; where `/usr` is not whole that includes the programs themselves."""
    shown = [path for path in command.visible if not path.is_relative_to("/usr")]
    if not run:
        programs = [Path(each) for each in (command.argv[0], setpriv) if each]
        shown += [path for path in programs if path.is_relative_to("/usr") or path.is_relative_to("/bin")]
        shown += [path for path in command.visible if path.is_relative_to("/usr") and path not in programs]
    return shown


def _parents(shown: list[Path]) -> list[str]:
    """Return how to make the folders above what is shown, to be passed through and not looked into."""
    folders = dict.fromkeys(str(parent) for path in shown for parent in reversed(path.parents))
    return [word for folder in folders if folder != "/" for word in ("--perms", "0111", "--dir", folder)]


def _binds(folder: str, names: tuple[str, ...]) -> list[str]:
    argv: list[str] = []
    for name in names:
        argv += ["--ro-bind-try", f"{folder}/{name}", f"{folder}/{name}"]
    return argv


def _give(user: int, *paths: str) -> None:
    """Make a user the owner of files; those that have gone are left out."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.chown(path, user, user)


def _give_code(guest: int) -> None:
    """Make the guest's user the owner of its code when it may write there: what it has is a copy of its own."""
    root = f"/proc/{guest}/root{CODE_ROOT}"
    if os.statvfs(root).f_flag & os.ST_RDONLY:
        return
    user = procfs.uid(guest)
    _give(user, root)
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            os.chown(f"{folder}/{name}", user, user, follow_symlinks=False)


def _namespace_init(info: bytes) -> int:
    """Return the host's number of the namespace's process 1, 0 when bwrap has not told it."""
    try:
        return int(json.loads(info)["child-pid"])
    except (ValueError, KeyError, TypeError):
        return 0
