"""From a version to a worker that holds its code: bundle and layer, a guest, environment, limits, LOAD.

What fails on the way is told as a `StartError` that already says what the waiting callers get.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol

import orjson

from libs import errors
from libs.messages import contexts
from libs.messages.calls import FailureCode, ReplyKind
from libs.secrets import KeyRing
from services.executor.calls import results, unbuilt
from services.executor.calls.runs import Result
from services.executor.catalogue import Known
from services.executor.disk.bundles import Bundles
from services.executor.profile import of_version
from services.executor.workers.frames import FrameType
from services.executor.workers.places import Source
from services.executor.workers.process import Worker, WorkerEndedError
from services.executor.workers.shelves import Kind, Look
from services.executor.workers.spares import Spares
from services.executor.workers.watchdog import Watchdog

log = logging.getLogger(__name__)

_ERROR = int(FrameType.ERROR)


class StartError(errors.TemporaryError):
    """There is no worker.

    Attributes:
        result: what the calls that wait for it get.
    """

    def __init__(self, result: Result) -> None:
        super().__init__(result.message)
        self.result = result


class Layers(Protocol):
    """What was built for versions, on this machine."""

    async def folder(self, key: str) -> Path:
        """Return the folder that holds a layer, fetched when it is not here yet.

        Raises:
            errors.FnbusError: it cannot be had.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long the code may take to load, and how much a worker may send."""

    load_seconds: float
    """From LOAD to LOADED."""
    max_body_bytes: int


class Boot:
    """Makes workers of versions."""

    def __init__(
        self,
        *,
        bundles: Bundles,
        layers: Layers | None = None,
        keys: KeyRing | None,
        bounds: Bounds,
        spares: Spares,
        watchdog: Watchdog,
    ) -> None:
        self._spares = spares
        self._watchdog = watchdog
        self._bundles = bundles
        self._layers = layers
        self._keys = keys
        self._bounds = bounds

    async def start(self, known: Known | None) -> Worker:
        """Return a worker that has loaded a version; None is one that has gone from the catalogue.

        Raises:
            StartError: it could not be had; nothing is left of the attempt.
        """
        if known is None:
            raise StartError(_failure(FailureCode.UNKNOWN_VERSION, "the version was removed"))
        refused = unbuilt.refusal(known.version.resolution)
        if refused is not None:
            raise StartError(refused)
        try:
            return await self._start(known)
        except StartError:
            raise
        except WorkerEndedError as error:
            raise StartError(_failure(error.code, str(error))) from error
        except OSError as error:
            raise StartError(_failure(FailureCode.UNAVAILABLE, f"the code cannot be put in its place: {error}")) from error
        except errors.FnbusError as error:
            raise StartError(_failure(FailureCode.UNAVAILABLE, str(error))) from error
        except Exception as error:
            log.exception("a worker could not be started", extra={"action": "worker_start_failed"})
            raise StartError(_failure(FailureCode.UNAVAILABLE, f"no worker could be started: {error}")) from error

    async def _start(self, known: Known) -> Worker:
        version = known.version
        sources = await self._sources(known)
        kind = Kind(known.function.runtime, of_version(version))
        look = Look(PurePosixPath(version.entrypoint).suffix, version.handler_style)
        blank = await self._spares.take(kind, look)
        worker = blank.worker
        self._watchdog.add(worker)
        worker.on_gone(partial(self._watchdog.remove, worker))
        try:
            try:
                await blank.place.fill(sources, writable=version.permissions.write)
            except FileNotFoundError:
                # Somebody has removed the bundle's folder: it is fetched again.
                self._bundles.forget(version.bundle)
                await blank.place.fill(await self._sources(known), writable=version.permissions.write)
            head = self._load_head(known, blank.root)
            frame = await worker.assign(head, limits=version.limits, seconds=self._bounds.load_seconds)
        except BaseException:
            await worker.kill()
            raise
        if frame.type == _ERROR:
            output = worker.take_output()
            await worker.kill()
            raise StartError(results.of_frame(frame, output, max_body=self._bounds.max_body_bytes))
        self._spares.learn(kind, look, frame.head)
        return worker

    async def _sources(self, known: Known) -> list[Source]:
        """Return the files of a version, all of them on this machine."""
        version = known.version
        sources = [await self._bundles.source(version.bundle)]
        if version.layer:
            if self._layers is None:
                raise errors.UnavailableError("this executor has no store of what is built for functions")
            sources.append(Source(folder=await self._layers.folder(version.layer), mount=version.layer_mount))
        return sources

    def _load_head(self, known: Known, root: str) -> bytes:
        version = known.version
        env = self._environment(known) if version.permissions.env else {}
        return orjson.dumps(
            {
                "root": root,
                "entrypoint": version.entrypoint,
                "handler": version.handler,
                "handler_style": version.handler_style,
                "name": known.function.name,
                "version": version.label,
                "env": env,
                "secrets": self._secrets(known, env) if version.permissions.env else {},
                "memory_mb": version.limits.memory_mb,
            }
        )

    def _environment(self, known: Known) -> dict[str, str]:
        """Return the version's environment.

        Raises:
            errors.UnavailableError: it is sealed and cannot be opened here.
        """
        sealed = known.version.env_sealed
        if not sealed:
            return {}
        opened = self._opened(sealed, context=contexts.of_version(known.function, known.version), what="environment")
        try:
            return orjson.loads(opened)
        except ValueError as error:
            raise errors.UnavailableError(f"the function's environment cannot be opened: {error}") from error

    def _secrets(self, known: Known, env: Mapping[str, str]) -> dict[str, str]:
        """Return the secrets that the version asks for: its own secret values, and those of its namespace above them.

        Raises:
            errors.UnavailableError: one cannot be opened here.
        """
        version = known.version
        secrets = {name: env[name] for name in version.secret_env if name in env}
        for name, sealed in version.secrets.items():
            context = contexts.of_secret(namespace=known.function.namespace, key=name)
            secrets[name] = self._opened(sealed, context=context, what=f"secret {name}").decode("utf-8", "replace")
        return secrets

    def _opened(self, sealed: bytes, *, context: str, what: str) -> bytes:
        if self._keys is None:
            raise errors.UnavailableError(f"the function's {what} is sealed and this executor has no keys (FNBUS_SECRET_KEYS)")
        try:
            return self._keys.open(sealed, context=context)
        except errors.FnbusError as error:
            raise errors.UnavailableError(f"the function's {what} cannot be opened: {error}") from error


def _failure(code: FailureCode, message: str) -> Result:
    return Result(kind=ReplyKind.FAILURE, code=code, message=message, error=message)
