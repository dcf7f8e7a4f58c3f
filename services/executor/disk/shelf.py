"""Folders on this machine that are fetched once each, kept for as long as a version needs them, and then removed.

A folder that exists is complete: it is written beside its place and moved there. What is in it is never changed, so that
workers of any age may read it. What is fetched, and how it is verified, is up to who keeps a shelf.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from libs import errors

log = logging.getLogger(__name__)

_GONE = ".gone-"
_SWEEP_SECONDS = 0.5
_FEW = 64
"""Folders that may wait to be fetched in advance before they go one by one."""
_SHOWN = 12
"""Characters of a key that names of folders and tasks have."""


class Shelf[T]:
    """Folders by key; `T` is what is known of one that is here."""

    def __init__(
        self, *, what: str, folder: Path, tasks: asyncio.TaskGroup, have: Callable[[str, Path], Awaitable[T]], at_once: int
    ) -> None:
        """Keep a sub-folder of `folder` for each key.

        Args:
            what: what a folder holds, for people: `bundle`.
            folder: where they lie.
            tasks: fetches and removals run here.
            have: returns what is known of a key's folder, fetched into that place when it is not there yet.
            at_once: fetches in advance that are under way at the same time; where many wait, as at the start with a large
                catalogue, they go one by one. A folder that somebody waits for is fetched at once.
        """
        self._what = what
        self._folder = folder
        self._tasks = tasks
        self._have = have
        self._at_once = at_once
        self._later: dict[str, None] = {}
        """What will be needed some time, in order."""
        self._ahead = 0
        """Tasks that see to it."""
        self._known: dict[str, T] = {}
        self._fetching: dict[str, asyncio.Task[T | errors.FnbusError]] = {}
        self._uses = Counter[str]()
        self._unwanted: set[str] = set()
        """Keys that nobody needs any more although they are still on their way."""
        self._sweeping: asyncio.Task[None] | None = None

    async def get(self, key: str) -> T:
        """Return what is known of a key's folder, fetched when it is not here yet.

        Raises:
            errors.FnbusError: what `have` has raised.
            errors.UnavailableError: it could not be had for another reason.
        """
        known = self._known.get(key)
        if known is not None:
            return known
        outcome = await asyncio.shield(self._fetch_of(key))
        if isinstance(outcome, errors.FnbusError):
            raise outcome
        return outcome

    def prefetch(self, key: str) -> None:
        """Fetch what will be needed, as soon as it is its turn; a failure is told when it is needed."""
        if key in self._known or key in self._fetching:
            return
        self._later[key] = None
        if self._ahead < self._most_ahead:
            self._ahead += 1
            self._tasks.create_task(self._fetch_ahead(), name=f"{self._what}s in advance")

    def use(self, key: str) -> None:
        """Note that a version needs a key, and begin to fetch it."""
        self._uses[key] += 1
        self.prefetch(key)

    def disuse(self, key: str) -> None:
        """Note that a version that needed a key has gone; what nobody needs any more is removed from this machine."""
        self._uses[key] -= 1
        if self._uses[key] <= 0:
            del self._uses[key]
            self._hide(key)
            self._sweep_soon()

    def forget(self, key: str) -> None:
        """Note that a key's folder is not there any more, so that it is fetched when it is needed again."""
        self._known.pop(key, None)

    async def tidy(self) -> None:
        """Remove what an earlier run has left and no version needs. Called once all versions are known."""
        for key in await asyncio.to_thread(_kept, self._folder):
            if key not in self._uses:
                self._hide(key)
        await asyncio.to_thread(_remove_hidden, self._folder)

    @property
    def _most_ahead(self) -> int:
        return self._at_once if len(self._later) <= _FEW else 1

    async def _fetch_ahead(self) -> None:
        try:
            while self._later and self._ahead <= self._most_ahead:
                await self._fetch_of(next(iter(self._later)))
        finally:
            self._ahead -= 1

    def _hide(self, key: str) -> None:
        """Take a folder out of sight at once, so that nobody finds half of it; `_remove_hidden` removes it."""
        self._later.pop(key, None)
        if key in self._fetching:
            self._unwanted.add(key)
            return
        self._known.pop(key, None)
        with contextlib.suppress(OSError):
            os.rename(self._folder / key, self._folder / f"{_GONE}{key[:_SHOWN]}-{secrets.token_hex(4)}")

    def _sweep_soon(self) -> None:
        if self._sweeping is None:
            self._sweeping = self._tasks.create_task(self._sweep(), name=f"{self._what}s that go")

    async def _sweep(self) -> None:
        """Remove what was hidden, all of it in one go."""
        await asyncio.sleep(_SWEEP_SECONDS)
        self._sweeping = None
        await asyncio.to_thread(_remove_hidden, self._folder)

    def _fetch_of(self, key: str) -> "asyncio.Task[T | errors.FnbusError]":
        """Return the one fetch of a key, a task of its own: a caller who gives up does not take it away from others."""
        self._later.pop(key, None)
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = self._tasks.create_task(self._outcome(key), name=f"{self._what} {key[:_SHOWN]}")
        return task

    async def _outcome(self, key: str) -> T | errors.FnbusError:
        """Return what is known of the folder or why there is none; an error raised here would end the task group."""
        try:
            self._known[key] = known = await self._have(key, self._folder / key)
        except errors.FnbusError as error:
            return error
        except Exception as error:
            log.exception("a %s could not be had", self._what, extra={"action": f"{self._what}_failed", "key": key})
            return errors.UnavailableError(f"the {self._what} could not be had: {error}")
        else:
            return known
        finally:
            del self._fetching[key]
            if key in self._unwanted:
                self._unwanted.discard(key)
                if not self._uses[key]:
                    self._hide(key)
                    self._sweep_soon()


def make_beside(place: Path) -> Path:
    """Return a new folder beside a place, to be written and then moved there (`settle`)."""
    place.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{place.name[:_SHOWN]}-", dir=place.parent))


def settle(beside: Path, place: Path) -> None:
    """Move a folder that is complete to its place; one that cannot be moved is removed.

    Raises:
        OSError: it cannot be moved, and there is none in that place.
    """
    try:
        beside.chmod(0o755)
        os.rename(beside, place)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        if not place.is_dir():  # else another executor on this machine was faster, with the same files
            raise


def _kept(folder: Path) -> list[str]:
    """Return the keys whose folders are here."""
    return [each.name for each in folder.iterdir() if not each.name.startswith(".")] if folder.is_dir() else []


def _remove_hidden(folder: Path) -> None:
    """Remove what was taken out of sight."""
    for each in folder.glob(f"{_GONE}*"):
        shutil.rmtree(each, ignore_errors=True)
