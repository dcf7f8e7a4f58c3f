"""Brings the store to the form that this release works with: the steps that are missing, one after the other, by one replica.

Which form the store has is in a document, and so is who is at work on it: whoever wants to take a step takes the document by
compare-and-set, for a time that is renewed while the step goes on. A replica that dies leaves a step half done; another takes
it again when the time is over, so every step must do no harm when it is taken twice, or by two at once.

A step is a module `step_<number>_<what it does>` with a function `apply`. A released one is never changed.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from libs import errors
from libs.clock import Clock
from libs.storage.port import Document, Store
from services.registry.functions import documents
from services.registry.migrations import step_0001_versions_by_function

log = logging.getLogger(__name__)

type Step = Callable[[Store, Callable[[], Awaitable[None]]], Awaitable[None]]
"""Changes a store's form by one. It calls the second argument after each piece of work, so that nobody else takes over."""

STEPS: tuple[Step, ...] = (step_0001_versions_by_function.apply,)
"""In order: the first leads from form 0, which had no number, to form 1."""

LEASE = timedelta(seconds=60)
"""How long a replica that says nothing is taken to be at work."""


class NewerFormError(errors.PermanentError):
    """The store was written by a newer release.

    Attributes:
        form: the store's.
        known: the highest that this release knows.
    """

    def __init__(self, *, form: int, known: int) -> None:
        super().__init__(
            f"the store has form {form}, and this release knows forms up to {known}: run the newer release, or restore a backup"
        )
        self.form = form
        self.known = known


class _TakenOverError(errors.TemporaryError):
    """Another replica goes on with the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrations:
    """Takes the steps that a store lacks."""

    store: Store
    clock: Clock
    replica: str
    """Name of this process, unlike any other's."""
    steps: Sequence[Step] = STEPS
    poll_seconds: float = 0.5

    async def run(self) -> int:
        """Return the store's form once it is the present one; how many steps this took is in the log.

        Raises:
            NewerFormError: the store is from a newer release.
            errors.UnavailableError: the store cannot be reached; what was done stays done.
        """
        await self.store.ensure(documents.CATALOG)
        while True:
            document = await self._read()
            number: int = document["number"]
            if number > len(self.steps):
                raise NewerFormError(form=number, known=len(self.steps))
            if number == len(self.steps):
                return number
            if document["owner"] not in ("", self.replica) and document["until"] > self.clock.now():
                await asyncio.sleep(self.poll_seconds)
                continue
            try:
                await self._take(document)
            except (errors.ConflictError, _TakenOverError):
                await asyncio.sleep(self.poll_seconds)

    async def _read(self) -> Document:
        """Return the document that says which form the store has, made where it is missing."""
        found = await self.store.get(documents.CATALOG, documents.FORM_ID)
        if found is not None:
            return found
        await self.store.ensure(documents.FUNCTIONS)
        await self.store.ensure(documents.VERSIONS)
        is_new = not await self.store.count(documents.FUNCTIONS) and not await self.store.count(documents.VERSIONS)
        document: Document = {
            "_id": documents.FORM_ID,
            "number": len(self.steps) if is_new else 0,
            "owner": "",
            "until": self.clock.now(),
        }
        with contextlib.suppress(errors.ConflictError):  # another replica was faster
            await self.store.insert(documents.CATALOG, document)
        return await self._read()

    async def _take(self, document: Document) -> None:
        """Take one step.

        Raises:
            errors.ConflictError: another replica was faster.
            _TakenOverError: it came to be taken over.
        """
        number: int = document["number"]
        revision: int = await self._stamp(document, revision=document["revision"])
        log.info("migrating the store to form %d", number + 1, extra={"action": "migration_began", "form": number + 1})
        since = self.clock.monotonic()

        async def alive() -> None:
            nonlocal revision, since
            if self.clock.monotonic() - since < LEASE.total_seconds() / 4:
                return
            try:
                revision = await self._stamp(document, revision=revision)
            except errors.ConflictError:
                raise _TakenOverError("another replica has taken the step over") from None
            since = self.clock.monotonic()

        await self.steps[number](self.store, alive)
        done = document | {"number": number + 1, "owner": "", "until": self.clock.now()}
        await self.store.replace(documents.CATALOG, done, revision=revision)
        log.info("the store has form %d", number + 1, extra={"action": "migration_done", "form": number + 1})

    async def _stamp(self, document: Document, *, revision: int) -> int:
        mine = document | {"owner": self.replica, "until": self.clock.now() + LEASE}
        return await self.store.replace(documents.CATALOG, mine, revision=revision)
