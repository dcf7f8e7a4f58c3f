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

from libs import errors
from services.executor.workers.guests import Blank, Guests
from services.executor.workers.process import Worker
from services.executor.workers.shelves import Kind, Look, Shelf

log = logging.getLogger(__name__)

_GROWTH = 5
"""After a burst or a quiet time, up to so many times as many spares are kept."""
_STEP = 4
"""In a quiet time, so many more are kept of each kind with each look."""
_REST_SECONDS = 0.03
"""After a start that took a spare: its call, and those that come right after it, are answered before the next spare boots."""
_RESTS = 8
"""Starts that come one after the other put a boot off for so many rests, no longer."""
_PAUSE_SECONDS = 5.0
"""After a spare that could not be booted, and after memory ran short."""
_NO_LOOK = Look()


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
        quiet_bytes: int,
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
        self._shelves: dict[Kind, Shelf] = {}
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
            self._shelves[kind] = Shelf(self._each)
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
            blank = shelf.pick(look)
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
            if shelf.booting > shelf.promised:
                coming = await self._coming(shelf)
                if coming is not None:
                    return coming
        try:
            return await self._guests.boot(kind.runtime, kind.profile)
        finally:
            self._replenish()

    def learn(self, kind: Kind, look: Look, told: bytes) -> None:
        """Note what a guest has told when it had loaded code of that look: the head of its LOADED."""
        shelf = self._shelves.get(kind)
        if shelf is not None:
            shelf.learn(look, told)

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
                shelf.target = min(shelf.target + _STEP, self._each * _GROWTH)
        for shelf in self._shelves.values():
            shelf.warm_one()
        self._replenish()

    async def close(self) -> None:
        """End all spares and keep none any more."""
        self._closed = True
        if self._rested is not None:
            self._rested.cancel()
        workers = [blank.worker for shelf in self._shelves.values() for blank in shelf.blanks]
        self._shelves.clear()
        await asyncio.gather(*(worker.kill() for worker in (*workers, *self._ending)))

    async def _coming(self, shelf: Shelf) -> Blank | None:
        """Wait for a spare that boots already, which is sooner than to boot another; None when that has failed."""
        place = shelf.wait()
        try:
            return await place
        except asyncio.CancelledError:
            if not place.cancelled() and (blank := place.result()) is not None:
                self._drop(blank)
            raise

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
            if shelf.lacks and now >= shelf.not_before
        ]
        return min(lacking)[-1] if lacking and self._bytes < self._room() else None

    async def _boot(self, kind: Kind, shelf: Shelf) -> None:
        try:
            blank = await self._guests.boot(kind.runtime, kind.profile, spare=True)
        except errors.FnbusError as error:
            shelf.not_before = time.monotonic() + _PAUSE_SECONDS
            log.info("a spare could not be booted: %s", error, extra={"action": "spare_failed", "runtime": kind.runtime})
        else:
            if self._closed or self._shelves.get(kind) is not shelf:
                await blank.worker.kill()
            else:
                shelf.put(blank)
                blank.worker.on_gone(partial(self._lost, shelf, blank))
        finally:
            self._booting -= 1
            shelf.booting -= 1
            shelf.disappoint()
            self._replenish()

    def _lost(self, shelf: Shelf, blank: Blank) -> None:
        """A worker that began as a spare has ended; it matters when it still was one."""
        if shelf.remove(blank):
            shelf.not_before = time.monotonic() + _PAUSE_SECONDS

    def _end(self, shelf: Shelf, count: int) -> int:
        """End spares; return how many bytes that gives back, about."""
        given = 0
        for blank in shelf.blanks[: max(count, 0)]:
            shelf.remove(blank)
            given += blank.memory_bytes
            self._drop(blank)
        return given

    def _drop(self, blank: Blank) -> None:
        self._ending.add(blank.worker)
        blank.worker.on_gone(partial(self._ending.discard, blank.worker))
        blank.worker.kill_soon()
