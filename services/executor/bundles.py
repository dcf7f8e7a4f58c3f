"""Code on this machine: fetched once per bundle, verified, and kept as a read-only folder.

A folder that exists is complete: it is written beside its place and moved there. What is in it is never changed, so that
workers of any age may read it.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import tempfile
from collections import Counter
from pathlib import Path, PurePosixPath

from libs import errors
from libs.bus.port import ObjectStore
from libs.messages import codec
from libs.messages.bundles import bundle_digest
from libs.messages.catalog import Bundle
from services.executor.places import Source

log = logging.getLogger(__name__)

_FETCHES = 2
"""One, and another when what came was not what was asked for."""


_GONE = ".gone-"
_SWEEP_SECONDS = 0.5
_AT_ONCE = 4
"""Fetches under way; a large catalogue would otherwise be asked for all at once at the start."""


class BadBundleError(errors.PermanentError):
    """The stored bundle is not what its digest says, or names a path outside itself."""


class Bundles:
    """The bundles of this executor."""

    def __init__(self, *, store: ObjectStore, folder: Path, tasks: asyncio.TaskGroup) -> None:
        """Keep bundles under `folder`, one sub-folder for each digest; fetch in `tasks`."""
        self._store = store
        self._folder = folder
        self._tasks = tasks
        self._known: dict[str, Source] = {}
        self._fetching: dict[str, asyncio.Task[Source | errors.FnbusError]] = {}
        self._uses = Counter[str]()
        self._unwanted: set[str] = set()
        """Bundles that nobody needs any more although they are still on their way."""
        self._sweeping: asyncio.Task[None] | None = None
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def folder(self, digest: str) -> Path:
        """Return the folder that holds a bundle's files; see `source`."""
        return (await self.source(digest)).folder

    async def source(self, digest: str) -> Source:
        """Return the files of a bundle, fetched when they are not here yet.

        Raises:
            BadBundleError: the store holds something else under that digest.
            errors.UnavailableError: the store cannot be reached, or does not have it.
        """
        known = self._known.get(digest)
        if known is not None:
            return known
        outcome = await asyncio.shield(self._fetch_of(digest))
        if isinstance(outcome, errors.FnbusError):
            raise outcome
        return outcome

    def prefetch(self, digest: str) -> None:
        """Begin to fetch a bundle that will be needed; a failure is told when it is needed."""
        if digest not in self._known:
            self._fetch_of(digest)

    def use(self, digest: str) -> None:
        """Note that a version needs a bundle, and begin to fetch it."""
        self._uses[digest] += 1
        self.prefetch(digest)

    def disuse(self, digest: str) -> None:
        """Note that a version that needed a bundle has gone; what nobody needs any more is removed from this machine."""
        self._uses[digest] -= 1
        if self._uses[digest] <= 0:
            del self._uses[digest]
            self._hide(digest)
            self._sweep_soon()

    def forget(self, digest: str) -> None:
        """Note that a bundle's folder is not there any more, so that it is fetched when it is needed again."""
        self._known.pop(digest, None)

    async def tidy(self) -> None:
        """Remove what an earlier run has left and no version needs. Called once all versions are known."""
        for digest in await asyncio.to_thread(_kept, self._folder):
            if digest not in self._uses:
                self._hide(digest)
        await asyncio.to_thread(_remove_hidden, self._folder)

    def _hide(self, digest: str) -> None:
        """Take a bundle out of sight at once, so that nobody finds half of it; `_remove_hidden` removes it."""
        if digest in self._fetching:
            self._unwanted.add(digest)
            return
        self._known.pop(digest, None)
        with contextlib.suppress(OSError):
            os.rename(self._folder / digest, self._folder / f"{_GONE}{digest[:12]}-{secrets.token_hex(4)}")

    def _sweep_soon(self) -> None:
        if self._sweeping is None:
            self._sweeping = self._tasks.create_task(self._sweep(), name="bundles that go")

    async def _sweep(self) -> None:
        """Remove what was hidden, all of it in one go."""
        await asyncio.sleep(_SWEEP_SECONDS)
        self._sweeping = None
        await asyncio.to_thread(_remove_hidden, self._folder)

    def _fetch_of(self, digest: str) -> "asyncio.Task[Source | errors.FnbusError]":
        """Return the one fetch of a bundle, a task of its own: a caller who gives up does not take it away from others."""
        task = self._fetching.get(digest)
        if task is None:
            task = self._fetching[digest] = self._tasks.create_task(self._outcome(digest), name=f"bundle {digest[:12]}")
        return task

    async def _outcome(self, digest: str) -> Source | errors.FnbusError:
        """Return the bundle's folder or why there is none; an error raised here would end the task group."""
        try:
            async with self._slots:
                self._known[digest] = await self._have(digest)
            return self._known[digest]
        except errors.FnbusError as error:
            return error
        except Exception as error:
            log.exception("a bundle could not be had", extra={"action": "bundle_failed", "digest": digest})
            return errors.UnavailableError(f"the bundle could not be had: {error}")
        finally:
            del self._fetching[digest]
            if digest in self._unwanted:
                self._unwanted.discard(digest)
                if not self._uses[digest]:
                    self._hide(digest)
                    self._sweep_soon()

    async def _have(self, digest: str) -> Source:
        place = self._folder / digest
        files = await asyncio.to_thread(_count, place)
        if files:
            return Source(folder=place, files=files)
        bundle = await self._fetch(digest)
        try:
            await asyncio.to_thread(_write, bundle, place)
        except OSError as error:
            raise errors.UnavailableError(f"the bundle cannot be written: {error}") from error
        return Source(folder=place, files=len(bundle.files))

    async def _fetch(self, digest: str) -> Bundle:
        fault = ""
        for _ in range(_FETCHES):
            try:
                data = await self._store.get(digest)
            except errors.NotFoundError as error:
                raise errors.UnavailableError("the bundle is not in the store") from error
            fault = await asyncio.to_thread(_fault, data, digest)
            if not fault:
                return codec.decode(Bundle, data)
            log.warning("a bundle is not what it should be: %s", fault, extra={"action": "bundle_corrupt", "digest": digest})
        raise BadBundleError(f"bundle {digest[:12]}: {fault}")


def _count(place: Path) -> int:
    """Return how many files a bundle's folder holds; 0 when it is not there."""
    return sum(len(files) for _, _, files in os.walk(place))


def _kept(folder: Path) -> list[str]:
    """Return the digests of the bundles that lie in a folder."""
    return [each.name for each in folder.iterdir() if not each.name.startswith(".")] if folder.is_dir() else []


def _remove_hidden(folder: Path) -> None:
    """Remove what was taken out of sight."""
    for each in folder.glob(f"{_GONE}*"):
        shutil.rmtree(each, ignore_errors=True)


def _fault(data: bytes, digest: str) -> str:
    """Return what is wrong with the bytes of a bundle; empty when nothing is."""
    try:
        bundle = codec.decode(Bundle, data)
    except codec.MalformedMessageError as error:
        return str(error)
    found = bundle_digest(bundle)
    if found != digest:
        return f"its digest is {found[:12]}"
    for file in bundle.files:
        if not is_safe(file.path):
            return f"path {file.path!r} leads out of it"
    return ""


def is_safe(path: str) -> bool:
    """Return whether a bundle's path stays inside it wherever it is written."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\0" not in path and "\\" not in path


def _write(bundle: Bundle, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{place.name[:12]}-", dir=place.parent))
    try:
        for file in bundle.files:
            target = beside / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
            target.chmod(0o555 if file.executable else 0o444)
        beside.chmod(0o755)
        os.rename(beside, place)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        if not place.is_dir():  # else another executor on this machine was faster, with the same files
            raise
