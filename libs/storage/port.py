"""The port to a document store, written for the smallest common ground of SQLite and any MongoDB-protocol server.

A document is a dict with a text `_id`, an integer `revision`, and values that msgpack and BSON can both hold: None, bool,
int (64 bit), float, str, bytes, aware datetime (milliseconds are kept), list, dict with text keys. There are no
transactions and no change streams; uniqueness is by `_id` or a plain unique index; expiry is an indexed field and a sweep.

Writes that are under way at the same time are committed in groups: one durable commit for all that wait, each caller with
its own result. A write has been made durable when its call returns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from libs import errors

type Document = dict[str, Any]


class DuplicateKeyError(errors.ConflictError):
    """A document with the same `_id`, or the same value in a unique index, exists."""


class RevisionConflictError(errors.ConflictError):
    """The document is gone or was changed since it was read."""


class StoreUnavailableError(errors.UnavailableError):
    """The store cannot be reached or did not answer in time; a write may or may not have been made."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index over top-level fields, in this order."""

    fields: tuple[str, ...]
    unique: bool = False
    """Documents without the field count as having the value None."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of documents. Only indexed fields and `_id` may be used in `find` and `delete_where`."""

    name: str
    indexes: tuple[Index, ...] = ()


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on an indexed field; None is below everything."""

    field: str
    op: Literal["==", "<", "<=", ">", ">=", "in"]
    value: Any


class Store(Protocol):
    """A document store. Every method raises `StoreUnavailableError` while it cannot be reached."""

    async def ensure(self, collection: Collection) -> None:
        """Create the collection and its indexes where they are missing."""
        ...

    async def insert(self, collection: Collection, document: Document) -> None:
        """Add a document; its `revision` becomes 1.

        Raises:
            DuplicateKeyError: its `_id` or a unique index is taken.
        """
        ...

    async def insert_many(self, collection: Collection, documents: Sequence[Document]) -> int:
        """Add documents, leaving out those whose key is taken; return how many were added."""
        ...

    async def replace(self, collection: Collection, document: Document, *, revision: int) -> int:
        """Replace the document of the same `_id` if its revision is `revision`; return the new revision.

        Raises:
            RevisionConflictError: it is another one, or the document is gone.
            DuplicateKeyError: a unique index is taken.
        """
        ...

    async def get(self, collection: Collection, id: str) -> Document | None:  # noqa: A002
        """Return the document, or None."""
        ...

    async def find(
        self,
        collection: Collection,
        where: Sequence[Where] = (),
        *,
        sort: str = "_id",
        descending: bool = False,
        limit: int = 1000,
    ) -> list[Document]:
        """Return the documents that meet all conditions, sorted by one indexed field, at most `limit`."""
        ...

    async def count(self, collection: Collection, where: Sequence[Where] = ()) -> int:
        """Return how many documents meet all conditions."""
        ...

    async def delete(self, collection: Collection, id: str, *, revision: int | None = None) -> bool:  # noqa: A002
        """Remove a document (of that revision, when one is given); return whether there was one."""
        ...

    async def delete_where(self, collection: Collection, where: Sequence[Where]) -> int:
        """Remove all documents that meet all conditions; return how many."""
        ...

    async def ping(self) -> None:
        """Return when the store answers."""
        ...

    async def close(self) -> None:
        """Finish the writes under way and let go of the store."""
        ...
