"""A store in this process's memory: for tests and for trying things out. Held to the same suite as the durable ones."""

import asyncio
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

from libs.storage import values
from libs.storage.port import (
    Collection,
    Document,
    DuplicateKeyError,
    RevisionConflictError,
    StoreUnavailableError,
    Where,
)


@dataclass(slots=True)
class _Table:
    collection: Collection
    documents: dict[str, Document] = field(default_factory=dict[str, Document])
    taken: dict[tuple[object, ...], str] = field(default_factory=dict[tuple[object, ...], str])
    """Values of unique indexes, with the `_id` that holds them."""


class MemoryStore:
    """Documents in dicts; a find walks over all of them.

    Attributes:
        reachable: set it to False to see what a service does without its store: every method raises
            `StoreUnavailableError`, nothing is lost.
    """

    def __init__(self) -> None:
        self.reachable = True
        self._tables: dict[str, _Table] = {}

    async def ensure(self, collection: Collection) -> None:
        """Create the collection and its indexes where they are missing."""
        values.check_collection(collection)
        await self._arrive()
        known = self._tables.get(collection.name)
        table = _Table(collection)
        for document in known.documents.values() if known else ():
            _claim(table, document)
            table.documents[document["_id"]] = document
        self._tables[collection.name] = table

    async def insert(self, collection: Collection, document: Document) -> None:
        """Add a document; its `revision` becomes 1."""
        made = values.stored(collection, document, revision=1)
        await self._arrive()
        _insert(self._table(collection), made)

    async def insert_many(self, collection: Collection, documents: Sequence[Document]) -> int:
        """Add documents, leaving out those whose key is taken; return how many were added."""
        made = [values.stored(collection, document, revision=1) for document in documents]
        await self._arrive()
        table = self._table(collection)
        added = 0
        for document in made:
            try:
                _insert(table, document)
            except DuplicateKeyError:
                continue
            added += 1
        return added

    async def replace(self, collection: Collection, document: Document, *, revision: int) -> int:
        """Replace the document of the same `_id` if its revision is `revision`; return the new revision."""
        made = values.stored(collection, document, revision=revision + 1)
        await self._arrive()
        table = self._table(collection)
        known = table.documents.get(made["_id"])
        if known is None or known["revision"] != revision:
            raise RevisionConflictError(f"{collection.name}/{made['_id']} is not at revision {revision}")
        _claim(table, made)
        _release(table, known, keep=made)
        table.documents[made["_id"]] = made
        return revision + 1

    async def get(self, collection: Collection, id: str) -> Document | None:  # noqa: A002  the port's name
        """Return the document, or None."""
        await self._arrive()
        return copy.deepcopy(self._table(collection).documents.get(id))

    async def find(
        self,
        collection: Collection,
        where: Sequence[Where] = (),
        *,
        sort: str = "_id",
        descending: bool = False,
        limit: int = 1000,
    ) -> list[Document]:
        """Return the documents that meet all conditions, sorted by one indexed field and then `_id`, at most `limit`."""
        values.check_query(collection, where, sort)
        await self._arrive()
        found = sorted(
            self._matching(collection, where),
            key=lambda document: (values.order(document.get(sort)), document["_id"]),
            reverse=descending,
        )
        return copy.deepcopy(found[: max(0, limit)])

    async def count(self, collection: Collection, where: Sequence[Where] = ()) -> int:
        """Return how many documents meet all conditions."""
        values.check_query(collection, where)
        await self._arrive()
        return len(self._matching(collection, where))

    async def delete(self, collection: Collection, id: str, *, revision: int | None = None) -> bool:  # noqa: A002  the port's name
        """Remove a document (of that revision, when one is given); return whether there was one."""
        await self._arrive()
        table = self._table(collection)
        known = table.documents.get(id)
        if known is None or revision not in (None, known["revision"]):
            return False
        _remove(table, known)
        return True

    async def delete_where(self, collection: Collection, where: Sequence[Where]) -> int:
        """Remove all documents that meet all conditions; return how many."""
        values.check_query(collection, where)
        await self._arrive()
        doomed = self._matching(collection, where)
        for document in doomed:
            _remove(self._table(collection), document)
        return len(doomed)

    async def ping(self) -> None:
        """Return when the store answers."""
        await self._arrive()

    async def close(self) -> None:
        """Let go of nothing: the documents live as long as the store object."""

    async def _arrive(self) -> None:
        """Give way to other tasks, as a real store would, so that races show in tests."""
        await asyncio.sleep(0)
        if not self.reachable:
            raise StoreUnavailableError("the store in memory was made unreachable")

    def _table(self, collection: Collection) -> _Table:
        table = self._tables.get(collection.name)
        if table is None:
            raise ValueError(f"collection {collection.name!r} was used before ensure")
        return table

    def _matching(self, collection: Collection, where: Sequence[Where]) -> list[Document]:
        documents = self._table(collection).documents.values()
        return [document for document in documents if values.meets(document, where)]


def _insert(table: _Table, document: Document) -> None:
    if document["_id"] in table.documents:
        raise DuplicateKeyError(f"{table.collection.name}/{document['_id']} exists")
    _claim(table, document)
    table.documents[document["_id"]] = document


def _remove(table: _Table, document: Document) -> None:
    del table.documents[document["_id"]]
    _release(table, document)


def _unique_keys(table: _Table, document: Document) -> list[tuple[object, ...]]:
    return [
        (index.fields, *(values.order(document.get(name)) for name in index.fields))
        for index in table.collection.indexes
        if index.unique
    ]


def _claim(table: _Table, document: Document) -> None:
    keys = _unique_keys(table, document)
    for key in keys:
        if table.taken.get(key, document["_id"]) != document["_id"]:
            raise DuplicateKeyError(f"{table.collection.name}: the value of unique {key[0]} is taken")
    for key in keys:
        table.taken[key] = document["_id"]


def _release(table: _Table, document: Document, *, keep: Document | None = None) -> None:
    kept = _unique_keys(table, keep) if keep else []
    for key in _unique_keys(table, document):
        if key not in kept:
            del table.taken[key]
