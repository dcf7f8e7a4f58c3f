"""What a worker prints: two pipes, read as they fill and settled at each answer.

Output belongs to the call during which it was printed. What arrives between two calls is kept for the worker's next one, and
is dropped with the worker when there is none. Each stream is kept up to a bound; the rest is read (a full pipe would stop the
guest) and thrown away, and said so. Who follows the function live hears of all of it through a `Tap`.
"""

import asyncio
import contextlib
import fcntl
import os
import select
import sys
import termios
import time
from bisect import bisect_left
from collections.abc import Callable
from operator import attrgetter
from typing import NamedTuple, Protocol

from libs.messages.logs import STDERR, STDOUT, LogLine

KEPT_BYTES = 64 * 1024
"""Kept of each stream for each call."""
KEPT_LINES = 1000
"""Kept of each stream, as lines, for each call."""

_READ_BYTES = 64 * 1024
_READS_AT_ONCE = 32
_MILLI = 1000


def unread_bytes(fd: int) -> int:
    """Return how much lies in a pipe or socket; 0 when that cannot be told."""
    try:
        return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"), sys.byteorder)
    except OSError:
        return 0


class Tap(Protocol):
    """Hears all that a worker prints, while it prints it. Both methods must return at once."""

    def take(self, stream: str, piece: bytes, ms: int) -> None:
        """Take what was read from a stream at a moment (epoch milliseconds); it may begin and end within a line."""
        ...

    def settle(self) -> None:
        """Take what came of a last line without an end for a whole line: its call has ended."""
        ...


class Output(NamedTuple):
    """What was printed during one call."""

    stdout: str = ""
    stderr: str = ""
    truncated: bool = False
    """Something was thrown away because it was too much."""
    lines: tuple[LogLine, ...] = ()
    """The same as lines of both streams, in order of time."""


NO_OUTPUT = Output()


class _Stream:
    """The read end of one pipe and what was kept of it."""

    __slots__ = ("cut", "ends", "fd", "kept", "moments", "name", "open")

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.fd = fd
        self.kept = bytearray()
        self.ends: list[int] = []
        """How much was kept after each read."""
        self.moments: list[int] = []
        """When that was, in epoch milliseconds."""
        self.cut = False
        self.open = True

    def read(self, tap: Tap | None, most: int = _READ_BYTES) -> bool:
        """Read once; return whether there may be more."""
        try:
            piece = os.read(self.fd, most)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        if not piece:
            self.open = False
            return False
        now = int(time.time() * _MILLI)
        room = KEPT_BYTES - len(self.kept)
        if room:
            self.kept += piece[:room]
            self._mark(now)
        self.cut = self.cut or len(piece) >= room  # what fills it is not likely to be all there was
        if tap is not None:
            tap.take(self.name, piece, now)
        return len(piece) == most

    def take(self) -> tuple[str, list[LogLine]]:
        """Return what was kept, as a text and as lines, and begin anew."""
        text = self.kept.decode("utf-8", "replace")
        lines = self._lines()
        self.kept.clear()
        self.ends.clear()
        self.moments.clear()
        return text, lines

    def _mark(self, now: int) -> None:
        if self.moments and self.moments[-1] == now:
            self.ends[-1] = len(self.kept)
        else:
            self.ends.append(len(self.kept))
            self.moments.append(now)

    def _lines(self) -> list[LogLine]:
        """Return what was kept as lines; a line's time is that of the read in which it ended."""
        pieces = self.kept.split(b"\n", KEPT_LINES)
        if not pieces[-1]:
            pieces.pop()
        elif len(pieces) > KEPT_LINES:
            self.cut = True
            pieces.pop()
        lines: list[LogLine] = []
        end = 0
        for piece in pieces:
            end = min(end + len(piece) + 1, len(self.kept))
            text = piece.removesuffix(b"\r").decode("utf-8", "replace")
            lines.append(LogLine(self.moments[bisect_left(self.ends, end)], self.name, text))
        return lines


class Capture:
    """Both streams of a worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the pipes; `child_fds` go to the guest as its stdout and stderr."""
        self._loop = loop
        self._streams: list[_Stream] = []
        self._poll = select.poll()
        ends: list[int] = []
        for name in (STDOUT, STDERR):
            read_end, write_end = os.pipe()
            os.set_blocking(read_end, False)
            ends.append(write_end)
            self._streams.append(_Stream(name, read_end))
            self._poll.register(read_end, select.POLLIN)
        self.child_fds: tuple[int, ...] = tuple(ends)
        self.tap: Tap | None = None
        """Who hears of it live."""
        self.owned: Callable[[int], int] | None = None
        """Asked before a pipe is read between two `take`: how many of the bytes in it are the running call's."""
        self._closed = False

    def watch(self) -> None:
        """Close our copies of the guest's ends and read whatever comes from now on."""
        self._close_child_fds()
        for stream in self._streams:
            self._loop.add_reader(stream.fd, self._readable, stream)

    def take(self, *, read: bool = True) -> Output:
        """Read what is in the pipes now, unless it is known that nothing is, and return all that came since the last time.

        What a guest prints before its answer is in the pipes before the answer is in its socket, so nothing of it is missed.
        Asking the kernel is half a microsecond; waiting for the event loop to tell would be another turn of it.
        """
        if read and not self._closed and self._poll.poll(0):
            for stream in self._streams:
                self._drain(stream)
        out, err = self._streams
        if not out.kept and not err.kept:
            return NO_OUTPUT
        if self.tap is not None:
            self.tap.settle()
        (stdout, lines), (stderr, more) = out.take(), err.take()
        if more:
            lines = sorted(lines + more, key=attrgetter("ms"))
        output = Output(stdout, stderr, out.cut or err.cut, tuple(lines))
        out.cut = err.cut = False
        return output

    def close(self) -> None:
        """Read what is left, for a last `take`, and close everything. Calling it twice does no harm."""
        self._close_child_fds()
        if self._closed:
            return
        self._closed = True
        for stream in self._streams:
            self._drain(stream)
            self._stop(stream)
            os.close(stream.fd)

    def _readable(self, stream: _Stream) -> None:
        most = self.owned(stream.fd) if self.owned is not None else _READ_BYTES
        if most > 0:
            stream.read(self.tap, min(most, _READ_BYTES))
        elif (stream.fd, select.POLLHUP) in self._poll.poll(0):
            stream.open = False
        if not stream.open:
            self._stop(stream)

    def _drain(self, stream: _Stream) -> None:
        for _ in range(_READS_AT_ONCE):
            if not stream.open or not stream.read(self.tap):
                break
        if not stream.open:
            self._stop(stream)

    def _stop(self, stream: _Stream) -> None:
        stream.open = False
        self._loop.remove_reader(stream.fd)
        with contextlib.suppress(KeyError):
            self._poll.unregister(stream.fd)

    def _close_child_fds(self) -> None:
        for fd in self.child_fds:
            os.close(fd)
        self.child_fds = ()
