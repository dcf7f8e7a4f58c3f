"""JetStream's own requests: streams, and messages that are stored and acknowledged.

They are JSON over the bus (ADR-1 of nats-architecture-and-design), and few; asking for them directly says exactly which
subjects each service needs permission for (`libs/bus/nats.conf`), and which fault becomes which error.
"""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from libs import errors
from libs.bus import jetstream_client as raw
from libs.bus.jetstream_connection import Connection, RawReply
from libs.bus.port import NoRespondersError, StreamFullError, StreamSpec

log = logging.getLogger(__name__)

type Json = dict[str, Any]

TIMEOUT_SECONDS = 5.0
NANOSECONDS = 1_000_000_000

_NAME_IN_USE = 10058
_FULL = frozenset({10077, 10023, 10028, 10047})
"""Store failed at a limit, insufficient resources, memory or storage of the account exceeded."""
_WRONG_LAST = frozenset({10071, 10164})
_NOT_FOUND = 404
_SERVER_FAULT = 500


class JetStreamError(errors.PermanentError):
    """JetStream refused a request.

    Attributes:
        code: as in HTTP.
        err_code: JetStream's own number of the fault.
    """

    def __init__(self, *, code: int, err_code: int, description: str) -> None:
        super().__init__(f"JetStream: {description} ({err_code or code})")
        self.code = code
        self.err_code = err_code


class WrongRevisionError(errors.ConflictError):
    """The subject's last message is not the one that was expected."""


class Ack(NamedTuple):
    """The server has stored a message."""

    sequence: int
    duplicate: bool


async def call(connection: Connection, verb: str, payload: Mapping[str, Any] | None = None) -> Json:
    """Send a request of JetStream's API and return its answer.

    Raises:
        errors.NotFoundError: the stream or consumer does not exist.
        errors.UnavailableError: JetStream cannot answer at the moment.
        JetStreamError: it refused.
    """
    data = orjson.dumps(payload) if payload is not None else b""
    try:
        reply = await connection.request(f"$JS.API.{verb}", data, timeout=TIMEOUT_SECONDS)
    except errors.DeadlineError as error:
        raise errors.UnavailableError(f"JetStream did not answer {verb}") from error
    answer: Json = orjson.loads(reply.data)
    fault: Json | None = answer.get("error")
    if fault is not None:
        raise _error(fault)
    return answer


async def append(connection: Connection, subject: str, data: bytes, headers: bytes = b"") -> Ack:
    """Publish to a stream and return when it is stored.

    Raises:
        StreamFullError: the stream is at its bound.
        NoRespondersError: no stream takes the subject.
        WrongRevisionError: the headers expected another last message.
        errors.UnavailableError: the server did not confirm; the message may be stored.
    """
    try:
        reply = await connection.request(subject, data, timeout=TIMEOUT_SECONDS, headers=headers)
    except NoRespondersError:
        raise NoRespondersError(f"no stream takes {subject}") from None
    except errors.DeadlineError as error:
        raise errors.UnavailableError(f"JetStream did not confirm a message to {subject}") from error
    answer: Json = orjson.loads(reply.data)
    fault: Json | None = answer.get("error")
    if fault is not None:
        if fault.get("err_code") in _FULL:
            raise StreamFullError(f"the stream of {subject} is full: {fault.get('description', '')}")
        if fault.get("err_code") in _WRONG_LAST:
            raise WrongRevisionError(f"{subject}: {fault.get('description', '')}")
        raise _error(fault)
    return Ack(answer["seq"], answer.get("duplicate", False))


async def last(connection: Connection, *, stream: str, subject: str) -> RawReply | None:
    """Return the last message of a subject as it is stored, None when there is none."""
    return await _direct(connection, f"{stream}.{subject}", None)


async def next_of(connection: Connection, *, stream: str, subject: str, sequence: int) -> RawReply | None:
    """Return the first message of a subject at or after a sequence, None when there is none."""
    return await _direct(connection, stream, {"seq": sequence, "next_by_subj": subject})


async def ensure_stream(connection: Connection, spec: StreamSpec) -> None:
    """Create the stream or bring an existing one to the spec; what the spec does not name (replicas, placement) is kept."""
    config: Json = {
        "name": spec.name,
        "subjects": list(spec.subjects),
        "retention": "workqueue" if spec.work_queue else "limits",
        "discard": "new" if spec.work_queue else "old",
        "max_bytes": spec.max_bytes,
        "max_age": int(spec.max_age_seconds * NANOSECONDS),
        "duplicate_window": int(spec.duplicate_window_seconds * NANOSECONDS),
        "storage": "file",
    }
    await ensure(connection, config)


async def ensure(connection: Connection, config: Json, *, projected: bool = False) -> None:
    """Create a stream by its configuration, or bring an existing one to it.

    Several services may do so at once: creating a stream that exists just so is no fault to the server. A service that may
    not change the stream leaves that to the one that owns it.

    Args:
        connection: to the server.
        config: what the stream is to be.
        projected: its messages may be lost with the server's machine, so that it need not wait for its disk. That is settled
            when the stream is made, and by servers from 2.12 on; older ones wait.
    """
    name = config["name"]
    try:
        persist = {"persist_mode": "async"} if projected else {}
        await call(connection, f"STREAM.CREATE.{name}", {"num_replicas": 1, **persist, **config})
    except JetStreamError as error:
        if error.err_code != _NAME_IN_USE:
            raise
        present: Json = (await call(connection, f"STREAM.INFO.{name}"))["config"]
        if any(present.get(key) != value for key, value in config.items()):
            try:
                await call(connection, f"STREAM.UPDATE.{name}", {**present, **config})
            except raw.RefusedError:
                log.warning("stream %s is left as it is", name, extra={"action": "stream_not_ours", "stream": name})


async def _direct(connection: Connection, rest: str, payload: Mapping[str, Any] | None) -> RawReply | None:
    data = orjson.dumps(payload) if payload is not None else b""
    try:
        reply = await connection.request(f"$JS.API.DIRECT.GET.{rest}", data, timeout=TIMEOUT_SECONDS)
    except errors.DeadlineError as error:
        raise errors.UnavailableError(f"JetStream did not answer a read of {rest}") from error
    code = raw.status(reply.headers)
    if code == _NOT_FOUND:
        return None
    if code:
        raise JetStreamError(code=code, err_code=0, description=f"cannot read {rest}")
    return reply


def _error(fault: Json) -> errors.FnbusError:
    code = int(fault.get("code", 0))
    description = str(fault.get("description", ""))
    if code == _NOT_FOUND:
        return errors.NotFoundError(f"JetStream: {description}")
    if code >= _SERVER_FAULT:
        return errors.UnavailableError(f"JetStream: {description}")
    return JetStreamError(code=code, err_code=int(fault.get("err_code", 0)), description=description)
