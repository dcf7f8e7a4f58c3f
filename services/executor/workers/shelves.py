"""Spares of one kind: which of them a start gets, who waits for one that boots, and what they make ready in advance. No I/O."""

import asyncio
from collections import deque
from typing import NamedTuple

import orjson

from services.executor.profile import Profile
from services.executor.workers.guests import Blank
from services.executor.workers.process import Worker

_WORDS = 8
"""Of what code needs, so many words are listened to."""


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


class Shelf:
    """The spares of one kind."""

    __slots__ = ("_needs", "_waiting", "_warmed", "blanks", "booting", "not_before", "target")

    def __init__(self, target: int) -> None:
        """Hold none yet.

        Args:
            target: how many there are to be.
        """
        self.blanks: list[Blank] = []
        """Those that are ready; warmed ones come last."""
        self.booting = 0
        self.target = target
        self.not_before = 0.0
        """When the next one may boot, in monotonic seconds."""
        self._waiting: deque[asyncio.Future[Blank | None]] = deque()
        """Starts that wait for a spare that boots already."""
        self._warmed: set[Worker] = set()
        self._needs: dict[Look, tuple[str, ...]] = {}
        """What code of that look needed last."""

    @property
    def lacks(self) -> bool:
        """Whether one more should boot."""
        return len(self.blanks) + self.booting < self.target

    @property
    def promised(self) -> int:
        """Starts that wait for one that boots."""
        return sum(not place.done() for place in self._waiting)

    def put(self, blank: Blank) -> None:
        """Add one that has booted, or give it to the start that has waited for it longest."""
        if not self._hand_over(blank):
            self.blanks.insert(0, blank)

    def pick(self, look: Look) -> Blank:
        """Take the one that suits code of that look best; there must be one."""
        blank = self.blanks.pop(-1 if self._needs.get(look) else 0)
        self._warmed.discard(blank.worker)
        return blank

    def remove(self, blank: Blank) -> bool:
        """Forget one; False when it is not here (any more)."""
        if blank not in self.blanks:
            return False
        self.blanks.remove(blank)
        self._warmed.discard(blank.worker)
        return True

    def wait(self) -> "asyncio.Future[Blank | None]":
        """Return what becomes one that boots now, None when none does: cancelled, it leaves that to others."""
        place: asyncio.Future[Blank | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        return place

    def disappoint(self) -> None:
        """Tell those who wait for more than boots that there is none for them."""
        while self.promised > self.booting:
            self._hand_over(None)

    def learn(self, look: Look, told: bytes) -> None:
        """Note what a guest has told when it had loaded code of that look: the head of its LOADED."""
        words = _words(told)
        if words or look in self._needs:
            self._needs[look] = words

    def warm_one(self) -> None:
        """Have one more make ready what code has needed, unless half of them have."""
        words = dict.fromkeys(word for needed in self._needs.values() for word in needed)
        cold = len(self.blanks) - len(self._warmed)
        if words and len(self._warmed) < cold:
            worker = self.blanks[cold - 1].worker
            self._warmed.add(worker)
            worker.warm([*words][:_WORDS])

    def _hand_over(self, blank: Blank | None) -> bool:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(blank)
                return True
        return False


def _words(told: bytes) -> tuple[str, ...]:
    """Return the words of a LOADED, which comes from a process that runs user code."""
    try:
        found: object = orjson.loads(told) if told else []
    except ValueError:
        return ()
    words = found if isinstance(found, list) else []  # pyright: ignore[reportUnknownVariableType]  elements are looked at below
    return tuple(each for each in words[:_WORDS] if isinstance(each, str) and each.isidentifier())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  likewise
