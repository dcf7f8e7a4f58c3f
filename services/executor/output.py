"""What a worker prints: two pipes, read as they fill and settled at each answer.

Output belongs to the call during which it was printed. What arrives between two calls is kept for the worker's next one, and
is dropped with the worker when there is none. Each stream is kept up to a bound; the rest is read (a full pipe would stop the
guest) and thrown away, and said so.
"""

import asyncio
import contextlib
import os
import select
from typing import NamedTuple

KEPT_BYTES = 64 * 1024
"""Kept of each stream for each call."""

_READ_BYTES = 64 * 1024
_READS_AT_ONCE = 32


class Output(NamedTuple):
    """What was printed during one call."""

    stdout: str = ""
    stderr: str = ""
    truncated: bool = False
    """Something was thrown away because it was too much."""


NO_OUTPUT = Output()


class _Stream:
    """The read end of one pipe and what was kept of it."""

    __slots__ = ("cut", "fd", "kept", "open")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.kept = bytearray()
        self.cut = False
        self.open = True

    def read(self) -> bool:
        """Read once; return whether there may be more."""
        try:
            piece = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        if not piece:
            self.open = False
            return False
        room = KEPT_BYTES - len(self.kept)
        self.kept += piece[:room]
        self.cut = self.cut or len(piece) > room
        return len(piece) == _READ_BYTES

    def take(self) -> str:
        text = self.kept.decode("utf-8", "replace")
        self.kept.clear()
        return text


class Capture:
    """Both streams of a worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the pipes; `child_fds` go to the guest as its stdout and stderr."""
        self._loop = loop
        self._streams: list[_Stream] = []
        self._poll = select.poll()
        ends: list[int] = []
        for _ in range(2):
            read_end, write_end = os.pipe()
            os.set_blocking(read_end, False)
            ends.append(write_end)
            self._streams.append(_Stream(read_end))
            self._poll.register(read_end, select.POLLIN)
        self.child_fds: tuple[int, ...] = tuple(ends)
        self._closed = False

    def watch(self) -> None:
        """Close our copies of the guest's ends and read whatever comes from now on."""
        self._close_child_fds()
        for stream in self._streams:
            self._loop.add_reader(stream.fd, self._readable, stream)

    def take(self) -> Output:
        """Read what is in the pipes now and return all that came since the last time."""
        if not self._closed and self._poll.poll(0):
            for stream in self._streams:
                self._drain(stream)
        out, err = self._streams
        if not out.kept and not err.kept:
            return NO_OUTPUT
        output = Output(out.take(), err.take(), out.cut or err.cut)
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
        stream.read()
        if not stream.open:
            self._stop(stream)

    def _drain(self, stream: _Stream) -> None:
        for _ in range(_READS_AT_ONCE):
            if not stream.open or not stream.read():
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
