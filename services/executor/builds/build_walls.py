"""What a build sees of this machine, and what bounds it from outside: the command line that it is started with.

Nothing is done here but to look which programs there are.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from services.executor.builds.build_run import Bounds
from services.executor.builds.toolbox import HOME, Toolbox
from services.executor.disk.archives import EPOCH
from services.executor.runtimes.base import BuildPlan
from services.executor.sandbox import users
from services.executor.sandbox.system import SYSTEM, top_folders

ROOT = "/build"
"""Where a build finds itself."""
_MIB = 1024 * 1024
_OPEN_FILES = 4096
_PROCESSES = 1024
_ETC = (
    "ssl", "ca-certificates", "pki", "ld.so.cache", "alternatives", "localtime", "mime.types", "services", "resolv.conf",
    "hosts", "php",
)  # fmt: skip
_PATH = "/usr/local/bin:/usr/bin:/bin"


class BuildWalls:
    """The walls around builds of one executor."""

    def __init__(self, *, toolbox: Toolbox, bounds: Bounds, bwrap: str) -> None:
        """Put them up with `bwrap` (a program's path); empty: builds are plain processes."""
        self._toolbox = toolbox
        self._bounds = bounds
        self._bwrap = bwrap

    def command(self, plan: BuildPlan, work: Path, user: int, info_fd: int) -> tuple[list[str], dict[str, str]]:
        """Return the command line of a build, and the environment of its first process.

        Args:
            plan: what is run.
            work: the build's own files: `build`, `tmp`, `settings`.
            user: whom it runs as; 0: as one of a user namespace, or as the executor itself.
            info_fd: where bubblewrap tells about its processes.
        """
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
        argv += self._seen(plan, work)
        for name, value in env.items():
            argv += ["--setenv", name, value]
        return [*argv, "--chdir", ROOT, "--", *prefix, *plan.argv], {}

    def _seen(self, plan: BuildPlan, work: Path) -> list[str]:
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


def _is_system(path: Path) -> bool:
    """Whether a path is there in any case."""
    if path in (Path("/tmp"), Path("/etc")):  # noqa: S108  what is shown below the host's `/tmp` is put into the build's own
        return True
    return path.parts[1] in ("usr", "proc", "dev", *SYSTEM) or path.is_relative_to("/etc/ssl")


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
