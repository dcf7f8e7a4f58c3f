"""One worker process: spawn, handshake, calls, end.

The guest speaks frames on its end of a socket pair; here that is an `asyncio.Protocol` with callbacks, no task and no timer
per call. Everything that is not the protocol ends the worker: bytes that are no frame, a frame that was not asked for, an
answer to another call. When `on_end` is called, nothing of the worker is left on the machine. Who gets which worker, and what
an answer means, is for others.
"""

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from libs import errors
from services.executor import frames
from services.executor.descriptor import GuestDescriptor
from services.executor.frames import Frame, FrameType
from services.executor.output import Capture, Output
from services.executor.profile import Profile
from services.executor.runtimes.base import GuestCommand
from services.executor.sandbox.base import Cell, Sandbox

type OnAnswer = Callable[[Frame, Output], None]
type OnEnd = Callable[[str], None]

_READY, _LOADED, _ANSWER, _ERROR = (int(FrameType.READY), int(FrameType.LOADED), int(FrameType.ANSWER), int(FrameType.ERROR))
_ANSWERS = (_ANSWER, _ERROR)
_LAST_WORDS_SECONDS = 0.25
"""How long a guest that closed its descriptor may take to end by itself, so that its exit code can be told."""
_SETTLE_SECONDS = 0.002
_SETTLE_TRIES = 1000
_TOLD_BYTES = 2000
_INFO_BYTES = 4096


class WorkerEndedError(errors.TemporaryError):
    """The worker ended, or was ended, before it answered. Its text says how and why."""


class Worker(asyncio.Protocol):
    """A worker process. Made by `start`; one call at a time."""

    def __init__(self, *, sandbox: Sandbox, max_frame: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._sandbox = sandbox
        self._max_frame = max_frame
        self._decoder = frames.Decoder(max_frame=max_frame)
        self._capture = Capture(self._loop)
        self._transport: asyncio.Transport | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._info = b""
        self._info_fd = -1
        self._expected = _READY
        self._reply: asyncio.Future[Frame] = self._loop.create_future()
        self._call = 0
        self._on_answer: OnAnswer | None = None
        self._on_end: OnEnd | None = None
        self._fault = ""
        self._killed = False
        self._dead = False
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self.cell: Cell | None = None
        """The worker from outside; None before it is ready."""
        self.too_large = False
        """The worker was ended because its answer was beyond the cap."""

    @classmethod
    async def start(
        cls,
        *,
        sandbox: Sandbox,
        command: GuestCommand,
        code: Path,
        descriptor: GuestDescriptor,
        profile: Profile,
        max_frame: int,
        ready_seconds: float,
    ) -> "Worker":
        """Start a guest and wait until it is ready for code.

        Args:
            sandbox: how to confine it.
            command: the runtime's guest.
            code: folder that it will find at `sandbox.root(code)`.
            descriptor: number of its end of the socket pair.
            profile: the walls around it.
            max_frame: largest frame, in bytes, that it may send.
            ready_seconds: how long it may take to boot.

        Raises:
            WorkerEndedError: it did not get ready; nothing of it is left.
        """
        worker = cls(sandbox=sandbox, max_frame=max_frame)
        try:
            await worker._spawn(command, code, descriptor, profile=profile)
            await worker._handshake(ready_seconds, "get ready")
            worker._enter()
        except BaseException:
            await worker.kill()
            raise
        return worker

    @property
    def pid(self) -> int:
        """The process that was started (bubblewrap's own, when that is used); 0 before."""
        return self._child.pid if self._child else 0

    @property
    def ended(self) -> bool:
        """Whether nothing is left of the worker."""
        return self._gone.done()

    async def load(self, head: bytes, *, seconds: float) -> Frame:
        """Hand over the code; return LOADED, or the guest's ERROR.

        Raises:
            WorkerEndedError: it ended, or took longer than `seconds` and was ended.
        """
        self._expected = _LOADED
        self._reply = self._loop.create_future()
        self._write(frames.encode(Frame(int(FrameType.LOAD), head=head)))
        try:
            return await self._handshake(seconds, "load the code")
        except BaseException:
            await self.kill()
            raise

    def serve(self, on_end: OnEnd) -> None:
        """Take calls from now on; `on_end` is told once, in words, when the worker is gone, whatever the reason."""
        self._on_end = on_end
        if self._gone.done():
            self._loop.call_soon(on_end, self._end_text())

    def call(self, call: int, head: bytes, body: bytes, on_answer: OnAnswer) -> None:
        """Run the handler; `on_answer` is called with its ANSWER or ERROR, unless the worker ends before.

        The worker must be loaded and idle. Call ids are not 0.
        """
        self._call = call
        self._on_answer = on_answer
        self._write(frames.encode_call(call, head, body))

    def take_output(self) -> Output:
        """Return what was printed since the last answer."""
        return self._capture.take()

    def kill_soon(self, fault: str = "") -> None:
        """End the worker; `on_end` tells when it is gone. `fault` replaces its exit status in that text."""
        if self._gone.done() or self._child is None:
            self._finish()
            return
        self._fault = self._fault or fault
        if self._child.returncode is None:
            self._killed = True
            self._read_info()
            self._sandbox.kill(self._child.pid, self._info)

    async def kill(self) -> None:
        """End the worker; everything of it is dead when this returns."""
        self.kill_soon()
        await asyncio.shield(self._gone)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Take bytes from the guest, unless it has been killed already."""
        if self._killed:
            return
        frame = self._decoder.whole(data)
        if frame is not None:
            self._on_frame(frame)
            return
        try:
            for each in self._decoder.feed(data):
                self._on_frame(each)
                if self._killed:
                    return
        except frames.FrameTooLargeError as error:
            self.too_large = error.type in _ANSWERS
            self.kill_soon(f"worker was ended: its answer is too large ({error})")
        except frames.FrameError as error:
            self.kill_soon(f"worker was ended: it broke the protocol ({error})")

    def connection_lost(self, exc: Exception | None) -> None:
        """Give a guest that closed its descriptor a moment to end, then end it."""
        del exc
        self._transport = None
        if self._dead:
            self._finish()
        elif not self._killed:
            self._loop.call_later(_LAST_WORDS_SECONDS, self.kill_soon, "worker was ended: it closed its connection")

    # end of asyncio.Protocol

    async def _spawn(self, command: GuestCommand, code: Path, descriptor: GuestDescriptor, *, profile: Profile) -> None:
        ours, theirs = socket.socketpair()
        info_read, info_write = os.pipe()
        os.set_blocking(info_read, False)
        ours.settimeout(0)
        self._info_fd = info_read
        stdout, stderr = self._capture.child_fds
        try:
            # Popen itself blocks for the millisecond until exec; a thread would be wrong, since the kernel ends the child
            # when the thread that made it ends (die-with-parent).
            with descriptor.of(theirs) as number:
                launch = self._sandbox.launch(command, code=code, profile=profile, guest_fd=number, info_fd=info_write)
                self._child = subprocess.Popen(  # noqa: ASYNC220
                    launch.argv,
                    env=dict(launch.env),
                    cwd=launch.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=(number, info_write) if launch.tells else (number,),
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise WorkerEndedError(f"worker could not be started: {error}") from error
        finally:
            theirs.close()
            os.close(info_write)
        self._pidfd = os.pidfd_open(self._child.pid)
        self._loop.add_reader(self._pidfd, self._exited)
        self._capture.watch()
        self._transport, _ = await self._loop.create_unix_connection(lambda: self, sock=ours)

    async def _handshake(self, seconds: float, what: str) -> Frame:
        try:
            async with asyncio.timeout(seconds):
                return await self._reply
        except TimeoutError:
            raise WorkerEndedError(f"worker did not {what} within {seconds:g} s{self._last_words()}") from None

    def _enter(self) -> None:
        self._read_info()
        try:
            self.cell = self._sandbox.enter(self.pid, self._info)
        except OSError as error:
            raise WorkerEndedError(f"worker ended as it began: {error}") from error

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _on_frame(self, frame: Frame) -> None:
        kind = frame.type
        if self._call and frame.call == self._call and kind in _ANSWERS:
            on_answer = self._on_answer
            self._call = 0
            self._on_answer = None
            if on_answer is not None:
                on_answer(frame, self._capture.take())
        elif self._expected and (kind == self._expected or (kind == _ERROR and self._expected == _LOADED)):
            self._expected = 0
            if not self._reply.done():
                self._reply.set_result(frame)
        else:
            kind_name = FrameType(kind).name
            self.kill_soon(f"worker was ended: it sent {kind_name} for call {frame.call}, which nobody asked for")

    def _read_info(self) -> None:
        if self._info_fd < 0 or self._info:
            return
        try:
            self._info = os.read(self._info_fd, _INFO_BYTES)
        except BlockingIOError:
            return
        os.close(self._info_fd)
        self._info_fd = -1

    def _exited(self) -> None:
        """The process has ended (its pidfd says so); see that nothing else is left of it."""
        if self._child is None or self._child.poll() is None:
            return
        self._loop.remove_reader(self._pidfd)
        self._settle(_SETTLE_TRIES)

    def _settle(self, tries: int) -> None:
        if self._child is not None and tries and not self._sandbox.gone(self._child.pid):
            self._loop.call_later(_SETTLE_SECONDS, self._settle, tries - 1)
            return
        self._dead = True
        if self._transport is None or self._killed:
            self._finish()
        else:
            # An answer may still lie in the socket: the end of the stream comes after it.
            self._loop.call_later(_LAST_WORDS_SECONDS, self._finish)

    def _finish(self) -> None:
        if self._gone.done():
            return
        text = self._end_text()
        if not self._reply.done():
            self._reply.set_exception(WorkerEndedError(text + self._last_words()))
            self._reply.exception()  # somebody may wait for it or not: it is no loss if nobody does
        self._capture.close()
        if self.cell is not None:
            self.cell.close()
        for fd in (self._pidfd, self._info_fd):
            if fd >= 0:
                os.close(fd)
        self._pidfd = self._info_fd = -1
        if self._transport is not None:
            self._transport.abort()
        self._gone.set_result(None)
        if self._on_end is not None:
            self._on_end(text)

    def _end_text(self) -> str:
        if self._fault:
            return self._fault
        code = self._child.returncode if self._child else None
        return "worker was not started" if code is None else self._sandbox.exit_text(code)

    def _last_words(self) -> str:
        """Return the end of what the guest wrote to stderr, for the one who has to find out why it does not start."""
        text = self._capture.take().stderr.strip()[-_TOLD_BYTES:]
        return f": {text}" if text else ""
