"""Key-value buckets on JetStream (ADR-8), laid out as every NATS client does, so that `nats kv` reads them."""

import asyncio
import uuid
from collections.abc import AsyncIterator

from libs import errors
from libs.bus import jetstream_api as api
from libs.bus import jetstream_client as raw
from libs.bus.jetstream_connection import Connection
from libs.bus.jetstream_consumer import origin
from libs.bus.jetstream_pull import Puller, PullTiming
from libs.bus.port import Entry, KeyConflictError

_DELETED = {"KV-Operation": "DEL"}
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_READ_AHEAD = 256
"""Entries that may wait between the server and whoever reads a watch."""
_INACTIVE_SECONDS = 60
"""After this the server forgets the consumer of a watch that is not read any more."""
_RETRY_SECONDS = 0.1


class JetStreamBucket:
    """A bucket (`port.Bucket`)."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."

    async def ensure(self) -> None:
        """Create the bucket when it is missing."""
        config: api.Json = {
            "name": self._stream,
            "subjects": [f"{self._prefix}>"],
            "max_msgs_per_subject": 1,
            "discard": "new",
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": True,
            "storage": "file",
        }
        await api.ensure(self._connection, config, projected=True)

    async def get(self, key: str) -> Entry | None:
        """Return the key's entry (`port.Bucket.get`)."""
        entry = await self._last(key)
        return entry if entry is not None and entry.value is not None else None

    async def put(self, key: str, value: bytes) -> int:
        """Set the key (`port.Bucket.put`)."""
        return (await api.append(self._connection, self._prefix + key, value)).sequence

    async def update(self, key: str, value: bytes, *, revision: int) -> int:
        """Set the key if its revision is the expected one (`port.Bucket.update`)."""
        try:
            return await self._put_after(key, value, revision)
        except api.WrongRevisionError as error:
            # A deleted key has a marker with a revision of its own: for the caller it does not exist.
            marker = await self._last(key) if revision == 0 else None
            if marker is None or marker.value is not None:
                raise KeyConflictError(f"key {key} is not at revision {revision}") from error
        try:
            return await self._put_after(key, value, marker.revision)
        except api.WrongRevisionError as error:
            raise KeyConflictError(f"key {key} is not at revision {revision}") from error

    async def delete(self, key: str) -> None:
        """Delete the key (`port.Bucket.delete`)."""
        if await self.get(key) is not None:
            await api.append(self._connection, self._prefix + key, b"", raw.headers(_DELETED))

    async def keys(self) -> list[str]:
        """Return all keys (`port.Bucket.keys`)."""
        feed = _Feed(self._connection, self._stream, self._prefix, headers_only=True)
        found: list[str] = []
        await feed.start()
        try:
            while (entry := await feed.next()) is not None:
                if entry.value is not None:
                    found.append(entry.key)
        finally:
            await feed.stop()
        return found

    async def watch(self) -> AsyncIterator[Entry | None]:
        """Yield present entries, None, then changes (`port.Bucket.watch`)."""
        feed = _Feed(self._connection, self._stream, self._prefix, headers_only=False)
        while True:
            try:
                await feed.start()
            except (errors.TemporaryError, errors.NotFoundError):
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                break
        try:
            while True:
                yield await feed.next()
        finally:
            await feed.stop()

    async def _last(self, key: str) -> Entry | None:
        reply = await api.last(self._connection, stream=self._stream, subject=self._prefix + key)
        if reply is None:
            return None
        return Entry(key, _value(reply.data, reply.headers), int(raw.header(reply.headers, "Nats-Sequence")))

    async def _put_after(self, key: str, value: bytes, revision: int) -> int:
        headers = raw.headers({_EXPECTED: str(revision)})
        return (await api.append(self._connection, self._prefix + key, value, headers)).sequence


class _Feed:
    """The entries of a bucket in order, from an ephemeral consumer that is made anew after each gap.

    After a gap the whole bucket comes again. What the reader has had is left out; keys that are gone without a marker, as
    when the bucket was lost with the server's disk, are told as deleted.
    """

    def __init__(self, connection: Connection, stream: str, prefix: str, *, headers_only: bool) -> None:
        self._connection = connection
        self._stream = stream
        self._prefix = prefix
        self._headers_only = headers_only
        self._entries: asyncio.Queue[Entry | None] = asyncio.Queue()
        self._consumed = 0
        self._told: dict[str, tuple[int, int]] = {}
        """Every key that was told and not deleted since: its revision and the hash of its value. A server that has lost what
        came last gives the same revision a second time."""
        self._unseen: set[str] = set()
        """Of them, those that the present snapshot has not named yet."""
        self._caught_up = False
        self._puller = Puller(connection, stream=stream, create=self._create, on_message=self._on_message, timing=PullTiming())

    async def start(self) -> None:
        await self._puller.start()
        self._puller.pull(_READ_AHEAD)

    async def next(self) -> Entry | None:
        entry = await self._entries.get()
        if entry is not None:
            self._allow_more()
        return entry

    async def stop(self) -> None:
        await self._puller.stop()

    async def _create(self) -> str:
        name = uuid.uuid4().hex
        config = {
            "name": name,
            "ack_policy": "none",
            "deliver_policy": "last_per_subject",
            "filter_subject": f"{self._prefix}>",
            "headers_only": self._headers_only,
            "inactive_threshold": _INACTIVE_SECONDS * api.NANOSECONDS,
            "mem_storage": True,
            "num_replicas": 1,
        }
        verb = f"CONSUMER.CREATE.{self._stream}.{name}.{self._prefix}>"
        info = await api.call(self._connection, verb, {"stream_name": self._stream, "config": config})
        self._unseen = set(self._told)
        self._caught_up = False
        if not info.get("num_pending"):
            self._catch_up()
        return name

    def _on_message(self, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        where = origin(reply)
        key = subject[len(self._prefix) :]
        value = _value(data, headers)
        self._unseen.discard(key)
        if value is None:
            if self._told.pop(key, None) is not None:
                self._entries.put_nowait(Entry(key, None, where.sequence))
        elif self._told.get(key) != (state := (where.sequence, hash(value))):
            self._told[key] = state
            self._entries.put_nowait(Entry(key, value, where.sequence))
        if where.pending == 0 and not self._caught_up:
            self._catch_up()

    def _catch_up(self) -> None:
        for key in self._unseen:
            self._entries.put_nowait(Entry(key, None, self._told.pop(key)[0]))
        self._unseen.clear()
        self._caught_up = True
        self._entries.put_nowait(None)

    def _allow_more(self) -> None:
        self._consumed += 1
        if self._consumed >= _READ_AHEAD // 2:
            self._puller.pull(self._consumed)
            self._consumed = 0


def _value(data: bytes, headers: bytes) -> bytes | None:
    if headers and (raw.header(headers, "KV-Operation") or raw.header(headers, "Nats-Marker-Reason")):
        return None
    return data
