"""A store in one SQLite file: what `fnbus dev` keeps its data in, without any server.

All writes go through one thread, which commits them in groups, each group durable (`synchronous=FULL`) before its callers
hear of it; reads have a thread and a connection of their own, which in WAL mode neither wait for writes nor hold them up.
Several processes may open one file. How documents become rows is in `tables`.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Self

from libs.storage import tables, values
from libs.storage.groups import GroupCommitter
from libs.storage.port import (
    Collection,
    Document,
    DuplicateKeyError,
    RevisionConflictError,
    StoreUnavailableError,
    Where,
)
from libs.storage.tables import Table

_LOCK_SECONDS = 2.0
"""How long a statement waits for another process's lock."""

type _Write = Callable[[sqlite3.Connection], int]


class SqliteStore:
    """Documents in a SQLite file; made by `open`."""

    def __init__(self, writer: "_Thread", reader: "_Thread") -> None:
        self._writer = writer
        self._reader = reader
        self._tables: dict[str, Table] = {}
        self._groups = GroupCommitter[_Write, int](self._commit, name="sqlite writer")

    @classmethod
    async def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the file, and create it, for its owner alone, where it is missing.

        Raises:
            StoreUnavailableError: it cannot be opened, is locked, or is not a database.
        """
        writer = await _Thread.open(Path(path), read_only=False)
        try:
            reader = await _Thread.open(Path(path), read_only=True)
        except BaseException:
            await writer.close()
            raise
        return cls(writer, reader)

    async def ensure(self, collection: Collection) -> None:
        """Create the collection and its indexes where they are missing; indexes that it no longer has are dropped.

        Raises:
            DuplicateKeyError: a unique index cannot be made, since documents share a value.
        """
        table = tables.table_of(collection)
        await self._writer.run(partial(_ensure, table))
        self._tables[collection.name] = table

    async def insert(self, collection: Collection, document: Document) -> None:
        """Add a document; its `revision` becomes 1."""
        row = self._table(collection).row(values.stored(collection, document, revision=1))
        await self._groups.write(partial(_insert, self._table(collection), row))

    async def insert_many(self, collection: Collection, documents: Sequence[Document]) -> int:
        """Add documents, leaving out those whose key is taken; return how many were added."""
        table = self._table(collection)
        rows = [table.row(values.stored(collection, document, revision=1)) for document in documents]
        return await self._groups.write(partial(_insert_many, table, rows))

    async def replace(self, collection: Collection, document: Document, *, revision: int) -> int:
        """Replace the document of the same `_id` if its revision is `revision`; return the new revision."""
        row = self._table(collection).row(values.stored(collection, document, revision=revision + 1))
        return await self._groups.write(partial(_replace, self._table(collection), row, revision))

    async def get(self, collection: Collection, id: str) -> Document | None:  # noqa: A002  the port's name
        """Return the document, or None."""
        found = await self._reader.run(partial(_select, self._table(collection), " WHERE _id = ?", [id]))
        return found[0] if found else None

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
        clause, parameters = tables.condition(where)
        way = " DESC" if descending else ""
        clause += f" ORDER BY {tables.quoted(sort)}{way}, _id{way} LIMIT ?"
        return await self._reader.run(partial(_select, self._table(collection), clause, [*parameters, max(0, limit)]))

    async def count(self, collection: Collection, where: Sequence[Where] = ()) -> int:
        """Return how many documents meet all conditions."""
        values.check_query(collection, where)
        clause, parameters = tables.condition(where)
        return await self._reader.run(partial(_count, self._table(collection), clause, parameters))

    async def delete(self, collection: Collection, id: str, *, revision: int | None = None) -> bool:  # noqa: A002  the port's name
        """Remove a document (of that revision, when one is given); return whether there was one."""
        clause, parameters = " WHERE _id = ?", [id]
        if revision is not None:
            clause, parameters = f"{clause} AND _revision = ?", [id, revision]
        return await self._groups.write(partial(_delete, self._table(collection), clause, parameters)) > 0

    async def delete_where(self, collection: Collection, where: Sequence[Where]) -> int:
        """Remove all documents that meet all conditions; return how many."""
        values.check_query(collection, where)
        clause, parameters = tables.condition(where)
        return await self._groups.write(partial(_delete, self._table(collection), clause, parameters))

    async def ping(self) -> None:
        """Return when the file can be read."""
        await self._reader.run(lambda db: db.execute("SELECT count(*) FROM sqlite_schema").fetchone())

    async def close(self) -> None:
        """Finish the writes under way and close the file."""
        await self._groups.close()
        await self._reader.close()
        await self._writer.close()

    def _table(self, collection: Collection) -> Table:
        table = self._tables.get(collection.name)
        if table is None:
            raise ValueError(f"collection {collection.name!r} was used before ensure")
        return table

    async def _commit(self, writes: Sequence[_Write]) -> Sequence[int | Exception]:
        return await self._writer.run(partial(_commit, writes))


class _Thread:
    """A thread with a connection that only it uses; what goes wrong in it comes out as an error of the port."""

    def __init__(self, pool: ThreadPoolExecutor, db: sqlite3.Connection) -> None:
        self._pool = pool
        self._db = db
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, read_only: bool) -> Self:
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite-reader" if read_only else "sqlite-writer")
        try:
            db = await asyncio.get_running_loop().run_in_executor(pool, partial(_connect, path, read_only=read_only))
        except (sqlite3.Error, OSError) as error:
            pool.shutdown(wait=False)
            raise StoreUnavailableError(f"{path} cannot be opened: {error}") from error
        return cls(pool, db)

    async def run[R](self, work: Callable[[sqlite3.Connection], R]) -> R:
        if self._closed:
            raise StoreUnavailableError("the store is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, self._db)
        except sqlite3.Error as error:
            raise StoreUnavailableError(f"the database file does not serve: {error}") from error

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._pool, self._db.close)
            self._pool.shutdown(wait=False)


# From here on everything runs in one of the two threads.


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    if not read_only:
        path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite would create it readable for all; its WAL takes over the mode of the file.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    # Transactions are begun and ended here, not by the driver (isolation_level=None).
    db = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        if read_only:
            db.execute("PRAGMA query_only = ON")
        else:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _commit(writes: Sequence[_Write], db: sqlite3.Connection) -> list[int | Exception]:
    """Make all writes in one transaction.

    A statement that breaks a constraint undoes itself alone and leaves the transaction open, so no savepoints are needed.
    Any other error of the database ends the whole group.
    """
    with _transaction(db):
        return [_outcome(write, db) for write in writes]


def _outcome(write: _Write, db: sqlite3.Connection) -> int | Exception:
    try:
        return write(db)
    except (DuplicateKeyError, RevisionConflictError) as error:
        return error
    except sqlite3.IntegrityError as error:
        return DuplicateKeyError(str(error))
    except sqlite3.DataError as error:
        return values.InvalidDocumentError("", str(error))


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Generator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # some errors have ended it already
            db.execute("ROLLBACK")
        raise


def _insert(table: Table, row: Sequence[tables.Column], db: sqlite3.Connection) -> int:
    return db.execute(table.insert, row).rowcount


def _insert_many(table: Table, rows: Sequence[Sequence[tables.Column]], db: sqlite3.Connection) -> int:
    whole = len(rows) - len(rows) % table.rows_at_once
    added = sum(
        db.execute(table.insert_rows_or_skip, [*chain.from_iterable(rows[at : at + table.rows_at_once])]).rowcount
        for at in range(0, whole, table.rows_at_once)
    )
    return added + max(0, db.executemany(table.insert_or_skip, rows[whole:]).rowcount)


def _replace(table: Table, row: Sequence[tables.Column], revision: int, db: sqlite3.Connection) -> int:
    if db.execute(table.replace, (*row, row[0], revision)).rowcount == 0:
        raise RevisionConflictError(f"{table.name}/{row[0]} is not at revision {revision}")
    return revision + 1


def _delete(table: Table, clause: str, parameters: Sequence[object], db: sqlite3.Connection) -> int:
    return db.execute(f'DELETE FROM "{table.name}"{clause}', parameters).rowcount  # noqa: S608  names are checked words


def _select(table: Table, clause: str, parameters: Sequence[object], db: sqlite3.Connection) -> list[Document]:
    rows = db.execute(f'SELECT _data FROM "{table.name}"{clause}', parameters)  # noqa: S608  names are checked words
    return [tables.unpack(row[0]) for row in rows]


def _count(table: Table, clause: str, parameters: Sequence[object], db: sqlite3.Connection) -> int:
    return db.execute(f'SELECT count(*) FROM "{table.name}"{clause}', parameters).fetchone()[0]  # noqa: S608  names are checked words


def _ensure(table: Table, db: sqlite3.Connection) -> None:
    with _transaction(db):
        db.execute(table.create)
        present = {row[1] for row in db.execute(f'PRAGMA table_info("{table.name}")')}
        missing = [field for field in table.fields if field not in present]
        for field in missing:
            db.execute(f'ALTER TABLE "{table.name}" ADD COLUMN {tables.declared(field)}')
        if missing:
            rows = db.execute(f'SELECT _id, _data FROM "{table.name}"').fetchall()  # noqa: S608  names are checked words
            db.executemany(table.backfill, [(*table.columns(tables.unpack(data)), id_) for id_, data in rows])
        _ensure_indexes(table, db)


def _ensure_indexes(table: Table, db: sqlite3.Connection) -> None:
    made = db.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = ?", (table.name,))
    for (name,) in made.fetchall():
        if name not in table.indexes:
            db.execute(f'DROP INDEX "{name}"')
    for statement in table.indexes.values():
        try:
            db.execute(statement)
        except sqlite3.IntegrityError as error:
            raise DuplicateKeyError(f"{table.name}: documents share the value of a unique index: {error}") from error
