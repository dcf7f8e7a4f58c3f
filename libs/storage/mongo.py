"""A store on a MongoDB server: what a cluster keeps its data in. The one place that knows motor.

A group of writes becomes one `insert` and one `update` command per collection, acknowledged by a majority with their journals
on disk. How documents lie on the server is in `envelopes`.

The server must keep MongoDB's promise that an update of one document is atomic. FerretDB 1.x on SQLite does not when
several connections write; the test server makes up for it.
"""

import asyncio
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC
from typing import Any, Self

import bson
from bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo.errors import OperationFailure, PyMongoError

from libs.storage import bulks, envelopes, values
from libs.storage.bulks import Delete, Insert, Replace, Write
from libs.storage.groups import GroupCommitter
from libs.storage.port import (
    Collection,
    Document,
    DuplicateKeyError,
    Index,
    RevisionConflictError,
    StoreUnavailableError,
    Where,
)

_SELECTION_MS = 2_000
_SOCKET_MS = 20_000
"""A server that is gone is noticed by the driver's own heartbeat long before."""
_DOCUMENT_BYTES = 16 * 1024 * 1024 - 16 * 1024
"""What a server takes, less some room."""
_DURABLE = {"w": "majority", "j": True, "wtimeout": 5_000}

_DUPLICATE_KEY = 11_000
_IMMUTABLE_FIELD = 66
_NEVER_INSERTED = {"_id": "\x01never inserted"}

type _Outcome = int | Exception
type _Statement = RawBSONDocument | Document


class _PlainInt(TypeDecoder):
    """Integers come back as int whatever their width on the wire."""

    @property
    def bson_type(self) -> type[Int64]:
        return Int64

    def transform_bson(self, value: Any) -> int:
        return int(value)


class MongoStore:
    """Documents on a MongoDB server; made by `open`. Connects when first used and again by itself after a failure."""

    def __init__(self, client: AsyncIOMotorClient[Document], database: str) -> None:
        self._client = client
        self._options = CodecOptions[Document](tz_aware=True, tzinfo=UTC, type_registry=TypeRegistry([_PlainInt()]))
        self._database = client.get_database(database, codec_options=self._options)
        self._ensured: set[str] = set()
        self._groups = GroupCommitter[Write, int](self._commit, name="mongo writer")

    @classmethod
    async def open(cls, url: str, *, database: str) -> Self:
        """Return the store for a server, or a replica set, and a database; reaching it is left to the first use.

        Raises:
            ValueError: the URL is malformed.
        """
        try:
            client = AsyncIOMotorClient[Document](
                url,
                serverSelectionTimeoutMS=_SELECTION_MS,
                connectTimeoutMS=_SELECTION_MS,
                socketTimeoutMS=_SOCKET_MS,
                appname="fnbus",
            )
        except PyMongoError as error:
            raise ValueError(f"not a usable MongoDB URL: {error}") from error
        return cls(client, database)

    async def ensure(self, collection: Collection) -> None:
        """Create the collection and its indexes where they are missing.

        Raises:
            DuplicateKeyError: a unique index cannot be made, since documents share a value.
        """
        values.check_collection(collection)
        server = self._server(collection)
        wanted = dict(map(_index, collection.indexes))
        try:
            present = await server.index_information()
            if not wanted.keys() <= present.keys():
                await self._add_keys(collection)
            for name, fields in wanted.items():
                await server.create_index([(field, 1) for field in fields], name=name, unique=name.startswith("unique"))
        except PyMongoError as error:
            if _is_duplicate(error):
                raise DuplicateKeyError(f"{collection.name}: documents share the value of a unique index") from error
            raise _unavailable(error) from error
        self._ensured.add(collection.name)

    async def insert(self, collection: Collection, document: Document) -> None:
        """Add a document; its `revision` becomes 1."""
        await self._groups.write(self._insertion(collection, [document], skip_taken=False))

    async def insert_many(self, collection: Collection, documents: Sequence[Document]) -> int:
        """Add documents, leaving out those whose key is taken; return how many were added."""
        return await self._groups.write(self._insertion(collection, documents, skip_taken=True))

    async def replace(self, collection: Collection, document: Document, *, revision: int) -> int:
        """Replace the document of the same `_id` if its revision is `revision`; return the new revision."""
        fields = _encoded(envelopes.envelope(collection, document, revision=revision + 1))
        write = Replace(collection=self._name(collection), ids=(document["_id"],), revision=revision, fields=fields)
        return await self._groups.write(write)

    async def get(self, collection: Collection, id: str) -> Document | None:  # noqa: A002  the port's name
        """Return the document, or None."""
        self._name(collection)
        with _reaching():
            found = await self._server(collection).find_one({"_id": id})
        return None if found is None else envelopes.opened(found)

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
        self._name(collection)
        if limit <= 0:
            return []  # to the server it would mean all
        way = -1 if descending else 1
        order = [(envelopes.path(sort), way), ("_id", way)] if sort != "_id" else [("_id", way)]
        with _reaching():
            found = await self._server(collection).find(envelopes.query(where), sort=order, limit=limit).to_list(None)
        return [envelopes.opened(document) for document in found]

    async def count(self, collection: Collection, where: Sequence[Where] = ()) -> int:
        """Return how many documents meet all conditions."""
        values.check_query(collection, where)
        self._name(collection)
        with _reaching():
            return await self._server(collection).count_documents(envelopes.query(where))

    async def delete(self, collection: Collection, id: str, *, revision: int | None = None) -> bool:  # noqa: A002  the port's name
        """Remove a document (of that revision, when one is given); return whether there was one."""
        conditions: Document = {"_id": id} if revision is None else {"_id": id, "revision": revision}
        return await self._groups.write(Delete(collection=self._name(collection), ids=(id,), filter=conditions)) > 0

    async def delete_where(self, collection: Collection, where: Sequence[Where]) -> int:
        """Remove all documents that meet all conditions; return how many."""
        values.check_query(collection, where)
        return await self._groups.write(Delete(collection=self._name(collection), ids=(), filter=envelopes.query(where)))

    async def ping(self) -> None:
        """Return when the server answers."""
        with _reaching():
            await self._database.command("ping")

    async def close(self) -> None:
        """Finish the writes under way and close the connections."""
        await self._groups.close()
        self._client.close()

    def _name(self, collection: Collection) -> str:
        if collection.name not in self._ensured:
            raise ValueError(f"collection {collection.name!r} was used before ensure")
        return collection.name

    def _server(self, collection: Collection) -> AsyncIOMotorCollection[Document]:
        return self._database.get_collection(collection.name)

    async def _add_keys(self, collection: Collection) -> None:
        """Give documents from before an index was thought of the keys for it."""
        server = self._server(collection)
        lacking = [{envelopes.path(field): {"$exists": False}} for field in values.indexed(collection)]
        async for found in server.find({"$or": lacking}):
            keys = envelopes.keys(collection, envelopes.opened(found))
            # One that is replaced meanwhile has got its keys from the replacement.
            await server.update_one({"_id": found["_id"], "revision": found["revision"]}, {"$set": {"keys": keys}})

    def _insertion(self, collection: Collection, documents: Sequence[Document], *, skip_taken: bool) -> Insert:
        made = [envelopes.envelope(collection, document, revision=1) for document in documents]
        ids = tuple(document["_id"] for document in documents)
        encoded = tuple(_encoded({"_id": id_, **fields}) for id_, fields in zip(ids, made, strict=True))
        return Insert(collection=self._name(collection), ids=ids, documents=encoded, skip_taken=skip_taken)

    async def _commit(self, writes: Sequence[Write]) -> Sequence[_Outcome]:
        outcomes: dict[int, _Outcome] = {}
        settled = bulks.Settled()
        for segment in bulks.segments(writes):
            lost = next((made for made in outcomes.values() if isinstance(made, StoreUnavailableError)), None)
            if lost is not None:
                # Each further try would wait for the server as long as the one that failed.
                outcomes.update((at, StoreUnavailableError(str(lost))) for at in segment)
                continue
            late = {at: _conflict(write) for at in segment if settled.lost(write := writes[at])}
            parts = bulks.parts(writes, [at for at in segment if at not in late])
            made = await asyncio.gather(*(self._commit_part([writes[at] for at in part]) for part in parts))
            for part, results in zip(parts, made, strict=True):
                outcomes.update(zip(part, results, strict=True))
                for at, result in zip(part, results, strict=True):
                    settled.learn(writes[at], result)
            outcomes.update(late)
        return [outcomes[at] for at in range(len(writes))]

    async def _commit_part(self, part: Sequence[Write]) -> Sequence[_Outcome]:
        """Make writes of one sort to one collection; what goes wrong is an outcome, never raised."""
        try:
            match part[0]:
                case Insert():
                    return await self._insert([write for write in part if isinstance(write, Insert)])
                case Replace():
                    return await self._replace([write for write in part if isinstance(write, Replace)])
                case Delete():
                    return [await self._delete(write) for write in part if isinstance(write, Delete)]
        except PyMongoError as error:
            return [_unavailable(error) for _ in part]
        except StoreUnavailableError as error:
            return [StoreUnavailableError(str(error)) for _ in part]

    async def _insert(self, writes: Sequence[Insert]) -> list[_Outcome]:
        """Add documents with one command, or a few when they are large."""
        owners = [at for at, write in enumerate(writes) for _ in write.documents]
        documents = [document for write in writes for document in write.documents]
        refused: dict[int, list[Mapping[str, Any]]] = {}
        for begin, end in bulks.chunks([len(document) for document in documents]):
            statements = [RawBSONDocument(document) for document in documents[begin:end]]
            reply = await self._send("insert", writes[0].collection, "documents", statements)
            for at, fault in _faults(reply):
                refused.setdefault(owners[begin + at], []).append(fault)
        return [_inserted(write, refused.get(at, [])) for at, write in enumerate(writes)]

    async def _replace(self, writes: Sequence[Replace]) -> list[_Outcome]:
        """Replace documents at their revisions with one command, and learn each one's fate.

        An update tells only how many documents it met. So each asks to be inserted when it meets none, which is impossible,
        because it would have to have two ids: the server then refuses this one by name.
        """
        outcomes: list[_Outcome] = []
        while len(outcomes) < len(writes):
            todo = writes[len(outcomes) :]
            _, end = next(bulks.chunks([len(write.fields) for write in todo], most=bulks.REPLACES))
            outcomes += await self._replace_some(todo[:end])
        return outcomes

    async def _replace_some(self, writes: Sequence[Replace]) -> list[_Outcome]:
        """Replace the first of the documents, at least one; return the outcomes of those."""
        try:
            reply = await self._send("update", writes[0].collection, "updates", [_update(write) for write in writes])
        except OperationFailure as error:
            if not _is_duplicate(error):
                raise
            return await self._replace_singly(writes)
        if reply.get("upserted"):
            raise StoreUnavailableError("the server inserts documents with two ids: it cannot be used")
        faults = {at: _refusal(writes[at], fault) for at, fault in _faults(reply)}
        # MongoDB goes on after a fault and counts what it met; FerretDB stops there and does not.
        done = len(writes) if "n" in reply else max(faults) + 1
        if "n" in reply and reply["n"] + len(faults) != len(writes):
            raise StoreUnavailableError(f"the server answered for {reply['n']} of {len(writes)} writes")
        return [faults.get(at, write.revision + 1) for at, write in enumerate(writes[:done])]

    async def _replace_singly(self, writes: Sequence[Replace]) -> list[_Outcome]:
        """Find out what became of a command that a unique index made fail as a whole, as FerretDB does."""
        if len(writes) == 1:
            return [_taken(writes[0])]
        return [
            write.revision + 1 if await self._is_made(write) else (await self._replace_some([write]))[0] for write in writes
        ]

    async def _is_made(self, write: Replace) -> bool:
        found = await self._database.get_collection(write.collection).find_one({"_id": write.ids[0]})
        wanted = bson.decode(write.fields, self._options)  # pyright: ignore[reportUnknownMemberType]  its stub leaves array[] open
        return found is not None and found == {"_id": write.ids[0], **wanted}

    async def _delete(self, write: Delete) -> _Outcome:
        reply = await self._send("delete", write.collection, "deletes", [{"q": write.filter, "limit": len(write.ids)}])
        return reply["n"]

    async def _send(self, verb: str, collection: str, kind: str, statements: Sequence[_Statement]) -> Document:
        """Send a command whose statements do not depend on each other, and return the durable answer to it."""
        command = {verb: collection, kind: statements, "ordered": False, "writeConcern": _DURABLE}
        reply: Document = await self._database.command(command)
        if "writeConcernError" in reply:
            raise StoreUnavailableError(f"a write was not made durable in time: {reply['writeConcernError'].get('errmsg')}")
        return reply


def _index(index: Index) -> tuple[str, list[str]]:
    """Return an index's name and fields; equal keys come in order of `_id` from it, so that the server need not sort."""
    fields = [envelopes.path(field) for field in index.fields] + ([] if index.unique else ["_id"])
    return f"{'unique' if index.unique else 'index'} {' '.join(index.fields)}", fields


def _encoded(fields: Document) -> bytes:
    """Encode in time: a document that the driver refuses would take its whole group with it."""
    data = bson.encode(fields)
    if len(data) > _DOCUMENT_BYTES:
        raise values.InvalidDocumentError("", f"{len(data)} bytes are more than the {_DOCUMENT_BYTES} that a server takes")
    return data


def _update(write: Replace) -> Document:
    return {
        "q": {"_id": write.ids[0], "revision": write.revision},
        "u": {"$set": RawBSONDocument(write.fields), "$setOnInsert": _NEVER_INSERTED},
        "upsert": True,
    }


def _faults(reply: Document) -> list[tuple[int, Mapping[str, Any]]]:
    """Return which statements the server refused, and why."""
    return [(fault["index"], fault) for fault in reply.get("writeErrors", ())]


def _inserted(write: Insert, faults: Sequence[Mapping[str, Any]]) -> _Outcome:
    for fault in faults:
        if fault["code"] != _DUPLICATE_KEY:
            return StoreUnavailableError(f"the server refused a document: {fault.get('errmsg')}")
    if faults and not write.skip_taken:
        return _taken(write)
    return len(write.documents) - len(faults)


def _refusal(write: Replace, fault: Mapping[str, Any]) -> Exception:
    match fault["code"]:
        case code if code == _IMMUTABLE_FIELD:
            return _conflict(write)
        case code if code == _DUPLICATE_KEY:
            return _taken(write)
        case _:
            return StoreUnavailableError(f"the server refused a document: {fault.get('errmsg')}")


def _conflict(write: Write) -> RevisionConflictError:
    return RevisionConflictError(f"{write.collection}/{write.ids[0]} is not at the revision that was to be replaced")


def _taken(write: Insert | Replace) -> DuplicateKeyError:
    return DuplicateKeyError(f"{write.collection}/{write.ids[0]}: the id or the value of a unique index is taken")


def _is_duplicate(error: PyMongoError) -> bool:
    """Return whether a unique index made a command fail as a whole; FerretDB has only words for it."""
    return isinstance(error, OperationFailure) and (error.code == _DUPLICATE_KEY or "UNIQUE constraint failed" in str(error))


def _unavailable(error: PyMongoError) -> StoreUnavailableError:
    made = StoreUnavailableError(f"MongoDB does not serve: {error}")
    made.__cause__ = error
    return made


@contextmanager
def _reaching() -> Generator[None]:
    try:
        yield
    except PyMongoError as error:
        raise _unavailable(error) from error
