"""What `fnbus dev` looks at before it starts anything.

Each fault is one clear line, instead of a stack or of a platform that is half there.
"""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from cli.errors import CommandError
from libs.ports import unused_port

LOCK_FILE = "lock"
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104  compared with, not bound


def check_folder(folder: Path) -> Path:
    """Return the functions folder as an absolute path.

    Raises:
        CommandError: there is none, it is a file, or it cannot be read.
    """
    try:
        found = folder.resolve()
        if not found.exists():
            raise CommandError(f"there is no folder {folder}")
        if not found.is_dir():
            raise CommandError(f"{folder} is not a folder")
        with os.scandir(found) as entries:
            next(entries, None)
    except RuntimeError:  # Python 3.12's word for links that lead in a circle
        raise CommandError(f"cannot read the folder {folder}: its links lead in a circle") from None
    except OSError as error:
        raise CommandError(f"cannot read the folder {folder}: {_why(error)}") from None
    return found


def free_port(host: str, port: int) -> int:
    """Return the port to serve on: the one asked for, or any free one for 0.

    Raises:
        CommandError: it is in use, not allowed, or the host is none of this machine.
    """
    try:
        if port == 0:
            return unused_port(host)
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the gateway does: old connections do not count
            probe.bind(address)
            return int(probe.getsockname()[1])
    except socket.gaierror:
        raise CommandError(f"--host {host}: there is no such host") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(f"port {port} is in use: end what uses it, or choose another with --port") from None
        raise CommandError(f"cannot listen on {host}:{port}: {_why(error)}") from None


@contextlib.contextmanager
def hold_state(folder: Path, *, address: str = "", functions: Path | None = None) -> Generator[Path]:
    """Hold the state folder for this run; yield its absolute path. The kernel lets go of it when this process ends.

    Args:
        folder: the state folder.
        address: where this run serves, for other commands that are given nearby.
        functions: the functions folder, for them too.

    Raises:
        CommandError: another run holds it (its process id is named), or it cannot be made or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandError(f"cannot use the state folder {folder}: {_why(error)}") from None
    with open(descriptor, "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = lock.readline().strip() or "unknown"
            raise CommandError(
                f"the state folder {folder} is in use by another run (process {holder}): end it, or choose another with --data"
            ) from None
        lock.truncate()
        lock.writelines(f"{text}\n" for text in (os.getpid(), address, functions) if text)
        lock.flush()
        yield folder.resolve()


@dataclass(frozen=True, kw_only=True)
class Running:
    """A run of the platform on this machine."""

    address: str
    functions: Path
    """Its functions folder."""


def running(state: Path = Path(".fnbus")) -> Running | None:
    """Return the run that holds a state folder; None when there is none, or it has ended."""
    try:
        holder, address, functions = (state / LOCK_FILE).read_text().splitlines()
        os.kill(int(holder), 0)  # trying the lock could come in the way of a run that starts just now
    except (OSError, ValueError):
        return None
    return Running(address=address, functions=Path(functions))


def is_held(state: Path) -> bool:
    """Return whether a run holds a state folder."""
    try:
        with (state / LOCK_FILE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def reachable(host: str) -> str:
    """Return the host under which this machine reaches what listens on `host`, as it stands in a URL."""
    found = _ANYWHERE.get(host, host)
    return f"[{found}]" if ":" in found else found


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
