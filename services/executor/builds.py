"""Builds on request: what a version needs before it can run is made once, put into the layer store, and found there by all.

A layer's key is made from what decides its content: runtime, platform, tool, command and the inputs' bytes. So two versions
with the same requirements share a layer, and an executor that finds the layer in the store builds nothing. Of one key there is
one build at a time on an executor; a request that comes meanwhile waits for it, is told that it is pending after some seconds,
and asks again.
"""

import asyncio
import hashlib
import logging
import platform as machine
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from libs import errors
from libs.bus import rpc
from libs.bus.port import Bus, ObjectStore
from libs.messages import codec, subjects
from libs.messages.builds import BUILD_OPERATION, BuildReply, BuildRequest, LayerManifest, LayerPart, part_key
from libs.messages.catalog import Resolution
from libs.messages.logs import STDOUT, LiveLine, LogBatch
from services.executor import archives, resolved
from services.executor.bundles import Bundles, is_safe
from services.executor.runtimes.base import BuildPlan, Runtime
from services.executor.workshop import BuildFailedError, Outcome, Workshop

log = logging.getLogger(__name__)

PART_BYTES = 8 * 1024 * 1024
"""Bytes of a layer's archive in one object: all that is in memory of a layer at a time."""

_ANSWER_SECONDS = 5.0
"""How long a request waits before it is told that the build is pending."""
_FAILED_SECONDS = 30.0
"""How long a failure is remembered, for those who ask after the build they have waited for."""
_PROGRESS_SECONDS = 2.0
_MESSAGE_CHARACTERS = 6000
_ARCHIVE = "layer.tar.gz"


def this_platform() -> str:
    """Return what builds made here run on: `linux-x86_64-glibc`."""
    libc = machine.libc_ver()[0] or "musl"
    return f"{sys.platform}-{machine.machine()}-{libc}"


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


class Builds:
    """Answers requests for builds."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._platform = parts.platform or this_platform()
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
        code = await self._parts.bundles.folder(request.bundle)
        try:
            plan = await asyncio.to_thread(runtime.build, code, request.entrypoint)
            if plan is None:
                return self._reply(Resolution())
            key = await asyncio.to_thread(layer_key, plan, code, runtime=request.runtime, platform=self._platform)
        except (errors.PermanentError, errors.UnavailableError) as error:
            return self._reply(Resolution(state="error", message=str(error)))
        return await self._outcome(key, plan, code, request)

    async def _outcome(self, key: str, plan: BuildPlan, code: Path, request: BuildRequest) -> BuildReply:
        failed = self._failed.get(key)
        if failed is not None and time.monotonic() - failed[0] < _FAILED_SECONDS:
            return failed[1]
        task = self._building.get(key)
        if task is None:
            work = self._work(key, plan, code, request)
            task = self._building[key] = self._parts.tasks.create_task(work, name=f"build {key[:12]}")
        done, _ = await asyncio.wait({task}, timeout=_ANSWER_SECONDS)
        if not done:
            return self._reply(_resolution(plan, state="pending"))
        if task.cancelled():
            raise errors.UnavailableError("this executor stops")
        outcome = task.result()
        if isinstance(outcome, errors.FnbusError):
            raise outcome
        return outcome

    async def _work(self, key: str, plan: BuildPlan, code: Path, request: BuildRequest) -> BuildReply | errors.FnbusError:
        """Return the layer, found or built, or why there is none; an error raised here would end the task group."""
        try:
            return await self._have(key, plan, code, request)
        except errors.FnbusError as error:
            return error
        except Exception as error:
            log.exception("a build could not be done", extra={"action": "build_broken", **_ids(request)})
            return errors.UnavailableError(f"the build could not be done: {error}")
        finally:
            del self._building[key]

    async def _have(self, key: str, plan: BuildPlan, code: Path, request: BuildRequest) -> BuildReply:
        known = await self._stored(key)
        if known is not None:
            return self._layer(known)
        async with self._slots:
            teller = _Teller(self._parts, request)
            begun = time.monotonic()
            teller.say(logging.INFO, "build_started", f"{request.function}: installs with {plan.tool}")
            try:
                manifest = await self._build(key, plan, code, teller, begun)
            except (BuildFailedError, archives.BadArchiveError) as error:
                message = str(error)[-_MESSAGE_CHARACTERS:]
                teller.say(logging.WARNING, "build_failed", f"{request.function}: {plan.tool} failed: {message}")
                took = round((time.monotonic() - begun) * 1000)
                reply = self._reply(_resolution(plan, state="error", message=message, duration_ms=took))
                self._remember(key, reply)
                return reply
            seconds = manifest.resolution.duration_ms / 1000
            done = f"{request.function}: {plan.tool} is done in {seconds:.1f} s ({manifest.size // 1024} KiB)"
            teller.say(logging.INFO, "build_done", done)
            return self._layer(manifest)

    async def _build(self, key: str, plan: BuildPlan, code: Path, teller: "_Teller", begun: float) -> LayerManifest:
        async with self._parts.workshop.built(plan, code, teller.line) as outcome:
            archive = outcome.folder.with_name(_ARCHIVE)
            try:
                packed = await asyncio.to_thread(self._pack, outcome, archive)
            except OSError as error:
                raise errors.UnavailableError(f"a layer cannot be packed: {error}") from error
            found = await asyncio.to_thread(resolved.packages, outcome.folder, outcome.output)
            parts = await self._put_parts(key, archive)
        resolution = _resolution(plan, state="ok", resolved=found, duration_ms=round((time.monotonic() - begun) * 1000))
        manifest = LayerManifest(
            key=key,
            platform=self._platform,
            mount=plan.mount,
            resolution=resolution,
            parts=parts,
            files=packed.files,
            size=packed.size,
        )
        await self._parts.layers.put(key, codec.encode(manifest))
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

    async def _put_parts(self, key: str, archive: Path) -> tuple[LayerPart, ...]:
        parts: list[LayerPart] = []
        offset = 0
        while piece := await asyncio.to_thread(_read, archive, offset):
            offset += len(piece)
            part = LayerPart(digest=hashlib.sha256(piece).hexdigest(), size=len(piece))
            await self._parts.layers.put(part_key(key, part.digest), piece)
            parts.append(part)
        return tuple(parts)

    async def _stored(self, key: str) -> LayerManifest | None:
        try:
            manifest = codec.decode(LayerManifest, await self._parts.layers.get(key))
        except (errors.NotFoundError, codec.MalformedMessageError):
            return None
        for part in manifest.parts:
            if not await self._parts.layers.has(part_key(key, part.digest)):
                return None
        return manifest

    def _layer(self, manifest: LayerManifest) -> BuildReply:
        return replace(self._reply(manifest.resolution), layer=manifest.key, layer_mount=manifest.mount)

    def _reply(self, resolution: Resolution) -> BuildReply:
        return BuildReply(executor=self._parts.executor, resolution=resolution)

    def _remember(self, key: str, failure: BuildReply) -> None:
        now = time.monotonic()
        self._failed = {each: kept for each, kept in self._failed.items() if now - kept[0] < _FAILED_SECONDS}
        self._failed[key] = (now, failure)


def layer_key(plan: BuildPlan, code: Path, *, runtime: str, platform: str) -> str:
    """Return the key of what a plan makes of this code: the same for all code whose inputs are the same.

    Raises:
        errors.PermanentError: an input lies outside of the code, or is not there.
    """
    digest = hashlib.sha256()

    def add(*words: str | bytes) -> None:
        for word in words:
            data = word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word
            digest.update(len(data).to_bytes(8, "big") + data)

    add("layer 1", runtime, platform, plan.tool, plan.output, plan.mount, str(len(plan.argv)), *plan.argv)
    for name, value in plan.env:
        add("env", name, value)
    for path, data in sorted(plan.files):
        add("file", path, data)
    for path in sorted(plan.inputs):
        if not is_safe(path):
            raise errors.PermanentError(f"{path} leads out of the function's code")
        try:
            with (code / path).open("rb") as content:
                add("input", path, hashlib.file_digest(content, "sha256").digest())
        except OSError as error:
            raise errors.PermanentError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()


class _Teller:
    """Tells a build's progress: to the executor's log, and live to whoever follows the function."""

    def __init__(self, parts: Parts, request: BuildRequest, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._request = request
        self._clock = clock
        self._next = clock() + _PROGRESS_SECONDS

    def say(self, level: int, action: str, text: str) -> None:
        """Tell what has happened."""
        log.log(level, "%s", text, extra={"action": action, **_ids(self._request)})
        self._publish(text)

    def line(self, line: str) -> None:
        """Tell a line of the tool, unless one was told just now."""
        self._publish(line)
        now = self._clock()
        if now >= self._next:
            self._next = now + _PROGRESS_SECONDS
            log.info("%s: %s", self._request.function, line, extra={"action": "build_progress", **_ids(self._request)})

    def _publish(self, text: str) -> None:
        request, now = self._request, time.time_ns() // 1_000_000
        batch = LogBatch(
            namespace=request.namespace,
            function=request.function,
            version=request.version,
            executor=self._parts.executor,
            lines=[LiveLine("", now, STDOUT, line) for line in text.splitlines()],
        )
        subject = subjects.log(namespace=request.namespace, function=request.function)
        self._parts.bus.post(subject, codec.encode(batch))


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


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb") as source:
        source.seek(offset)
        return source.read(PART_BYTES)


def _ids(request: BuildRequest) -> dict[str, str]:
    return {
        "namespace": request.namespace,
        "function": request.function,
        "version": request.version,
        "runtime": request.runtime,
    }
