"""A whole fnbus as processes, against real servers: for tests and benchmarks that take it as its users do.

Every service is a process of its own on free ports, told everything by `FNBUS_*`, with its log in a file. Replicas can be
killed, paused and started again.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from libs.bus.server import NatsServer
from libs.ports import unused_port
from libs.secrets import KeyRing
from libs.testing.nats import running_nats
from libs.testing.wait import eventually

_READY_SECONDS = 40.0
_STOP_SECONDS = 20.0
_LOG_TAIL = 3000


@dataclass(slots=True, kw_only=True)
class Replica:
    """One process of a service."""

    service: str
    name: str
    env: Mapping[str, str]
    log: Path
    ops_url: str
    """Where `/healthz`, `/readyz` and `/metrics` are."""
    command: tuple[str, ...] = ()
    """Program and arguments; empty: `python -m services.<service>`."""
    process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Process id of the present or last run."""
        return self.process.pid if self.process else 0

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.returncode is None

    async def start(self) -> None:
        """Start the process; it may have run before."""
        with self.log.open("ab") as sink:
            self.process = await asyncio.create_subprocess_exec(
                *(self.command or (sys.executable, "-m", f"services.{self.service}")),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=dict(self.env),
                start_new_session=True,
            )

    async def ready(self) -> None:
        """Wait until `/readyz` says yes.

        Raises:
            AssertionError: it did not in time, or the process ended; the text has the end of its log.
        """
        async with httpx.AsyncClient(base_url=self.ops_url, timeout=2) as client:

            async def check() -> bool:
                if not self.running:
                    return True
                try:
                    answer = await client.get("/readyz")
                except httpx.TransportError:
                    return False
                assert answer.is_success, f"{self.name}: {answer.text}"
                return True

            try:
                await eventually(check, within=_READY_SECONDS, every=0.05)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{self.tail()}") from None
        assert self.running, f"{self.name} ended:\n{self.tail()}"

    async def kill(self) -> None:
        """End the process with SIGKILL."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            await self.process.wait()

    async def stop(self) -> int:
        """End the process as an orchestrator would: SIGTERM, and SIGKILL when it takes too long; return its exit code."""
        if self.process is None:
            return 0
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                return await self.process.wait()
        except TimeoutError:
            await self.kill()
            return await self.process.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it lives."""
        if self.running:
            os.kill(self.pid, number)

    def tail(self) -> str:
        """Return the end of the process's log."""
        return self.log.read_text(errors="replace")[-_LOG_TAIL:] if self.log.exists() else ""


@dataclass(slots=True, kw_only=True)
class Cluster:
    """All processes of one fnbus."""

    folder: Path
    functions: Path
    nats: NatsServer
    env: Mapping[str, str]
    is_stored: bool = False
    """Whether the registries keep the files of functions in their store, and follow no folder."""
    replicas: list[Replica] = field(default_factory=list[Replica])

    @property
    def url(self) -> str:
        """Address of the first gateway."""
        return self.of("gateway")[0].ops_url

    def of(self, service: str) -> list[Replica]:
        """Return the replicas of a service."""
        return [replica for replica in self.replicas if replica.service == service]

    async def add(self, service: str, **settings: str) -> Replica:
        """Start one more replica; `settings` are added to its environment. It may not be ready yet."""
        name = f"{service}-{len(self.of(service)) + 1}"
        port = str(unused_port())
        data = self.folder / ("data" if service in ("registry", "scheduler") else name)
        env = {
            **self.env,
            "FNBUS_DATA_DIR": str(data),
            "FNBUS_OPS_PORT": port,
            "FNBUS_HTTP_PORT": port,
            **settings,
        }
        if service == "registry" and not self.is_stored:
            env.setdefault("FNBUS_FUNCTIONS_ROOT", str(self.functions))
        data.mkdir(parents=True, exist_ok=True)
        url = f"http://127.0.0.1:{port}"
        replica = Replica(service=service, name=name, env=env, log=self.folder / f"{name}.log", ops_url=url)
        self.replicas.append(replica)
        await replica.start()
        return replica

    async def ready(self) -> None:
        """Wait until every replica is."""
        await asyncio.gather(*(replica.ready() for replica in self.replicas if replica.running))


@contextlib.asynccontextmanager
async def running_cluster(
    folder: Path,
    functions: Path | None,
    *,
    counts: Mapping[str, int] | None = None,
    settings: Mapping[str, str] | None = None,
    jetstream_sync: str = "2m",
) -> AsyncGenerator[Cluster]:
    """Run NATS and the services for the length of the block; all are ready when it begins.

    Args:
        folder: logs, state and stores lie below.
        functions: folder of functions that the registries follow; None: their files are kept in the store.
        counts: replicas by service, one of each unless said otherwise.
        settings: environment for all services.
        jetstream_sync: when JetStream calls fsync.
    """
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  before anything runs
    wanted = {"registry": 1, "scheduler": 1, "executor": 1, "gateway": 1} | dict(counts or {})
    async with running_nats(folder / "nats", jetstream_sync=jetstream_sync) as nats:
        env = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ},
            "FNBUS_NATS_URL": nats.url,
            "FNBUS_SECRET_KEYS": KeyRing.generate(),
            "FNBUS_LOG_FORMAT": "json",
            "FNBUS_HTTP_HOST": "127.0.0.1",
            "FNBUS_CONSOLE_WRITE_ENABLED": "1",
            "FNBUS_CONSOLE_RATE_LIMIT_MAX": "0",
            "FNBUS_CONSOLE_WRITE_RATE_LIMIT_MAX": "0",
            **(settings or {}),
        }
        cluster = Cluster(folder=folder, functions=functions or folder, nats=nats, env=env, is_stored=functions is None)
        try:
            for service, count in wanted.items():
                for _ in range(count):
                    await cluster.add(service)
            await cluster.ready()
            yield cluster
        finally:
            for replica in cluster.replicas:
                replica.signal(signal.SIGCONT)
            await asyncio.gather(*(replica.stop() for replica in reversed(cluster.replicas)))
