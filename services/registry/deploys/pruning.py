"""What becomes of former versions: some are kept of each function, the rest goes, and then the code that nobody names.

Nothing young is touched: a call or another registry may be about to use it. Whatever is put to use again is stamped anew
(`functions`), and is removed here only with the stamp that was read.
"""

import asyncio
import logging
from collections.abc import Container
from datetime import datetime, timedelta

from libs import errors
from libs.bus import port
from libs.clock import Clock
from libs.messages import subjects
from libs.storage.port import Document, Store
from services.registry.functions import documents, steering
from services.registry.functions.store import Functions, digests

log = logging.getLogger(__name__)

YOUNG = timedelta(hours=1)
"""Versions and code of this age or less stay."""
FORGOTTEN = timedelta(days=30)
"""How long it is known of functions that are gone which revisions they had."""


class Pruning:
    """Removes versions and code that are not needed any more."""

    def __init__(self, *, bus: port.Bus, store: Store, clock: Clock, keep: int) -> None:
        """Make it.

        Args:
            bus: where the object store is.
            store: where versions and bundles are.
            clock: says what is young.
            keep: former versions of a function that stay.
        """
        self._bus = bus
        self._store = store
        self._clock = clock
        self._keep = keep
        self._functions = Functions(store=store, clock=clock)

    async def run(self, *, every_seconds: float = 900.0) -> None:
        """Prune for ever."""
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await self.prune()
            except errors.TemporaryError as error:
                log.debug("pruning waits: %s", error, extra={"action": "pruning_waits"})

    async def prune(self) -> int:
        """Remove what is not needed; return how many versions went.

        Raises:
            errors.TemporaryError: store or bus cannot be reached; the rest is done the next time.
        """
        await self._functions.ensure()
        await self._functions.forget(before=self._clock.now() - FORGOTTEN)
        contents = await self._functions.read_all({})
        if contents.unknown:
            return 0  # a newer registry's functions may need what this one does not know of
        versions = await self._functions.all_versions()
        used = {
            documents.version_id(identity, version.digest)
            for identity, entry in contents.entries.items()
            for version in steering.all_versions(entry)
        }
        unneeded = self._unneeded(versions, used=used, functions=contents.entries.keys())
        gone = {document["_id"] for document in unneeded}
        bundles = digests(contents.entries.values()) | {each["bundle"] for each in versions if each["_id"] not in gone}
        objects = await self._bus.objects(subjects.BUNDLE_STORE, projected=True)
        removed = 0
        for document in unneeded:
            if document["bundle"] not in bundles:
                await self._drop_bundle(document["bundle"], objects)
            removed += await self._store.delete(documents.VERSIONS, document["_id"], revision=document["revision"])
        if removed:
            log.info("removed %d former versions", removed, extra={"action": "versions_pruned", "removed": removed})
        return removed

    def _unneeded(self, versions: list[Document], *, used: set[str], functions: Container[str]) -> list[Document]:
        """Return the versions to remove: of functions that are gone all, of others the oldest beyond those kept."""
        old = self._clock.now() - YOUNG
        former: dict[str, list[Document]] = {}
        for document in versions:
            if document["_id"] not in used:
                former.setdefault(document["function"], []).append(document)
        unneeded: list[Document] = []
        for function, documents_of in former.items():
            documents_of.sort(key=_created, reverse=True)
            unneeded += documents_of[self._keep if function in functions else 0 :]
        return [document for document in unneeded if document["created_at"] < old]

    async def _drop_bundle(self, digest: str, objects: port.ObjectStore) -> None:
        bundle = await self._store.get(documents.BUNDLES, digest)
        if bundle is None or bundle["created_at"] >= self._clock.now() - YOUNG:
            return
        if await self._store.delete(documents.BUNDLES, digest, revision=bundle["revision"]):
            for number in range(1, bundle["parts"] + 1):
                await self._store.delete(documents.BUNDLES, documents.part_id(digest, number))
            await objects.delete(digest)


def _created(document: Document) -> datetime:
    return document["created_at"]
