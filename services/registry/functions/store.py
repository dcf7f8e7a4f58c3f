"""Functions in the store: entries by compare-and-set, versions and bundles that never change.

Order of a write: bundle, version, entry. So an entry in the store always names code that is there.
"""

import contextlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from libs.clock import Clock
from libs.messages import codec
from libs.messages.catalog import Bundle, CatalogMeta, FunctionEntry, VersionEntry
from libs.storage.port import Collection, Document, DuplicateKeyError, RevisionConflictError, Store, Where
from services.registry.functions import catalog, documents, steering

log = logging.getLogger(__name__)

_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All functions of the store."""

    entries: Mapping[str, FunctionEntry]
    """By id."""
    unknown: frozenset[str]
    """Ids of documents that this version cannot read: a newer registry's, to be left alone."""


class Functions:
    """The registry's part of the store. Every method raises `StoreUnavailableError` while the store cannot be reached."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def ensure(self) -> None:
        """Create the collections where they are missing."""
        for collection in (documents.FUNCTIONS, documents.VERSIONS, documents.BUNDLES, documents.CATALOG):
            await self._store.ensure(collection)

    async def read_all(self, known: Mapping[str, FunctionEntry]) -> Contents:
        """Return all functions; those of `known` that have the stored revision are returned as they are."""
        entries: dict[str, FunctionEntry] = {}
        unknown: set[str] = set()
        after = ""
        while True:
            page = await self._store.find(documents.FUNCTIONS, [Where("_id", ">", after)], sort="_id", limit=_PAGE)
            for document in page:
                identity = document["_id"]
                same = known.get(identity)
                if documents.is_gone(document):
                    continue
                if same is not None and same.revision == document["revision"]:
                    entries[identity] = same
                else:
                    entry = _readable(document)
                    if entry is None:
                        unknown.add(identity)
                    else:
                        entries[identity] = entry
            if len(page) < _PAGE:
                return Contents(entries=entries, unknown=frozenset(unknown))
            after = page[-1]["_id"]

    async def read(self, identity: str) -> FunctionEntry | None:
        """Return a function, or None when there is none that can be read."""
        document = await self._store.get(documents.FUNCTIONS, identity)
        return None if document is None or documents.is_gone(document) else _readable(document)

    async def write(
        self,
        entry: FunctionEntry,
        bundles: Mapping[str, Bundle],
        *,
        by: str = "",
        replaced: Mapping[str, str] | None = None,
    ) -> FunctionEntry:
        """Store a function with its versions; return the entry as stored.

        Args:
            entry: its revision is the one that was read, 0 for a new function.
            bundles: code that may not be stored yet, by digest.
            by: who deploys it.
            replaced: versions that have another form now, by digest, and what that is: they are listed once.

        Raises:
            DuplicateKeyError: there is such a function already.
            RevisionConflictError: it was changed or removed since it was read.
        """
        now = self._clock.now()
        for digest, bundle in bundles.items():
            for document in documents.from_bundle(digest, bundle, now):
                await self._keep(documents.BUNDLES, document)
        former = {digest: before for before, digest in (replaced or {}).items()}
        for version in steering.all_versions(entry):
            if catalog.can_run(version):  # one that cannot run is nothing to come back to
                await self._keep(documents.VERSIONS, await self._version(entry, version, by=by, former=former))
        document = documents.from_entry(entry)
        if entry.revision:
            revision = await self._store.replace(documents.FUNCTIONS, document, revision=entry.revision)
        else:
            revision = await self._add(document)
        for digest in {*former.values()} - {version.digest for version in steering.all_versions(entry)}:
            await self._store.delete(documents.VERSIONS, documents.version_id(documents.id_of(entry), digest))
        return replace(entry, revision=revision)

    async def remove(self, entry: FunctionEntry) -> bool:
        """Remove a function of that revision; return whether it was there. Its versions are left to `pruning`.

        Raises:
            RevisionConflictError: it was changed since it was read.
        """
        remains = documents.remains(entry, self._clock.now())
        try:
            await self._store.replace(documents.FUNCTIONS, remains, revision=entry.revision)
        except RevisionConflictError:
            there = await self._store.get(documents.FUNCTIONS, remains["_id"])
            if there is not None and not documents.is_gone(there):
                raise
            return False
        return True

    async def forget(self, *, before: datetime) -> int:
        """Remove what stayed of functions that went before that moment, so that they may begin at 1 again; return how many."""
        forgotten = 0
        for document in await self._store.find(documents.FUNCTIONS, [Where("source", "==", "")], limit=_PAGE):
            if documents.is_gone(document) and document["gone_at"] < before:
                forgotten += await self._store.delete(documents.FUNCTIONS, document["_id"], revision=document["revision"])
        return forgotten

    async def versions(self, function: str) -> list[Document]:
        """Return the documents of all kept versions of a function, the latest used first."""
        found = await self._store.find(documents.VERSIONS, [Where("function", "==", function)], limit=_PAGE)
        return sorted(found, key=lambda each: each["created_at"], reverse=True)

    async def all_versions(self) -> list[Document]:
        """Return the documents of all kept versions of all functions."""
        found: list[Document] = []
        after = ""
        while True:
            page = await self._store.find(documents.VERSIONS, [Where("_id", ">", after)], sort="_id", limit=_PAGE)
            found += page
            if len(page) < _PAGE:
                return found
            after = page[-1]["_id"]

    async def bundle(self, digest: str) -> Bundle | None:
        """Return code by its digest, or None when it is not stored."""
        document = await self._store.get(documents.BUNDLES, digest)
        if document is None:
            return None
        data = [document["data"]]
        for number in range(1, document["parts"] + 1):
            part = await self._store.get(documents.BUNDLES, documents.part_id(digest, number))
            if part is None:
                return None
            data.append(part["data"])
        return codec.decode(Bundle, b"".join(data))

    async def read_meta(self) -> tuple[CatalogMeta | None, int]:
        """Return what concerns all functions, and its revision (0: there is nothing yet)."""
        document = await self._store.get(documents.CATALOG, documents.META_ID)
        return (None, 0) if document is None else (documents.to_meta(document), document["revision"])

    async def write_meta(self, meta: CatalogMeta, *, revision: int) -> int:
        """Store what concerns all functions; return the new revision.

        Raises:
            DuplicateKeyError: there is something already.
            RevisionConflictError: it was changed since it was read.
        """
        document = documents.from_meta(meta)
        if revision:
            return await self._store.replace(documents.CATALOG, document, revision=revision)
        await self._store.insert(documents.CATALOG, document)
        return 1

    async def _add(self, document: Document) -> int:
        """Store a function that is not there, or not any more; return its revision, which never was one of it before.

        Raises:
            DuplicateKeyError: there is such a function already.
            RevisionConflictError: another registry was faster.
        """
        try:
            await self._store.insert(documents.FUNCTIONS, document)
        except DuplicateKeyError:
            there = await self._store.get(documents.FUNCTIONS, document["_id"])
            if there is None or not documents.is_gone(there):
                raise
            return await self._store.replace(documents.FUNCTIONS, document, revision=there["revision"])
        return 1

    async def _version(self, entry: FunctionEntry, version: VersionEntry, *, by: str, former: Mapping[str, str]) -> Document:
        """Return the document of a version; one in another form stays deployed by whom and when it was."""
        identity = documents.id_of(entry)
        document = documents.from_version(identity, version, self._clock.now(), by=by)
        if version.digest not in former:
            return document
        before = await self._store.get(documents.VERSIONS, documents.version_id(identity, former[version.digest]))
        return document if before is None else document | {name: before[name] for name in ("deployed_at", "by", "label")}

    async def _keep(self, collection: Collection, document: Document) -> None:
        """Store something that never changes; when it is there already, note that it is in use again."""
        while True:
            with contextlib.suppress(DuplicateKeyError):
                return await self._store.insert(collection, document)
            there = await self._store.get(collection, document["_id"])
            if there is None:
                continue
            if "created_at" not in document:
                return None
            with contextlib.suppress(RevisionConflictError):
                fresh = there | {"created_at": document["created_at"]}
                await self._store.replace(collection, fresh, revision=there["revision"])
                return None


def _readable(document: Document) -> FunctionEntry | None:
    try:
        return documents.to_entry(document)
    except codec.MalformedMessageError as error:
        log.warning(
            "a stored function cannot be read and is left as it is: %s",
            error,
            extra={"action": "function_unreadable", "id": document["_id"]},
        )
        return None


def digests(entries: Iterable[FunctionEntry]) -> set[str]:
    """Return the digests of the bundles that the entries need."""
    return {version.bundle for entry in entries for version in steering.all_versions(entry)}
