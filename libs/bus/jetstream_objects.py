"""Object stores on JetStream (ADR-20), laid out as every NATS client does, so that `nats object` reads them.

Chunks are larger than the usual 128 KiB, since a bundle or a body is read whole: fewer messages, fewer round trips. They are
read with direct gets, which need no consumer on the server.
"""

import base64
import hashlib
import uuid
from datetime import UTC, datetime

import orjson

from libs import errors
from libs.bus import jetstream_api as api
from libs.bus import jetstream_client as raw
from libs.bus.jetstream_connection import Connection
from libs.bus.port import ObjectInfo

_CHUNK = 1024 * 1024
_ROLLUP = {"Nats-Rollup": "sub"}
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"


class JetStreamObjects:
    """An object store (`port.ObjectStore`)."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._stream = f"OBJ_{name}"

    async def ensure(self, *, ttl_seconds: float, projected: bool) -> None:
        """Create the store when it is missing."""
        config: api.Json = {
            "name": self._stream,
            "subjects": [f"$O.{self._name}.C.>", f"$O.{self._name}.M.>"],
            "discard": "new",
            "allow_rollup_hdrs": True,
            "allow_direct": True,
            "storage": "file",
        }
        if ttl_seconds:
            config["max_age"] = int(ttl_seconds * api.NANOSECONDS)
        await api.ensure(self._connection, config, projected=projected)

    async def put(self, key: str, data: bytes) -> None:
        """Store an object (`port.ObjectStore.put`)."""
        before = await self._meta(key)
        nuid = uuid.uuid4().hex
        chunks = self._chunks(nuid)
        size = min(_CHUNK, self._connection.client.max_payload)
        count = 0
        try:
            for start in range(0, len(data), size):
                await api.append(self._connection, chunks, data[start : start + size])
                count += 1
            await self._put_meta(key, nuid=nuid, data=data, chunks=count, chunk_size=size)
        except errors.FnbusError:
            await self._purge_quietly(chunks)
            raise
        if before is not None and not before.get("deleted"):
            await self._purge_quietly(self._chunks(before["nuid"]))

    async def get(self, key: str) -> bytes:
        """Return an object (`port.ObjectStore.get`)."""
        meta = await self._meta(key)
        if meta is None or meta.get("deleted"):
            raise errors.NotFoundError(f"no object {key} in {self._name}")
        chunks: list[bytes] = []
        sequence = 1
        subject = self._chunks(meta["nuid"])
        for _ in range(meta.get("chunks", 0)):
            reply = await api.next_of(self._connection, stream=self._stream, subject=subject, sequence=sequence)
            if reply is None:
                raise errors.NotFoundError(f"object {key} in {self._name} has lost a part")
            chunks.append(reply.data)
            sequence = int(raw.header(reply.headers, "Nats-Sequence")) + 1
        data = b"".join(chunks)
        if _digest(data) != meta.get("digest", ""):
            raise errors.UnavailableError(f"object {key} in {self._name} is damaged")
        return data

    async def has(self, key: str) -> bool:
        """Return whether there is such an object (`port.ObjectStore.has`)."""
        meta = await self._meta(key)
        return meta is not None and not meta.get("deleted")

    async def delete(self, key: str) -> None:
        """Remove an object (`port.ObjectStore.delete`)."""
        meta = await self._meta(key)
        if meta is None or meta.get("deleted"):
            return
        gone = {**meta, "deleted": True, "size": 0, "chunks": 0, "digest": ""}
        await api.append(self._connection, self._meta_subject(key), orjson.dumps(gone), raw.headers(_ROLLUP))
        await self._purge_quietly(self._chunks(meta["nuid"]))

    async def info(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object (`port.ObjectStore.info`)."""
        found = await self._stored(self._meta_subject(key))
        return None if found is None else found[1]

    async def all_infos(self) -> list[ObjectInfo]:
        """Return what is known of all objects (`port.ObjectStore.all_infos`)."""
        subjects: list[str] = []
        while True:
            query = {"subjects_filter": f"$O.{self._name}.M.>", "offset": len(subjects)}
            answer = await api.call(self._connection, f"STREAM.INFO.{self._stream}", query)
            page: api.Json = answer["state"].get("subjects") or {}
            subjects += page
            if not page or len(subjects) >= answer.get("total", 0):
                break
        found = [await self._stored(subject) for subject in subjects]
        return [each[1] for each in found if each is not None]

    async def touch(self, info: ObjectInfo) -> bool:
        """Note that an object is in use (`port.ObjectStore.touch`)."""
        subject = self._meta_subject(info.key)
        found = await self._stored(subject)
        return found is not None and bool(await self._rewrite(subject, {**found[0], "mtime": _now()}, info))

    async def discard(self, info: ObjectInfo) -> bool:
        """Remove an object that is as it was said to be (`port.ObjectStore.discard`)."""
        subject = self._meta_subject(info.key)
        found = await self._stored(subject)
        if found is None:
            return False
        gone = {**found[0], "deleted": True, "size": 0, "chunks": 0, "digest": ""}
        sequence = await self._rewrite(subject, gone, info)
        if sequence:
            await self._purge_quietly(self._chunks(found[0]["nuid"]))
            # The note that it is gone goes, too; whoever stores it at this moment is behind it.
            await self._purge_quietly(subject, before=sequence + 1)
        return bool(sequence)

    async def _rewrite(self, subject: str, meta: api.Json, info: ObjectInfo) -> int:
        """Store what is said of an object unless somebody else has meanwhile; return its revision, 0 then."""
        headers = raw.headers({**_ROLLUP, _EXPECTED: str(info.revision)})
        try:
            return (await api.append(self._connection, subject, orjson.dumps(meta), headers)).sequence
        except api.WrongRevisionError:
            return 0

    async def _stored(self, subject: str) -> tuple[api.Json, ObjectInfo] | None:
        """Return what is said of an object that is there."""
        reply = await api.last(self._connection, stream=self._stream, subject=subject)
        if reply is None:
            return None
        meta: api.Json = orjson.loads(reply.data)
        if meta.get("deleted"):
            return None
        revision = int(raw.header(reply.headers, "Nats-Sequence"))
        return meta, ObjectInfo(meta["name"], meta["size"], revision, datetime.fromisoformat(meta["mtime"]))

    async def _meta(self, key: str) -> api.Json | None:
        reply = await api.last(self._connection, stream=self._stream, subject=self._meta_subject(key))
        return None if reply is None else orjson.loads(reply.data)

    async def _put_meta(self, key: str, *, nuid: str, data: bytes, chunks: int, chunk_size: int) -> None:
        meta = {
            "name": key,
            "bucket": self._name,
            "nuid": nuid,
            "size": len(data),
            "chunks": chunks,
            "digest": _digest(data),
            "mtime": _now(),
            "options": {"max_chunk_size": chunk_size},
        }
        await api.append(self._connection, self._meta_subject(key), orjson.dumps(meta), raw.headers(_ROLLUP))

    async def _purge_quietly(self, subject: str, *, before: int = 0) -> None:
        # What is left over costs space only.
        query = {"filter": subject, **({"seq": before} if before else {})}
        try:
            await api.call(self._connection, f"STREAM.PURGE.{self._stream}", query)
        except errors.FnbusError:
            return

    def _chunks(self, nuid: str) -> str:
        return f"$O.{self._name}.C.{nuid}"

    def _meta_subject(self, key: str) -> str:
        return f"$O.{self._name}.M.{base64.urlsafe_b64encode(key.encode()).decode()}"


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _digest(data: bytes) -> str:
    return f"SHA-256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()}"
