"""An executor's builds on a bus in memory, for a runtime whose build is a shell script that lies in the code."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from libs import errors
from libs.bus import rpc
from libs.bus.port import Bus, ObjectStore
from libs.messages import codec, subjects
from libs.messages.builds import BuildReply, BuildRequest, build_subject
from libs.messages.bundles import bundle_digest
from libs.messages.catalog import Bundle, BundleFile
from services.executor.builds import toolbox
from services.executor.builds.build_run import Bounds
from services.executor.builds.builds import Builds, Parts
from services.executor.builds.workshop import Workshop
from services.executor.disk import layer_keys
from services.executor.disk.bundles import Bundles
from services.executor.disk.layers import Layers
from services.executor.profile import Profile
from services.executor.runtimes.base import Availability, BuildPlan, GuestCommand

PATIENCE = 60.0


@dataclass(slots=True)
class ShellRuntime:
    """Builds by the script `build.sh` of the code, which leaves its outcome in `out`; without one there is nothing to build."""

    name: str = "shell"
    mount: str = ".deps"
    visible: tuple[Path, ...] = ()
    asked: list[str] = field(default_factory=list[str])

    async def probe(self) -> Availability:
        """It is always there."""
        return Availability(present=True)

    def command(self, profile: Profile) -> GuestCommand:
        """There is no guest."""
        raise errors.UnavailableError("it only builds")

    def build(self, code: Path, entrypoint: str) -> BuildPlan | None:
        """Return how the script is run."""
        self.asked.append(entrypoint)
        if (code / "broken.toml").exists():
            raise errors.PermanentError("broken.toml: line 1 is no TOML")
        if not (code / "build.sh").exists():
            return None
        inputs = tuple(
            sorted(str(each.relative_to(code)) for each in code.rglob("*") if each.name != entrypoint and each.is_file())
        )
        return BuildPlan(
            tool="sh 1.0",
            manifest="build.sh",
            inputs=inputs,
            argv=("/bin/sh", "build.sh"),
            output="out",
            mount=self.mount,
            visible=self.visible,
        )


@dataclass(slots=True)
class Stand:
    """An executor that builds."""

    bus: Bus
    builds: Builds
    layers: Layers
    store: ObjectStore
    runtime: ShellRuntime
    executor: str

    async def put(self, files: Mapping[str, str | bytes]) -> str:
        """Put code into the bundle store; return its digest."""
        content = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        bundle = Bundle(files=tuple(BundleFile(path=path, data=data) for path, data in sorted(content.items())))
        digest = bundle_digest(bundle)
        await (await self.bus.objects(subjects.BUNDLE_STORE)).put(digest, codec.encode(bundle))
        return digest

    async def ask(self, digest: str, *, executor: str = "", function: str = "hello") -> BuildReply:
        """Ask once."""
        request = BuildRequest(
            namespace="default",
            runtime=self.runtime.name,
            function=function,
            version="default",
            bundle=digest,
            entrypoint="handler.sh",
        )
        return await rpc.call(self.bus, build_subject(executor), request, BuildReply, timeout=PATIENCE)

    async def build(self, files: Mapping[str, str | bytes], *, function: str = "hello") -> BuildReply:
        """Ask until there is an outcome."""
        digest = await self.put(files)
        async with asyncio.timeout(4 * PATIENCE):
            reply = await self.ask(digest, function=function)
            while reply.resolution.state == "pending":
                reply = await self.ask(digest, executor=reply.executor, function=function)
        return reply


@contextlib.asynccontextmanager
async def standing(
    bus: Bus,
    folder: Path,
    *,
    executor: str = "executor-1",
    bounds: Bounds | None = None,
    bwrap: str = "",
    tools: toolbox.Toolbox | None = None,
    runtime: ShellRuntime | None = None,
    platform: str = "",
    uninstalled: Collection[str] = (),
    seconds: Mapping[str, float] | None = None,
) -> AsyncGenerator[Stand]:
    """Run an executor's builds for the length of the block."""
    known = runtime or ShellRuntime()
    chosen = bounds or Bounds(seconds=PATIENCE * 2)
    tools = tools or toolbox.Toolbox(env={})
    store = await bus.objects(subjects.LAYER_STORE)
    async with asyncio.TaskGroup() as tasks:
        workshop = Workshop(state=folder / "builds", toolbox=tools, bounds=chosen, bwrap=bwrap)
        made = Builds(
            Parts(
                executor=executor,
                bus=bus,
                bundles=Bundles(store=await bus.objects(subjects.BUNDLE_STORE), folder=folder / "bundles", tasks=tasks),
                layers=store,
                runtimes={known.name: known},
                workshop=workshop,
                tasks=tasks,
                max_mb=chosen.max_mb,
                secrets=tools.secrets,
                platform=platform,
                uninstalled=uninstalled,
                seconds=seconds or {},
            )
        )
        layers = Layers(store=store, folder=folder / "layers", tasks=tasks, platform=platform or layer_keys.this_platform())
        await made.start()
        try:
            yield Stand(bus=bus, builds=made, layers=layers, store=store, runtime=known, executor=executor)
        finally:
            await made.stop()
            workshop.close()
