"""Spares: guests without code, kept ready for each runtime and profile that some function needs.

A cold start that finds a spare costs a few links and a LOAD; one that does not boots a guest itself. What is taken is
replaced in the background, few at a time, and not at once: a boot would take the processor from the very call that took the
spare. More are kept after a burst, and by and by while the executor has nothing to do.

What guests have to make ready for some code and not for other (a compiler, an event loop) they tell when they have loaded it.
Half of the spares get it made ready in advance then, and starts that look like those get them.
Spares are the first thing that goes when memory runs short, and nothing of them is anybody's: one that ends is just replaced.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import orjson

from libs import errors
from services.executor.guests import Blank, Guests
from services.executor.process import Worker
from services.executor.profile import Profile

log = logging.getLogger(__name__)

_GROWTH = 5
"""After a burst or a quiet time, up to so many times as many spares are kept."""
_QUIET_BYTES = 160 * 1024 * 1024
"""What all spares may use for more of them to be kept although there was no burst."""
_REST_SECONDS = 0.03
"""After a start that took a spare: its call, and those that come right after it, are answered before the next spare boots."""
_RESTS = 8
"""Starts that come one after the other put a boot off for so many rests, no longer."""
_WORDS = 8
"""Of what code needs, so many words are listened to."""
_PAUSE_SECONDS = 5.0
"""After a spare that could not be booted, and after memory ran short."""


class Kind(NamedTuple):
    """What spares can stand in for each other: those of one kind."""

    runtime: str
    profile: Profile


class Look(NamedTuple):
    """What tells before code is loaded whether it needs the same as other code."""

    suffix: str = ""
    """Of the entry file's name."""
    style: str = ""
    """The handler's, as it is configured."""


_NO_LOOK = Look()


class _Shelf:
    """The spares of one kind."""

    __slots__ = ("blanks", "booting", "needs", "not_before", "target", "warmed")

    def __init__(self, target: int) -> None:
        self.blanks: list[Blank] = []
        """Those that were warmed come last."""
        self.warmed: set[Worker] = set()
        self.needs: dict[Look, tuple[str, ...]] = {}
        """What code of that look needed last."""
        self.booting = 0
        self.target = target
        self.not_before = 0.0


class Spares:
    """The spares of an executor."""

    def __init__(
        self,
        *,
        guests: Guests,
        tasks: asyncio.TaskGroup,
        each: int,
        most: int,
        at_once: int,
        room: Callable[[], int],
        quiet: Callable[[], bool],
        quiet_bytes: int = _QUIET_BYTES,
        rest_seconds: float = _REST_SECONDS,
    ) -> None:
        """Keep none until a kind is used.

        Args:
            guests: boots them.
            tasks: where that happens.
            each: spares of each kind; 0: none are kept.
            most: spares of all kinds together.
            at_once: spares that boot at the same time.
            room: tells how many bytes spares may take.
            quiet: tells whether there is nothing to do, so that nobody is disturbed.
            quiet_bytes: how much all may use for more to be kept without a burst.
            rest_seconds: how long what was taken is not replaced after the last start, unless few are left.
        """
        self._loop = asyncio.get_running_loop()
        self._guests = guests
        self._tasks = tasks
        self._each = each
        self._most = most
        self._at_once = at_once
        self._room = room
        self._quiet = quiet
        self._quiet_bytes = quiet_bytes
        self._rest_seconds = rest_seconds
        self._rested: asyncio.TimerHandle | None = None
        self._rest_at_most = 0.0
        self._used = Counter[Kind]()
        self._shelves: dict[Kind, _Shelf] = {}
        self._ending: set[Worker] = set()
        self._booting = 0
        self._closed = False
        self.taken = 0
        """Starts that found a spare."""
        self.missed = 0
        """Starts that found none."""

    @property
    def count(self) -> int:
        """Spares that are ready."""
        return sum(len(shelf.blanks) for shelf in self._shelves.values())

    @property
    def _bytes(self) -> int:
        return sum(blank.memory_bytes for shelf in self._shelves.values() for blank in shelf.blanks)

    def use(self, kind: Kind) -> None:
        """One more version needs workers of this kind."""
        if kind.runtime not in self._guests.runtimes:
            return
        self._used[kind] += 1
        if self._each and kind not in self._shelves:
            self._shelves[kind] = _Shelf(self._each)
            self._replenish()

    def disuse(self, kind: Kind) -> None:
        """One version less needs workers of this kind."""
        self._used[kind] -= 1
        if self._used[kind] <= 0:
            del self._used[kind]
            shelf = self._shelves.pop(kind, None)
            if shelf is not None:
                self._end(shelf, len(shelf.blanks))

    async def take(self, kind: Kind, look: Look = _NO_LOOK) -> Blank:
        """Return a spare, or a guest that boots now.

        Args:
            kind: its kind.
            look: of the code that it will get.

        Raises:
            WorkerEndedError: it did not get ready.
            errors.UnavailableError: the runtime is not here, or the disk is full.
        """
        shelf = self._shelves.get(kind)
        while shelf is not None and shelf.blanks:
            blank = shelf.blanks.pop(-1 if shelf.needs.get(look) else 0)
            shelf.warmed.discard(blank.worker)
            if not blank.worker.ended:
                self.taken += 1
                if 2 * len(shelf.blanks) < self._each:
                    self._replenish()
                else:
                    self._replenish_later()
                return blank
        self.missed += 1
        if shelf is not None:
            shelf.target = min(shelf.target + self._each, self._each * _GROWTH)
        try:
            return await self._guests.boot(kind.runtime, kind.profile)
        finally:
            self._replenish()

    def learn(self, kind: Kind, look: Look, told: bytes) -> None:
        """Note what a guest has told when it had loaded code of that look: the head of its LOADED."""
        shelf = self._shelves.get(kind)
        if shelf is None or (not told and look not in shelf.needs):
            return
        words = _words(told)
        if words or look in shelf.needs:
            shelf.needs[look] = words

    def shed(self, missing_bytes: int) -> int:
        """End spares because memory runs short; return how many bytes that gives back, about."""
        given = 0
        for shelf in self._shelves.values():
            shelf.not_before = time.monotonic() + _PAUSE_SECONDS
            shelf.target = self._each
            while shelf.blanks and given < missing_bytes:
                given += self._end(shelf, 1)
        return given

    def trim(self) -> None:
        """Do what is due every second or so: make room, replace what was put off, keep more in quiet times."""
        used = self._bytes
        if used > self._room():
            self.shed(used - self._room())
            return
        if self._quiet() and not self._booting and used < self._quiet_bytes:
            for shelf in self._shelves.values():
                shelf.target = min(shelf.target + 1, self._each * _GROWTH)
        for shelf in self._shelves.values():
            _warm_one(shelf)
        self._replenish()

    async def close(self) -> None:
        """End all spares and keep none any more."""
        self._closed = True
        if self._rested is not None:
            self._rested.cancel()
        workers = [blank.worker for shelf in self._shelves.values() for blank in shelf.blanks]
        self._shelves.clear()
        await asyncio.gather(*(worker.kill() for worker in (*workers, *self._ending)))

    def _replenish_later(self) -> None:
        """Boot what lacks once starts have paused for a moment."""
        now = self._loop.time()
        if self._rested is None:
            self._rest_at_most = now + _RESTS * self._rest_seconds
        else:
            self._rested.cancel()
        self._rested = self._loop.call_at(min(now + self._rest_seconds, self._rest_at_most), self._on_rested)

    def _on_rested(self) -> None:
        self._rested = None
        self._replenish()

    def _replenish(self) -> None:
        """Boot what lacks, as far as that disturbs nobody: starts that somebody waits for come first."""
        while self._booting < self._at_once and not self._closed and not self._guests.waited_for:
            kind = self._most_wanted()
            if kind is None:
                return
            self._booting += 1
            self._shelves[kind].booting += 1
            self._tasks.create_task(self._boot(kind, self._shelves[kind]), name=f"spare {kind.runtime}")

    def _most_wanted(self) -> Kind | None:
        """Return the kind that lacks spares most, None when none does or there is no room for more."""
        if self.count + self._booting >= self._most:
            return None
        now = time.monotonic()
        lacking = [
            (len(shelf.blanks) + shelf.booting, -self._used[kind], at, kind)
            for at, (kind, shelf) in enumerate(self._shelves.items())
            if len(shelf.blanks) + shelf.booting < shelf.target and now >= shelf.not_before
        ]
        return min(lacking)[-1] if lacking and self._bytes < self._room() else None

    async def _boot(self, kind: Kind, shelf: _Shelf) -> None:
        try:
            blank = await self._guests.boot(kind.runtime, kind.profile, spare=True)
        except errors.FnbusError as error:
            shelf.not_before = time.monotonic() + _PAUSE_SECONDS
            log.info("a spare could not be booted: %s", error, extra={"action": "spare_failed", "runtime": kind.runtime})
        else:
            if self._closed or self._shelves.get(kind) is not shelf:
                await blank.worker.kill()
            else:
                shelf.blanks.insert(0, blank)
                blank.worker.on_gone(partial(self._lost, shelf, blank))
        finally:
            self._booting -= 1
            shelf.booting -= 1
            self._replenish()

    def _lost(self, shelf: _Shelf, blank: Blank) -> None:
        """A worker that began as a spare has ended; it matters when it still was one."""
        if blank in shelf.blanks:
            shelf.blanks.remove(blank)
            shelf.warmed.discard(blank.worker)
            shelf.not_before = time.monotonic() + _PAUSE_SECONDS

    def _end(self, shelf: _Shelf, count: int) -> int:
        """End spares; return how many bytes that gives back, about."""
        given = 0
        for blank in shelf.blanks[: max(count, 0)]:
            shelf.blanks.remove(blank)
            shelf.warmed.discard(blank.worker)
            given += blank.memory_bytes
            self._ending.add(blank.worker)
            blank.worker.on_gone(partial(self._ending.discard, blank.worker))
            blank.worker.kill_soon()
        return given


def _words(told: bytes) -> tuple[str, ...]:
    """Return the words of a LOADED, which comes from a process that runs user code."""
    try:
        found: object = orjson.loads(told) if told else []
    except ValueError:
        return ()
    words = found if isinstance(found, list) else []  # pyright: ignore[reportUnknownVariableType]  elements are looked at below
    return tuple(each for each in words[:_WORDS] if isinstance(each, str) and each.isidentifier())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  likewise


def _warm_one(shelf: _Shelf) -> None:
    """Have one more spare make ready what code has needed, unless half of them have."""
    words = dict.fromkeys(word for needed in shelf.needs.values() for word in needed)
    cold = len(shelf.blanks) - len(shelf.warmed)
    if words and len(shelf.warmed) < cold:
        worker = shelf.blanks[cold - 1].worker
        shelf.warmed.add(worker)
        worker.warm([*words][:_WORDS])
