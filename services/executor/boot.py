"""From a version to a worker that holds its code: bundle, process, environment, LOAD.

What fails on the way is told as a `StartError` that already says what the waiting callers get.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from libs import errors
from libs.messages.calls import FailureCode, ReplyKind
from libs.secrets import KeyRing
from services.executor import runs
from services.executor.bundles import Bundles
from services.executor.catalogue import Known
from services.executor.descriptor import GuestDescriptor
from services.executor.frames import FrameType
from services.executor.process import Worker, WorkerEndedError
from services.executor.profile import of_version
from services.executor.runs import Result
from services.executor.runtimes.base import Runtime
from services.executor.sandbox.base import Sandbox

log = logging.getLogger(__name__)

_ERROR = int(FrameType.ERROR)
_FRAME_ROOM = 1024 * 1024
"""What an answer's head may have beyond the cap on its body."""


class StartError(errors.TemporaryError):
    """There is no worker.

    Attributes:
        result: what the calls that wait for it get.
    """

    def __init__(self, result: Result) -> None:
        super().__init__(result.message)
        self.result = result


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long a start may take and how much a worker may send."""

    ready_seconds: float
    """From spawn to READY."""
    load_seconds: float
    """From LOAD to LOADED."""
    max_body_bytes: int
    max_booting: int
    """Processes that boot at the same time, of all versions together."""


class Boot:
    """Starts workers."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, Runtime],
        sandbox: Sandbox,
        descriptor: GuestDescriptor,
        bundles: Bundles,
        keys: KeyRing | None,
        bounds: Bounds,
    ) -> None:
        self._runtimes = runtimes
        self._sandbox = sandbox
        self._descriptor = descriptor
        self._bundles = bundles
        self._keys = keys
        self._bounds = bounds
        self._booting = asyncio.Semaphore(bounds.max_booting)

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Names of the runtimes that can be started here."""
        return tuple(self._runtimes)

    async def start(self, known: Known | None) -> Worker:
        """Return a worker that has loaded a version; None is one that has gone from the catalogue.

        Raises:
            StartError: it could not be had; nothing is left of the attempt.
        """
        if known is None:
            raise StartError(_failure(FailureCode.UNKNOWN_VERSION, "the version was removed"))
        try:
            return await self._start(known)
        except StartError:
            raise
        except WorkerEndedError as error:
            raise StartError(_failure(FailureCode.CRASH, str(error))) from error
        except errors.FnbusError as error:
            raise StartError(_failure(FailureCode.UNAVAILABLE, str(error))) from error
        except Exception as error:
            log.exception("a worker could not be started", extra={"action": "worker_start_failed"})
            raise StartError(_failure(FailureCode.UNAVAILABLE, f"no worker could be started: {error}")) from error

    async def _start(self, known: Known) -> Worker:
        runtime = self._runtimes.get(known.function.runtime)
        if runtime is None:
            raise errors.UnavailableError(f"runtime {known.function.runtime} is not present on this executor")
        code = await self._bundles.folder(known.version.bundle)
        head = self._load_head(known, self._sandbox.root(code))
        profile = of_version(known.version)
        async with self._booting:
            worker = await Worker.start(
                sandbox=self._sandbox,
                command=runtime.command(profile),
                code=code,
                descriptor=self._descriptor,
                profile=profile,
                max_frame=self._bounds.max_body_bytes + _FRAME_ROOM,
                ready_seconds=self._bounds.ready_seconds,
            )
        frame = await worker.load(head, seconds=self._bounds.load_seconds)
        if frame.type == _ERROR:
            output = worker.take_output()
            await worker.kill()
            raise StartError(runs.of_frame(frame, output, max_body=self._bounds.max_body_bytes))
        return worker

    def _load_head(self, known: Known, root: str) -> bytes:
        version = known.version
        return orjson.dumps(
            {
                "root": root,
                "entrypoint": version.entrypoint,
                "handler": version.handler,
                "handler_style": version.handler_style,
                "name": known.function.name,
                "version": version.label,
                "env": self._environment(known) if version.permissions.env else {},
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
        if self._keys is None:
            raise errors.UnavailableError(
                "the function's environment is sealed and this executor has no keys (FNBUS_SECRET_KEYS)"
            )
        function = known.function
        context = f"env:{function.namespace}/{function.runtime}/{function.name}@{known.version.label}"
        try:
            return orjson.loads(self._keys.open(sealed, context=context))
        except (errors.FnbusError, ValueError) as error:
            raise errors.UnavailableError(f"the function's environment cannot be opened: {error}") from error


def _failure(code: FailureCode, message: str) -> Result:
    return Result(kind=ReplyKind.FAILURE, code=code, message=message, error=message)
