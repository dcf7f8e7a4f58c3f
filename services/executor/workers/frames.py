"""The protocol between an executor and the guest in a worker: bytes to frames and back, without I/O.

Both sides speak frames over one stream socket. All numbers are unsigned, big-endian:

    offset  size  field
    0       4     length of everything after this field (at least 20)
    4       1     type
    5       1     flags of ANSWER, ERROR and END: `COMPUTED`, `BACKGROUND`, `PRINTED`; of LOADED: `PIECEWISE`; of CALL:
                  `AHEAD`, `PIECEWISE`; of BODY: `LAST`; else 0
    6       2     status: HTTP status of ANSWER, START and ERROR, else 0
    8       4     call id, chosen by the executor; 0 for READY, LOAD and LOADED
    12      4     head length
    16      4     CPU time the call used, microseconds (ANSWER, ERROR, END), as the guest has it: not relied upon
    20      4     largest resident size of the guest, KiB (ANSWER, ERROR, END), likewise
    24      ...   head (JSON, UTF-8), then body (raw bytes)

A short answer is one frame (ANSWER). A streamed one is START (its body is the first piece, or empty), any number of CHUNK, and
END. The guest may send `WINDOW` chunks, then one more for each that a CREDIT grants; while it waits for credit, so does the
handler. An ERROR instead of END says that the handler failed on the way. A handler that goes on after its answer (`waitUntil`)
has ANSWER or END carry `BACKGROUND`, and a last END, without that flag, when it is done.

A guest whose READY says `"read_ahead": true` may be sent a CALL, marked `AHEAD`, before it has answered the one before. It
still runs one after the other: none is begun before the last frame of the one before is written. Such a guest says with
`PRINTED` whether anything that the function has printed lies in its pipes, unread, when a call ends. After that it begins
no call that is marked `AHEAD` until a CREDIT for the ended call says that it has been read. So what is printed is never taken
for another call's.

A guest whose LOADED says `PIECEWISE` may be sent a CALL with that flag: its body is not in the frame, but comes by and by in
BODY frames, of at most `CHUNK_BYTES` each, of which the last one says `LAST`. None comes before the guest has asked: with a
CREDIT it grants so many BODY frames more, and there are never more than `WINDOW` that it has granted and not got. What it has
not asked for when it answers never comes; what is on its way then is dropped.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from libs import errors

COMPUTED = 0x01
"""Flag: the guest never gave its processor away during the call, so that more workers would only help with more cores."""

BACKGROUND = 0x02
"""Flag: the call goes on after its answer; one more END tells when it is done."""

PRINTED = 0x04
"""Flag: what was printed lies unread; only from guests that read ahead."""

AHEAD = 0x08
"""Flag of a CALL: it was sent before the one before it was answered."""

PIECEWISE = 0x10
"""Flag of LOADED: the handler can read the body of a request by and by. Of a CALL: the body comes in BODY frames."""

LAST = 0x20
"""Flag of a BODY: the body ends with it."""

WINDOW = 8
"""Chunks of one answer that the guest may send before it is granted more, and pieces of a body that it may have granted."""
CHUNK_BYTES = 64 * 1024
"""Largest body of a START, CHUNK or BODY."""

HEADER = struct.Struct(">IBBHIIII")
LENGTH_SIZE = 4
FIXED_SIZE = HEADER.size - LENGTH_SIZE


class FrameType(IntEnum):
    """What a frame says; the comment tells who sends it."""

    READY = 1
    """Guest: booted, holds no code yet. Head: `{"protocol": 1, "runtime": ..., "version": ..., "read_ahead": ...}`; the last
    one may be left out."""
    LOAD = 2
    """Executor: load this code. Head: `{"root", "entrypoint", "handler", "handler_style", "name", "version", "env",
    "memory_mb"}`."""
    LOADED = 3
    """Guest: loaded, takes calls. Head: empty, or a JSON list of words for what the code has had it make ready that other code
    does without (`["typescript"]`); they mean something to the guests of that language alone."""
    CALL = 4
    """Executor: run the handler. Head: the request head (`libs.messages.heads`); body: the request body."""
    ANSWER = 5
    """Guest: the whole answer. Head: a JSON list of [name, value]; body: the response body."""
    ERROR = 6
    """Guest: load or handler failed. Head: `{"code", "type", "message", "stack"}` with a `FailureCode` as `code`; status and
    body: what the caller gets."""
    START = 7
    """Guest: a streamed answer begins. Head and status as ANSWER; body: the first piece."""
    CHUNK = 8
    """Guest: a piece of a streamed body."""
    END = 9
    """Guest: the streamed body is complete, or what went on after the answer is done."""
    CREDIT = 10
    """Executor: `status` more chunks may come; of a call that has ended: what it printed has been read. Guest: `status` more
    BODY frames may come."""
    WARM = 11
    """Executor, before LOAD: make this ready, the next code is likely to need it. Head: a JSON list of words that others'
    LOADED had. Sent only where such words came from; a guest leaves out those that it does not know, and answers nothing."""
    BODY = 12
    """Executor: a piece of the body of a CALL that had the flag for it, and only as many as the guest has granted. One that
    comes for a call that has been answered is dropped by the guest."""


LAST_TYPES = (int(FrameType.ANSWER), int(FrameType.ERROR), int(FrameType.END))
"""Types of the frame that ends a call, or what goes on after it."""
_FIRST_TYPE = int(FrameType.READY)
_LAST_TYPE = int(FrameType.BODY)


class Frame(NamedTuple):
    """One frame, taken apart."""

    type: int
    call: int = 0
    status: int = 0
    head: bytes = b""
    body: bytes = b""
    cpu_us: int = 0
    peak_kib: int = 0
    flags: int = 0


class FrameError(errors.PermanentError, ValueError):
    """The guest sent bytes that are not the protocol; the worker cannot be trusted any more."""


class FrameTooLargeError(FrameError):
    """The guest announced a frame beyond the cap.

    Attributes:
        type: type of that frame.
        length: of all of it.
    """

    def __init__(self, *, type: int, length: int, limit: int) -> None:  # noqa: A002  the field's own name
        super().__init__(f"frame of {length} bytes, at most {limit}")
        self.type = type
        self.length = LENGTH_SIZE + length


def encode(frame: Frame) -> bytes:
    """Return the frame's bytes."""
    return b"".join(
        (
            HEADER.pack(
                FIXED_SIZE + len(frame.head) + len(frame.body),
                frame.type,
                frame.flags,
                frame.status,
                frame.call,
                len(frame.head),
                frame.cpu_us,
                frame.peak_kib,
            ),
            frame.head,
            frame.body,
        )
    )


def encode_call(call: int, head: bytes, body: bytes, flags: int = 0) -> bytes:
    """Return the bytes of a CALL, as `encode` would; every call pays for this one."""
    size = len(head)
    return HEADER.pack(FIXED_SIZE + size + len(body), FrameType.CALL, flags, 0, call, size, 0, 0) + head + body


class Decoder:
    """Collects bytes as they come and gives out whole frames."""

    def __init__(self, *, max_frame: int) -> None:
        """Refuse frames of more than `max_frame` bytes."""
        self._max_frame = max_frame
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete."""
        return len(self._buffer)

    def whole(self, data: bytes) -> Frame | None:
        """Return the frame when `data` is exactly one and nothing is waiting, else None: `feed` then takes the same bytes.

        This is the usual case by far, and costs no buffering.
        """
        if self._buffer or len(data) < HEADER.size:
            return None
        length, kind, flags, status, call, head, cpu_us, peak_kib = HEADER.unpack_from(data)
        known = _FIRST_TYPE <= kind <= _LAST_TYPE
        if length + LENGTH_SIZE != len(data) or length < FIXED_SIZE + head or length > self._max_frame or not known:
            return None
        body_at = HEADER.size + head
        return Frame(kind, call, status, data[HEADER.size : body_at], data[body_at:], cpu_us, peak_kib, flags)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes and yield each frame that is complete.

        Raises:
            FrameTooLargeError: a frame is beyond the cap.
            FrameError: a length is impossible or the type unknown. The decoder is of no use after either.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= HEADER.size:
                length, kind, flags, status, call, head, cpu_us, peak_kib = HEADER.unpack_from(buffer, start)
                if length < FIXED_SIZE + head:
                    raise FrameError(f"impossible frame: length {length}, head {head}")
                if not _FIRST_TYPE <= kind <= _LAST_TYPE:
                    raise FrameError(f"unknown frame type {kind}")
                if length > self._max_frame:
                    raise FrameTooLargeError(type=kind, length=length, limit=self._max_frame)
                end = start + LENGTH_SIZE + length
                if len(buffer) < end:
                    break
                head_at = start + HEADER.size
                start = end  # before the frame goes out: who stops iterating must not get it twice
                body_at = head_at + head
                yield Frame(
                    kind,
                    call,
                    status,
                    bytes(buffer[head_at:body_at]),
                    bytes(buffer[body_at:end]),
                    cpu_us,
                    peak_kib,
                    flags,
                )
        finally:
            del buffer[:start]
