"""Frames on the worker's descriptor, from the guest's side, as `services/executor/workers/frames.py` describes them."""

from __future__ import annotations

import posix  # what `os` is made of: a worker is ready before it has imported that
from _struct import Struct  # the C module alone; `struct` is a file more to open at each start

type Frame = tuple[int, int, int, bytes, bytes, int]
"""Type, call id, status, head, body and flags of what came from the executor."""

READY, LOAD, LOADED, CALL, ANSWER, ERROR, START, CHUNK, END, CREDIT, WARM, BODY = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
COMPUTED = 0x01
"""Flag of an answer: the call never gave its processor away."""
BACKGROUND = 0x02
"""Flag of an answer: the call goes on, one more END tells when it is done."""
PRINTED = 0x04
"""Flag of an answer: what the function has printed lies unread."""
AHEAD = 0x08
"""Flag of a call: it was sent before the one before it was answered."""
PIECEWISE = 0x10
"""Flag of LOADED: the handler can read bodies by and by. Of a call: its body comes that way."""
LAST = 0x20
"""Flag of a piece of a body: it is the last one."""
WINDOW = 8
"""Chunks of one answer that need no credit, and pieces of a body that may be asked for."""
CHUNK_BYTES = 64 * 1024

_HEADER = Struct(">IBBHIIII")
_LENGTH_SIZE = 4
_FIXED_SIZE = _HEADER.size - _LENGTH_SIZE
_READ_SIZE = 65536
_JOIN_BELOW = 65536
"""Copying a body up to this size into one write is cheaper than gathering."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .intake import Intake  # noqa: TID252  see the package's docstring


class Gone(OSError):  # noqa: N818  it is no fault
    """The executor has closed its end while the guest waited for it."""


class Channel:
    """The worker's end of the socket pair."""

    __slots__ = ("_at", "_data", "_descriptor", "_granted", "_kept", "intake")

    def __init__(self, descriptor: int) -> None:
        """Take `descriptor` over: programs that user code starts do not inherit it, and forks of the worker lose it."""
        posix.set_inheritable(descriptor, False)  # noqa: FBT003  it takes no keyword
        posix.set_blocking(descriptor, True)
        self._descriptor = descriptor
        self._data = b""
        """What was read and not all taken yet."""
        self._at = 0
        """Where in it the next frame begins."""
        self._kept: list[Frame] = []
        self._granted = 0
        """Chunks that were granted and not told of yet."""
        self.intake: Intake | None = None
        """The body of the present call, when that comes by and by."""
        posix.register_at_fork(after_in_child=self._leave)

    def _leave(self) -> None:
        posix.close(self._descriptor)
        self._descriptor = -1
        self._data = b""
        self._kept.clear()

    def fileno(self) -> int:
        """Return the descriptor, for an event loop that waits for it."""
        return self._descriptor

    def receive(self) -> Frame | None:
        """Return the next frame, or None when the executor has closed its end.

        Raises:
            OSError: the descriptor was taken away.
        """
        return self._kept.pop(0) if self._kept else self._next()

    def credit(self, call: int) -> int:
        """Return the chunks that have been granted to the call, for which one frame may be waited; 0 when it was another one.

        Raises:
            Gone: the executor has closed its end.
        """
        if not self._granted:
            self.pull(call)
        return self.granted()

    def granted(self) -> int:
        """Return the chunks that have been granted since the last time."""
        granted, self._granted = self._granted, 0
        return granted

    def pull(self, call: int) -> None:
        """Wait for one frame. Credit and body of the present call are put where they belong, calls that follow it are kept.

        Raises:
            Gone: the executor has closed its end.
        """
        frame = self._next()
        if frame is None:
            raise Gone
        if frame[0] == CREDIT:
            self._granted += frame[2] if frame[1] == call else 0
        elif frame[0] != BODY:
            self._kept.append(frame)
        elif self.intake is not None and frame[1] == call:
            self.intake.take(frame[4], last=frame[5] & LAST != 0)

    def wait_read(self, call: int) -> None:
        """Wait until the executor has read what was printed during a call that has ended.

        Raises:
            Gone: the executor has closed its end.
        """
        while (frame := self._next()) is not None:
            if frame[0] != CREDIT:
                self._kept.append(frame)
            elif frame[1] == call:
                return
        raise Gone

    def has_frame(self) -> bool:
        """Whether a frame, or the beginning of one, has been read already, so that the descriptor does not tell of it."""
        return bool(self._data)

    def _next(self) -> Frame | None:
        data, at = self._data, self._at
        if not data:
            data, at = posix.read(self._descriptor, _READ_SIZE), 0
        have = len(data)
        if have - at < _HEADER.size or have < at + _LENGTH_SIZE + int.from_bytes(data[at : at + _LENGTH_SIZE]):
            whole = self._gather(bytearray(data[at:]))
            if whole is None:
                return None
            data, at, have = whole, 0, len(whole)
        length, kind, flags, status, call, head, _, _ = _HEADER.unpack_from(data, at)
        head_at = at + _HEADER.size
        body_at = head_at + head
        end = at + _LENGTH_SIZE + length
        self._data, self._at = (data, end) if end < have else (b"", 0)
        return kind, call, status, data[head_at:body_at], data[body_at:end], flags

    def _gather(self, data: bytearray) -> bytes | None:
        """Read on until `data` holds a whole frame; None when the executor closes its end before."""
        while len(data) < _LENGTH_SIZE:
            piece = posix.read(self._descriptor, _READ_SIZE)
            if not piece:
                return None
            data += piece
        wanted = _LENGTH_SIZE + int.from_bytes(data[:_LENGTH_SIZE])
        have = len(data)
        if have < wanted:
            data += bytes(wanted - have)
            with memoryview(data) as view:
                while have < wanted:
                    read = posix.readv(self._descriptor, [view[have:]])
                    if read == 0:
                        return None
                    have += read
        return bytes(data)

    def send(
        self,
        kind: int,
        call: int,
        status: int,
        head: bytes,
        body: bytes | memoryview = b"",
        flags: int = 0,
    ) -> None:
        """Write one frame; what the call used is not said, since the executor takes the kernel's word for it.

        Raises:
            OSError: the executor has gone, or this process is a fork of the worker.
        """
        header = _HEADER.pack(_FIXED_SIZE + len(head) + len(body), kind, flags, status, call, len(head), 0, 0)
        if len(body) < _JOIN_BELOW:
            data = b"".join((header, head, body))
            written = posix.write(self._descriptor, data)
            if written == len(data):
                return
            parts = [memoryview(data)[written:]]
        else:
            parts = [memoryview(header), memoryview(head), memoryview(body)]
        while parts:
            written = posix.writev(self._descriptor, parts)
            while parts and written >= len(parts[0]):
                written -= len(parts[0])
                del parts[0]
            if parts:
                parts[0] = parts[0][written:]
