"""The bus on NATS and JetStream: the adapter that services use.

This file is the port's surface. Below it: `jetstream_connection` (state, requests), `jetstream_client` and
`jetstream_parser` (nats-py, sped up), `jetstream_api` (streams), `jetstream_consumer` and `jetstream_pull`, `jetstream_kv`,
`jetstream_objects`. `nats` is imported by these files only.
"""

import logging
import re
import secrets
from collections.abc import Callable

from libs.bus import jetstream_api as api
from libs.bus import jetstream_client as raw
from libs.bus.jetstream_connection import Connection
from libs.bus.jetstream_consumer import JetStreamConsumer
from libs.bus.jetstream_kv import JetStreamBucket
from libs.bus.jetstream_objects import JetStreamObjects
from libs.bus.port import (
    BusDisconnectedError,
    ConsumerSpec,
    DeliveryHandler,
    Handler,
    Message,
    StreamSpec,
)

log = logging.getLogger(__name__)

_NO_RESPONDERS = 503
_SERVICE = re.compile(r"[A-Za-z0-9]+")
_NO_DATA = b""


async def connect(*, url: str, user: str, password: str, name: str) -> "JetStreamBus":
    """Connect to NATS, trying until a server can be reached.

    Args:
        url: `nats://host:port`, or several with commas between them.
        user: empty: no credentials.
        password: of the user.
        name: the service's name, or `<service>-<replica>`. Its first word is a part of the inbox prefix
            (`_INBOX_<service>`), so that permissions keep services from reading each other's replies.

    Raises:
        errors.PermanentError: the server does not accept the credentials.
        ValueError: the name has no word in it.
    """
    service = _SERVICE.match(name)
    if service is None:
        raise ValueError(f"not a service name: {name!r}")
    client = raw.FastClient()
    connection = Connection(client, name=name, inbox=f"_INBOX_{service[0]}.{secrets.token_hex(8)}")
    log.info("connecting to NATS at %s", url, extra={"action": "nats_connecting"})
    servers = [each.strip() for each in url.split(",")]
    try:
        await connection.open(servers, user=user, password=password)
    except BaseException:
        await client.close()
        raise
    return JetStreamBus(connection)


class JetStreamBus:
    """A connection to NATS (`port.Bus`)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dropped = 0

    @property
    def connected(self) -> bool:
        """Whether the server can be reached at the moment."""
        return self._connection.up

    @property
    def max_payload(self) -> int:
        """Largest message, in bytes, that the server takes."""
        return self._connection.client.max_payload

    @property
    def dropped(self) -> int:
        """Messages given to `post` that were dropped because the connection was down."""
        return self._dropped

    def on_state(self, listener: Callable[[bool], None]) -> None:
        """Call `listener` whenever `connected` changes."""
        self._connection.on_state(listener)

    async def publish(self, subject: str, data: bytes, *, reply: str = "", traceparent: str = "") -> None:
        """Send a message (`port.Bus.publish`); waits only when the socket is full."""
        connection = self._connection
        connection.send(subject, data, reply=reply, headers=raw.trace_headers(traceparent) if traceparent else _NO_DATA)
        if connection.congested:
            await connection.drain()

    def post(self, subject: str, data: bytes, *, reply: str = "", traceparent: str = "") -> None:
        """Send a message without waiting (`port.Bus.post`): all of one turn of the loop are written at once."""
        try:
            self._connection.send(
                subject, data, reply=reply, headers=raw.trace_headers(traceparent) if traceparent else _NO_DATA
            )
        except BusDisconnectedError:
            self._dropped += 1

    async def request(self, subject: str, data: bytes, *, timeout: float, traceparent: str = "") -> Message:  # noqa: ASYNC109
        """Send a message and return the first reply (`port.Bus.request`)."""
        headers = raw.trace_headers(traceparent) if traceparent else _NO_DATA
        reply = await self._connection.request(subject, data, timeout=timeout, headers=headers)
        return Message(reply.subject, reply.data, "", raw.traceparent_of(reply.headers) if reply.headers else "")

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> "JetStreamSubscription":
        """Call `handler` for each message (`port.Bus.subscribe`)."""

        def deliver(subject: str, reply: str, data: bytes, headers: bytes) -> None:
            if not headers:
                handler(Message(subject, data, reply))
            elif raw.status(headers) == _NO_RESPONDERS:
                handler(Message(subject, data, reply, no_responders=True))
            else:
                handler(Message(subject, data, reply, raw.traceparent_of(headers)))

        client = self._connection.client
        self._connection.require_up()
        return JetStreamSubscription(client, await client.listen(subject, queue, deliver))

    def new_inbox(self) -> str:
        """Return a subject prefix of this connection's own for replies."""
        return self._connection.new_inbox()

    async def ensure_stream(self, spec: StreamSpec) -> None:
        """Create the stream or bring it to the spec (`port.Bus.ensure_stream`)."""
        await api.ensure_stream(self._connection, spec)

    async def append(self, subject: str, data: bytes, *, message_id: str = "", traceparent: str = "") -> bool:
        """Publish to a stream and wait until it is stored (`port.Bus.append`)."""
        fields: dict[str, str] = {}
        if message_id:
            fields["Nats-Msg-Id"] = message_id
        if traceparent:
            fields["traceparent"] = traceparent
        ack = await api.append(self._connection, subject, data, raw.headers(fields) if fields else _NO_DATA)
        return not ack.duplicate

    async def consume(self, spec: ConsumerSpec, handler: DeliveryHandler) -> JetStreamConsumer:
        """Create or join the durable consumer (`port.Bus.consume`)."""
        consumer = JetStreamConsumer(self._connection, spec, handler)
        await consumer.start()
        return consumer

    async def bucket(self, name: str) -> JetStreamBucket:
        """Return the key-value bucket (`port.Bus.bucket`)."""
        bucket = JetStreamBucket(self._connection, name)
        await bucket.ensure()
        return bucket

    async def objects(self, name: str, *, ttl_seconds: float = 0, projected: bool = False) -> JetStreamObjects:
        """Return the object store (`port.Bus.objects`)."""
        store = JetStreamObjects(self._connection, name)
        await store.ensure(ttl_seconds=ttl_seconds, projected=projected)
        return store

    async def close(self) -> None:
        """Send what is waiting, then end everything (`port.Bus.close`)."""
        await self._connection.close()


class JetStreamSubscription:
    """Interest in a subject (`port.Subscription`)."""

    def __init__(self, client: raw.FastClient, sid: int) -> None:
        self._client = client
        self._sid = sid

    async def unsubscribe(self) -> None:
        """End it; messages that were on their way by then are handled before this returns."""
        await self._client.end(self._sid)
