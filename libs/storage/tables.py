"""How a collection becomes a SQLite table: pure SQL text and column values, no database is touched here.

A row is the document as msgpack beside one column per indexed field. SQLite sorts numbers below text below blobs, so the
kinds that it does not know are blobs that begin with a number of their kind, and None is minus infinity, which no document
may hold: unlike NULL it is equal to itself, which a unique index over missing fields needs, and a range can begin with it.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgpack

from libs.storage import values
from libs.storage.port import Collection, Document, Index, Where

type Column = int | float | str | bytes

NONE = float("-inf")
_BOUNDS: dict[int, tuple[Column, Column]] = {
    values.NUMBER: (NONE, ""),
    values.TEXT: ("", b""),
    values.BYTES: (b"\x01", b"\x02"),
    values.BOOL: (b"\x02", b"\x03"),
    values.MOMENT: (b"\x03", b"\x04"),
}
"""The least value of each kind, and the least of the next one."""

_SIGN = 2**63
_MOMENT = struct.Struct(">cQ")
_ROWS = 128
"""Rows of one statement: beyond that it gets no cheaper."""
_PARAMETERS = 30_000
"""Parameters that every build of SQLite takes in one statement."""
_packer = msgpack.Packer(datetime=True)
"""Shared, since a packer is dear to make; it calls no Python code, so that no other thread gets between."""


@dataclass(frozen=True, slots=True)
class Table:
    """A collection's table and the statements on it; parameters are the row's columns in the order of `row`."""

    name: str
    fields: tuple[str, ...]
    create: str
    indexes: dict[str, str]
    """Statements that make the indexes, by index name."""
    insert: str
    insert_or_skip: str
    insert_rows_or_skip: str
    """The same for `rows_at_once` rows: a third cheaper for each than one by one."""
    rows_at_once: int
    replace: str
    """Takes the row, then `_id` and the revision it must be at."""
    backfill: str
    """Takes the indexed fields' columns, then `_id`."""

    def row(self, document: Document) -> tuple[Column, ...]:
        """Return the columns of a document that is as `values.stored` made it."""
        return document["_id"], document["revision"], pack(document), *self.columns(document)

    def columns(self, document: Document) -> tuple[Column, ...]:
        """Return the columns of the indexed fields."""
        return tuple([column(document.get(field)) for field in self.fields])


def table_of(collection: Collection) -> Table:
    """Return the table that holds a collection.

    Raises:
        ValueError: a name is not a plain word.
    """
    values.check_collection(collection)
    name = f"docs_{collection.name}"
    fields = values.indexed(collection)
    columns = ("_id", "_revision", "_data", *(quoted(field) for field in fields))
    declarations = ("_id PRIMARY KEY NOT NULL", "_revision NOT NULL", "_data NOT NULL", *map(declared, fields))
    places = ", ".join("?" * len(columns))
    insert = f'INSERT INTO "{name}" ({", ".join(columns)}) VALUES ({places})'  # noqa: S608  names are checked words
    rows = max(min(_ROWS, _PARAMETERS // len(columns)), 1)
    return Table(
        name=name,
        fields=fields,
        create=f'CREATE TABLE IF NOT EXISTS "{name}" ({", ".join(declarations)})',
        indexes=dict(_index(name, index) for index in collection.indexes),
        insert=insert,
        insert_or_skip=f"{insert} ON CONFLICT DO NOTHING",
        insert_rows_or_skip=f"{insert}{f', ({places})' * (rows - 1)} ON CONFLICT DO NOTHING",
        rows_at_once=rows,
        replace=f'UPDATE "{name}" SET ({", ".join(columns)}) = ({places}) WHERE _id = ? AND _revision = ?',  # noqa: S608  as above
        backfill=(
            f'UPDATE "{name}" SET ({", ".join(columns[3:])}) = ({", ".join("?" * len(fields))}) WHERE _id = ?'  # noqa: S608  as above
            if fields
            else ""
        ),
    )


def pack(document: Document) -> bytes:
    """Return the document as bytes."""
    return _packer.pack(document)


def unpack(data: bytes) -> Document:
    """Return the document that `pack` packed."""
    return msgpack.unpackb(data, timestamp=3)


def quoted(name: str) -> str:
    """Return a name, which is `_id` or a checked word, as SQL takes it whatever its keywords are."""
    return f'"{name}"'


def declared(field: str) -> str:
    """Return the column of an indexed field; it has no type, or SQLite would turn numbers into text to please it."""
    return f"{quoted(field)} NOT NULL DEFAULT -9e999"


def column(value: Any) -> Column:
    """Return a single value as a column that sorts as `values.order` does."""
    if type(value) is str:  # the usual case by far
        return value
    if type(value) is datetime:
        return _MOMENT.pack(b"\x03", values.to_ms(value) + _SIGN)
    match value:
        case None:
            return NONE
        case bool():
            return b"\x02\x01" if value else b"\x02\x00"
        case bytes():
            return b"\x01" + struct.pack(">Q", len(value)) + value
        case datetime():
            return _MOMENT.pack(b"\x03", values.to_ms(value) + _SIGN)
        case str():
            return str.__str__(value)
        case _:
            return value


def condition(where: Sequence[Where]) -> tuple[str, list[Column]]:
    """Return the WHERE clause for conditions that `values.check_query` let pass, and its parameters."""
    parts: list[str] = []
    parameters: list[Column] = []
    for one in where:
        text, needed = _condition(one)
        parts.append(text)
        parameters += needed
    return (f" WHERE {' AND '.join(parts)}" if parts else ""), parameters


def _condition(where: Where) -> tuple[str, list[Column]]:
    field = quoted(where.field)
    if where.op == "in":
        members = [column(value) for value in values.operands(where)]
        return f"{field} IN ({', '.join('?' * len(members))})", members
    if where.op == "==":
        return f"{field} = ?", [column(where.value)]
    if where.value is None:
        return {"<": "0", "<=": f"{field} = ?", ">": f"{field} > ?", ">=": "1"}[where.op], [NONE] * (where.op in ("<=", ">"))
    return _range(field, where.op, where.value)


def _range(field: str, op: Literal["<", "<=", ">", ">="], value: Any) -> tuple[str, list[Column]]:
    """Return a range that an index can serve, and after it what keeps the range to values of one kind and None."""
    least, beyond = _BOUNDS[values.order(value)[0]]
    if op in (">", ">="):
        return f"{field} {op} ? AND {field} < ?", [column(value), beyond]
    return f"{field} {op} ? AND ({field} >= ? OR {field} = ?)", [column(value), least, NONE]


def _index(table: str, index: Index) -> tuple[str, str]:
    name = f"{table}:{'unique' if index.unique else 'index'}:{','.join(index.fields)}"
    # Equal keys come in order of _id from the index itself, so that no sort is needed.
    fields = index.fields if index.unique else (*index.fields, "_id")
    kind = "UNIQUE INDEX" if index.unique else "INDEX"
    return name, f'CREATE {kind} IF NOT EXISTS "{name}" ON "{table}" ({", ".join(map(quoted, fields))})'
