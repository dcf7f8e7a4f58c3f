"""Builds on request: what a version needs before it can run is made once, put into the layer store, and found there by all.

An executor that finds the layer in the store builds nothing. Of one key (`layer_keys`) there is one build at a time on an
executor; a request that comes meanwhile waits for it, is told that it is pending after some seconds, and asks again.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from libs import errors
from libs.bus import rpc
from libs.bus.port import Bus, ObjectStore
from libs.messages import subjects
from libs.messages.builds import BUILD_OPERATION, BuildReply, BuildRequest, LayerManifest
from libs.messages.catalog import Resolution
from services.executor.builds import progress, resolved
from services.executor.builds.build_run import BuildFailedError
from services.executor.builds.progress import Teller
from services.executor.builds.workshop import Outcome, Workshop
from services.executor.disk import archives, layer_keys, layer_store
from services.executor.disk.bundles import Bundles
from services.executor.runtimes.base import BuildPlan, Runtime

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 5.0
"""How long a request waits before it is told that the build is pending."""
_FAILED_SECONDS = 30.0
"""How long a failure is remembered, for those who ask after the build they have waited for."""
_MESSAGE_CHARACTERS = 6000
_ARCHIVE = "layer.tar.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What builds are made with."""

    executor: str
    bus: Bus
    bundles: Bundles
    layers: ObjectStore
    runtimes: Mapping[str, Runtime]
    workshop: Workshop
    tasks: asyncio.TaskGroup
    max_mb: int = 512
    at_once: int = 2
    secrets: tuple[str, ...] = ()
    """Credentials for package indexes; no layer may hold one."""
    platform: str = ""
    """Empty: this machine's."""
    uninstalled: Collection[str] = ()
    """Languages whose functions get nothing installed."""
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    """How long builds of a language may take, where that is not as for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What is to be built."""

    key: str
    plan: BuildPlan
    code: Path
    request: BuildRequest


class Builds:
    """Answers requests for builds."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._platform = parts.platform or layer_keys.this_platform()
        self._slots = asyncio.Semaphore(parts.at_once)
        self._building: dict[str, asyncio.Task[BuildReply | errors.FnbusError]] = {}
        self._failed: dict[str, tuple[float, BuildReply]] = {}
        self._server = rpc.Server(parts.bus, "executor", parts.tasks, queue=subjects.EXECUTORS)

    async def start(self) -> None:
        """Take requests: those to any executor, and those to this one."""
        for operation in (BUILD_OPERATION, f"{BUILD_OPERATION}-{subjects.token(self._parts.executor)}"):
            await self._server.serve(operation, BuildRequest, self.ask)

    async def stop(self) -> None:
        """Take no more requests and end the builds under way; whoever waits for one asks another executor."""
        await self._server.stop()
        tasks = tuple(self._building.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def ask(self, request: BuildRequest, _traceparent: str = "") -> BuildReply:
        """Return how a version's build stands, begun if need be.

        Raises:
            errors.UnavailableError: this executor lacks the runtime, the code or the store at the moment.
        """
        runtime = self._parts.runtimes.get(request.runtime)
        if runtime is None:
            raise errors.UnavailableError(f"runtime {request.runtime} is not present on this executor")
        if request.runtime in self._parts.uninstalled:
            return self._reply(Resolution())
        code = await self._parts.bundles.folder(request.bundle)
        try:
            plan = await asyncio.to_thread(runtime.build, code, request.entrypoint)
            if plan is None:
                return self._reply(Resolution())
            key = await asyncio.to_thread(layer_keys.layer_key, plan, code, runtime=request.runtime, platform=self._platform)
        except (errors.PermanentError, errors.UnavailableError) as error:
            return self._reply(Resolution(state="error", message=str(error)))
        plan = replace(plan, seconds=self._parts.seconds.get(request.runtime, 0))
        return await self._outcome(_Order(key=key, plan=plan, code=code, request=request))

    async def _outcome(self, order: _Order) -> BuildReply:
        key = order.key
        failed = self._failed.get(key)
        if failed is not None and time.monotonic() - failed[0] < _FAILED_SECONDS:
            return failed[1]
        task = self._building.get(key)
        if task is None:
            task = self._building[key] = self._parts.tasks.create_task(self._work(order), name=f"build {key[:12]}")
        done, _ = await asyncio.wait({task}, timeout=_ANSWER_SECONDS)
        if not done:
            return self._reply(_resolution(order.plan, state="pending"))
        if task.cancelled():
            raise errors.UnavailableError("this executor stops")
        outcome = task.result()
        if isinstance(outcome, errors.FnbusError):
            raise outcome
        return outcome

    async def _work(self, order: _Order) -> BuildReply | errors.FnbusError:
        """Return the layer, found or built, or why there is none; an error raised here would end the task group."""
        try:
            found = await layer_store.find(self._parts.layers, order.key)
            if found is not None:
                return self._layer(found)
            async with self._slots:
                return await self._made(order)
        except errors.FnbusError as error:
            return error
        except Exception as error:
            log.exception("a build could not be done", extra={"action": "build_broken", **progress.ids(order.request)})
            return errors.UnavailableError(f"the build could not be done: {error}")
        finally:
            del self._building[order.key]

    async def _made(self, order: _Order) -> BuildReply:
        """Return the layer, built now, or why it cannot be; its owner is told of both."""
        teller = Teller(self._parts.bus, self._parts.executor, order.request)
        function, tool, begun = order.request.function, order.plan.tool, time.monotonic()
        teller.say(logging.INFO, "build_started", f"{function}: installs with {tool}")
        try:
            manifest = await self._build(order, teller, begun)
        except (BuildFailedError, archives.BadArchiveError) as error:
            message = str(error)[-_MESSAGE_CHARACTERS:]
            teller.say(logging.WARNING, "build_failed", f"{function}: {tool} failed: {message}")
            reply = self._reply(_resolution(order.plan, state="error", message=message, duration_ms=_ms_since(begun)))
            self._remember(order.key, reply)
            return reply
        seconds = manifest.resolution.duration_ms / 1000
        teller.say(logging.INFO, "build_done", f"{function}: {tool} is done in {seconds:.1f} s ({manifest.size // 1024} KiB)")
        return self._layer(manifest)

    async def _build(self, order: _Order, teller: Teller, begun: float) -> LayerManifest:
        plan, store = order.plan, self._parts.layers
        async with self._parts.workshop.built(plan, order.code, teller.line) as outcome:
            archive = outcome.folder.with_name(_ARCHIVE)
            try:
                packed = await asyncio.to_thread(self._pack, outcome, archive)
            except OSError as error:
                raise errors.UnavailableError(f"a layer cannot be packed: {error}") from error
            found = await asyncio.to_thread(resolved.packages, outcome.folder, outcome.output)
            parts = await layer_store.put_parts(store, order.key, archive)
        manifest = LayerManifest(
            key=order.key,
            platform=self._platform,
            mount=plan.mount,
            resolution=_resolution(plan, state="ok", resolved=found, duration_ms=_ms_since(begun)),
            parts=parts,
            files=packed.files,
            size=packed.size,
        )
        await layer_store.put(store, manifest)
        return manifest

    def _pack(self, outcome: Outcome, archive: Path) -> archives.Packed:
        with archive.open("wb") as sink:
            return archives.pack(
                outcome.output,
                sink,
                within=outcome.folder,
                max_bytes=self._parts.max_mb * 1024 * 1024,
                forbidden=[secret.encode() for secret in self._parts.secrets],
            )

    def _layer(self, manifest: LayerManifest) -> BuildReply:
        return replace(self._reply(manifest.resolution), layer=manifest.key, layer_mount=manifest.mount)

    def _reply(self, resolution: Resolution) -> BuildReply:
        return BuildReply(executor=self._parts.executor, resolution=resolution)

    def _remember(self, key: str, failure: BuildReply) -> None:
        now = time.monotonic()
        self._failed = {each: kept for each, kept in self._failed.items() if now - kept[0] < _FAILED_SECONDS}
        self._failed[key] = (now, failure)


def _resolution(
    plan: BuildPlan, *, state: str, message: str = "", resolved: tuple[str, ...] = (), duration_ms: int = 0
) -> Resolution:
    return Resolution(
        state=state,
        manifest=plan.manifest,
        tool=plan.tool,
        message=message,
        resolved=resolved,
        duration_ms=duration_ms,
    )


def _ms_since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
