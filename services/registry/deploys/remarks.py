"""What concerns all functions of the catalogue (its conflicts, problems, size), kept in the store by compare-and-set."""

from collections.abc import Sequence

from libs import errors
from libs.clock import Clock
from libs.messages.catalog import CatalogMeta, Policy, Problem
from libs.messages.web import Assets
from services.registry.functions import catalog
from services.registry.functions.store import Functions
from services.registry.source.snapshot import Snapshot

_TRIES = 5


class Remarks:
    """The catalogue's meta document, as this registry last read or wrote it."""

    def __init__(self, *, functions: Functions, clock: Clock, functions_root: str, defaults: Policy | None = None) -> None:
        """Keep it in the store of `functions`.

        Args:
            functions: the registry's part of the store.
            clock: stamps the catalogue.
            functions_root: path of the functions folder, for people; empty without one.
            defaults: what holds where no config says anything.
        """
        self._defaults = defaults or Policy()
        self._functions = functions
        self._clock = clock
        self._functions_root = functions_root
        self._revision = 0
        self._has_said = False
        self.meta: CatalogMeta | None = None
        """None until it has been written once."""

    async def read(self) -> None:
        """Look what the store holds.

        Raises:
            errors.UnavailableError: the store cannot be reached.
        """
        self.meta, self._revision = await self._functions.read_meta()

    async def note(
        self, snapshot: Snapshot | None, *, faults: Sequence[Problem], functions: int, assets: Assets | None = None
    ) -> None:
        """Store what concerns all functions, if it has changed.

        Args:
            snapshot: the folder; None when there is none or it could not be read: then what was known of it stays.
            faults: what went wrong with single functions.
            functions: how many there are.
            assets: the static files.

        Raises:
            errors.UnavailableError: the store cannot be reached.
        """
        for _ in range(_TRIES):
            known = self.meta
            conflicts, problems = (known.conflicts, known.problems) if known else ((), ())
            homes = known.homes if known else ()
            if snapshot is not None:
                homes = snapshot.homes
                conflicts = snapshot.conflicts
                problems = (*snapshot.problems, *sorted(faults, key=lambda fault: fault.path))
            meta = catalog.meta(
                known=known,
                functions=functions,
                functions_root=self._root_to_say(known, snapshot),
                conflicts=conflicts,
                problems=problems,
                defaults=self._defaults if known is None or snapshot is not None else known.defaults,
                now=self._clock.now(),
                homes=homes,
                assets=assets,
            )
            if meta is known:
                break
            try:
                self._revision = await self._functions.write_meta(meta, revision=self._revision)
            except errors.ConflictError:
                await self.read()
            else:
                self.meta = meta
                break
        self._has_said = True

    def _root_to_say(self, known: CatalogMeta | None, snapshot: Snapshot | None) -> str:
        """Return the folder's path; registries that know one folder by two paths do not argue about it after their start."""
        if known is not None and known.functions_root and (snapshot is None or self._has_said):
            return known.functions_root
        return self._functions_root
