"""One worker: handshake, code, calls, end.

The guest speaks frames on its end of a socket pair; here that is an `asyncio.Protocol` with callbacks, no task and no timer
per call. Everything that is not the protocol ends the worker: bytes that are no frame, a frame that was not asked for, an
answer to another call, more pieces than were granted.

A guest that reads ahead may be sent calls before the present one is answered; `begin` says that the next one's turn has come.
When the worker ends, `begun` tells how many of those had begun all the same (`remains`). What calls used is in `account`.

When `on_end` is called, nothing of the worker is left on the machine. Who gets which worker, and what an answer means, is for
others.
"""

import asyncio
import contextlib
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path

import orjson

from libs import errors
from libs.messages.calls import FailureCode
from libs.messages.catalog import Limits
from services.executor.profile import Profile
from services.executor.runtimes.base import GuestCommand
from services.executor.sandbox.base import Cell, Sandbox, Usage
from services.executor.workers import frames
from services.executor.workers.accounting import Account
from services.executor.workers.child import Child
from services.executor.workers.descriptor import GuestDescriptor
from services.executor.workers.frames import (
    AHEAD,
    BACKGROUND,
    CHUNK_BYTES,
    LAST,
    LAST_TYPES,
    PIECEWISE,
    PRINTED,
    WINDOW,
    Frame,
    FrameType,
)
from services.executor.workers.intake import Intake
from services.executor.workers.output import NO_OUTPUT, Capture, Output, Tap, unread_bytes
from services.executor.workers.remains import Remains

type OnFrame = Callable[[Frame, Output], None]
type OnEnd = Callable[[str], None]

_READY, _LOADED, _ANSWER, _ERROR = (int(FrameType.READY), int(FrameType.LOADED), int(FrameType.ANSWER), int(FrameType.ERROR))
_START, _CHUNK, _END = int(FrameType.START), int(FrameType.CHUNK), int(FrameType.END)
_CREDIT = int(FrameType.CREDIT)
_ANSWERS = (_ANSWER, _ERROR)
_READ_BYTES = 65536
_LAST_WORDS_SECONDS = 0.25
"""How long a guest that closed its descriptor may take to end by itself, so that its exit code can be told."""
_TOLD_BYTES = 2000


class WorkerEndedError(errors.TemporaryError):
    """The worker ended, or was ended, before it answered. Its text says how and why.

    Attributes:
        code: what that is for the callers.
    """

    def __init__(self, text: str, *, code: FailureCode = FailureCode.CRASH) -> None:
        super().__init__(text)
        self.code = code


class Stage(IntEnum):
    """How far the present call is."""

    NONE = 0
    """There is none."""
    RUNNING = 1
    STREAMING = 2
    """START has come, END has not."""
    BACKGROUND = 3
    """The caller is answered; the handler goes on."""


_NONE, _RUNNING = Stage.NONE, Stage.RUNNING
_READING = (Stage.RUNNING, Stage.STREAMING)
"""Stages in which a call may read its body."""


def _nobody(frame: Frame, output: Output) -> None:
    """Nobody has asked for the worker's calls yet."""
    del frame, output


class Worker(asyncio.Protocol):
    """A worker process. Made by `start`, given its code by `assign`; one call at a time."""

    def __init__(self, *, sandbox: Sandbox, max_frame: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._decoder = frames.Decoder(max_frame=max_frame)
        self._capture = Capture(self._loop)
        self._child = Child(sandbox=sandbox, on_dead=self._died)
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._expected = _READY
        self._reply: asyncio.Future[Frame] = self._loop.create_future()
        self._call = 0
        self._ahead: deque[int] = deque()
        self._remains = Remains()
        self._room = 0
        self._intake: Intake | None = None
        self._cell: Cell | None = None
        self._on_frame_of_call: OnFrame = _nobody
        self._on_end: OnEnd | None = None
        self._fault = ""
        self._killed = False
        self._dead = False
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self.stage = Stage.NONE
        self.limits = Limits()
        """What it may use."""
        self.broken: tuple[FailureCode, str] | None = None
        """The limit that it was ended for, and that in words."""
        self.account = Account()
        """What its calls used."""
        self.unheard = False
        """It was dead when its last call came: the guest has not seen that call."""
        self.reads_ahead = False
        """Whether it may be sent calls before it has answered the one before."""
        self.takes_pieces = False
        """Whether its handler can read the body of a request by and by."""
        self.begun = 0
        """When it has ended: how many of the calls that were sent ahead had to be taken for begun."""
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
            worker._greeted(await worker._handshake(ready_seconds, "get ready"))
            worker._enter()
        except BaseException:
            await worker.kill()
            raise
        return worker

    @property
    def pid(self) -> int:
        """The process that was started (bubblewrap's own, when that is used); 0 before."""
        return self._child.pid

    @property
    def ended(self) -> bool:
        """Whether nothing is left of the worker."""
        return self._gone.done()

    @property
    def cell(self) -> Cell:
        """The worker from outside; there is none before it is ready."""
        if self._cell is None:
            raise WorkerEndedError(self._end_text())
        return self._cell

    @property
    def call_cpu_started_us(self) -> int:
        """What it had used when its call began (for the watchdog)."""
        return self.account.started_us

    @property
    def busy(self) -> bool:
        """Whether it loads its code, runs a call, or does what goes on after one."""
        return self._call != 0 or self._expected != 0

    async def assign(self, head: bytes, *, limits: Limits, seconds: float) -> Frame:
        """Bound the worker and hand over the code, which lies in its place; return LOADED, or the guest's ERROR.

        Raises:
            WorkerEndedError: it ended, or took longer than `seconds` and was ended.
        """
        try:
            self._bound(limits)
            self._expected = _LOADED
            self._reply = self._loop.create_future()
            self._write(frames.encode(Frame(int(FrameType.LOAD), head=head)))
            frame = await self._handshake(seconds, "load the code")
        except BaseException:
            await self.kill()
            raise
        self.takes_pieces = frame.flags & PIECEWISE != 0
        return frame

    def warm(self, words: Sequence[str]) -> None:
        """Have a guest without code make ready what these words stand for."""
        self._write(frames.encode(Frame(int(FrameType.WARM), head=orjson.dumps(words))))

    def on_gone(self, told: Callable[[], None]) -> None:
        """Have `told` called from the event loop when nothing is left of the worker."""
        self._gone.add_done_callback(lambda _: told())

    def serve(self, *, on_frame: OnFrame, on_end: OnEnd) -> None:
        """Have these called from now on.

        Args:
            on_frame: with each frame of a call; `stage` is NONE at its last one, which brings the output along.
            on_end: once, in words, when the worker is gone, whatever the reason.
        """
        self._on_frame_of_call = on_frame
        self._on_end = on_end
        if self._gone.done():
            self._loop.call_soon(on_end, self._end_text())

    def call(self, call: int, head: bytes, body: bytes, flags: int = 0) -> None:
        """Run the handler; its frames go to `on_frame`, unless the worker ends before.

        The worker must be loaded and idle. Call ids are not 0.
        """
        transport = self._transport
        self.unheard = self._killed or self._dead
        if self.unheard or transport is None:
            self.unheard = True
            return
        self._call = call
        self.stage = _RUNNING
        self.account.begin()
        transport.write(frames.encode_call(call, head, body, flags))

    def call_reading(self, call: int, head: bytes, intake: Intake) -> None:
        """As `call`, with a body that the handler reads by and by; it must be able to (`takes_pieces`)."""
        intake.open(call)
        self._intake = intake
        self.call(call, head, b"", PIECEWISE)

    def body(self, intake: Intake, data: bytes, *, last: bool) -> None:
        """Hand over a piece of a body that was asked for; nothing happens when its call has been answered."""
        if intake.call == self._call and self.stage in _READING:
            self._write(frames.encode(Frame(int(FrameType.BODY), call=intake.call, body=data, flags=LAST if last else 0)))

    def call_ahead(self, call: int, head: bytes, body: bytes) -> None:
        """Have another call run after those that the worker has; it must read ahead, and run one now."""
        self._ahead.append(call)
        if self._transport is not None:
            self._transport.write(frames.encode_call(call, head, body, AHEAD))

    def begin(self) -> None:
        """Take the first of the calls that were sent ahead for the one that runs; to be called within `on_frame`."""
        self._call = self._ahead.popleft()
        self.stage = _RUNNING
        self.account.begin_next()

    def settle(self) -> None:
        """Take what lies in the socket of a worker with calls sent ahead, so that it is known which of them runs."""
        if self._ahead and not self._killed:
            self._take_unread()

    def credit(self, pieces: int) -> None:
        """Grant that many more pieces of the streamed answer under way."""
        if self.stage is Stage.STREAMING:
            self._room += pieces
            self._write(frames.encode(Frame(int(FrameType.CREDIT), call=self._call, status=pieces)))

    @property
    def has_credit(self) -> bool:
        """Whether the guest may send a piece, so that it is its turn and not the reader's."""
        return self._room > 0

    def rests(self) -> bool:
        """Return whether the handler waits for something at this moment, rather than compute or wish to.

        A guest whose answer is on its way sleeps, too: on a busy machine that would make any handler look like one that waits.
        """
        try:
            text = Path(f"/proc/{self.cell.pid}/stat").read_bytes()
        except OSError:
            return False
        sleeps = text.rpartition(b")")[2].lstrip()[:1] == b"S"
        return sleeps and self._socket is not None and not unread_bytes(self._socket.fileno())

    def follow(self, tap: Tap) -> None:
        """Tell `tap` what the worker prints from now on."""
        self._capture.tap = tap

    def take_output(self) -> Output:
        """Return what was printed since the last answer."""
        return self._capture.take()

    def seen(self, usage: Usage) -> None:
        """Take down what the worker uses while a call runs (for the watchdog)."""
        self.account.see(usage)

    def breach(self, code: FailureCode, message: str) -> None:
        """End the worker because it went beyond a limit."""
        if self.broken is None:
            self.broken = (code, message)
        self.kill_soon(message)

    def kill_soon(self, fault: str = "") -> None:
        """End the worker; `on_end` tells when it is gone. `fault` replaces its exit status in that text."""
        if self._gone.done() or not self._child.pid:
            self._finish()
            return
        self._fault = self._fault or fault
        if self._child.alive:
            if self._call and not self._killed:
                self.account.see(self.cell.usage())
            self._killed = True
            self._child.kill()

    async def kill(self) -> None:
        """End the worker; everything of it is dead when this returns."""
        self.kill_soon()
        await asyncio.shield(self._gone)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Take bytes from the guest; once it has been killed, only to know what it had begun."""
        if self._killed:
            self._remains.keep(data)
            return
        frame = self._decoder.whole(data)
        if frame is not None:
            self._on_frame(frame)
            return
        came: list[Frame] = []
        fault: frames.FrameError | None = None
        try:
            came.extend(self._decoder.feed(data))
        except frames.FrameError as error:
            fault = error
        self._on_frames(came)
        if fault is not None and not self._killed:
            self._on_fault(fault)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give a guest that closed its descriptor a moment to end, then end it."""
        self._transport = None
        while exc is not None and self._take_unread():
            pass  # a call could not be written: what the guest has answered before it ended still counts
        if self._dead:
            self._finish()
        elif not self._killed:
            self._loop.call_later(_LAST_WORDS_SECONDS, self.kill_soon, "worker was ended: it closed its connection")

    # end of asyncio.Protocol

    async def _spawn(self, command: GuestCommand, code: Path, descriptor: GuestDescriptor, *, profile: Profile) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        stdout, stderr = self._capture.child_fds
        try:
            self._child.spawn(
                command, code=code, profile=profile, descriptor=descriptor, theirs=theirs, output=(stdout, stderr)
            )
        except OSError as error:
            ours.close()
            raise WorkerEndedError(f"worker could not be started: {error}") from error
        finally:
            theirs.close()
        self._capture.watch()
        self._socket = ours
        self._transport, _ = await self._loop.create_unix_connection(lambda: self, sock=ours)

    async def _handshake(self, seconds: float, what: str) -> Frame:
        try:
            async with asyncio.timeout(seconds):
                return await self._reply
        except TimeoutError:
            raise WorkerEndedError(f"worker did not {what} within {seconds:g} s{self._last_words()}") from None

    def _greeted(self, ready: Frame) -> None:
        """Take down what a guest says of itself."""
        with contextlib.suppress(ValueError, AttributeError):
            self.reads_ahead = orjson.loads(ready.head).get("read_ahead") is True
        if self.reads_ahead:
            self._capture.owned = self._owned_bytes

    def _enter(self) -> None:
        try:
            self._cell = self._child.enter()
        except OSError as error:
            raise WorkerEndedError(f"worker ended as it began: {error}") from error
        self.account.open(self._cell)

    def _bound(self, limits: Limits) -> None:
        self.limits = limits
        if self._gone.done():
            raise WorkerEndedError(self._end_text())
        try:
            self.cell.limit(limits)
        except OSError as error:
            raise WorkerEndedError(f"worker could not be bounded: {error}") from error

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _on_frames(self, came: list[Frame]) -> None:
        """Take frames that came together."""
        if self._ahead:
            self.account.share(sum(each.type in LAST_TYPES for each in came))
        for at, each in enumerate(came):
            self._on_frame(each)
            if self._killed:
                self._remains.leave(came[at + 1 :])
                break
        self.account.shared()

    def _on_fault(self, error: frames.FrameError) -> None:
        """End the worker for bytes that are no frame, or one that is too large."""
        self._remains.breaks_off(error, pending=self._decoder.pending)
        if isinstance(error, frames.FrameTooLargeError):
            self.too_large = error.type in _ANSWERS
            self.kill_soon(f"worker was ended: its answer is too large ({error})")
        else:
            self.kill_soon(f"worker was ended: it broke the protocol ({error})")

    def _on_frame(self, frame: Frame) -> None:
        kind = frame.type
        if kind == _ANSWER and frame.call == self._call and self.stage is _RUNNING and not frame.flags & BACKGROUND:
            # Nearly every call ends here: `_in_turn` would say the same of it.
            self.stage = _NONE
            self.account.settle()
            self._call = 0
            if self.account.crowded and not self._ahead:
                self.kill_soon()
            self._on_frame_of_call(frame, self._printed(frame))
        elif self._call and frame.call == self._call and self._in_turn(frame):
            last = self.stage is Stage.NONE
            if last:
                self.account.settle()
                self._call = 0
                if self.account.crowded and not self._ahead:
                    self.kill_soon()
            self._on_frame_of_call(frame, self._printed(frame) if last else NO_OUTPUT)
        elif self._expected and (kind == self._expected or (kind == _ERROR and self._expected == _LOADED)):
            self._expected = 0
            if not self._reply.done():
                self._reply.set_result(frame)
        elif not (kind == _CREDIT and self._grants(frame)):
            kind_name = FrameType(kind).name
            self._remains.garble()
            self.kill_soon(f"worker was ended: it sent {kind_name} for call {frame.call}, which nobody asked for")

    def _grants(self, frame: Frame) -> bool:
        """Take a guest's wish for more of a body; return whether it may have it."""
        intake = self._intake
        if intake is None or intake.call != frame.call or frame.call != self._call or self.stage not in _READING:
            return False
        return intake.grant(frame.status)

    def _printed(self, frame: Frame) -> Output:
        """Return what was printed during the call that this frame ends; let a guest that waits for that go on."""
        if not self.reads_ahead:
            return self._capture.take()
        if not frame.flags & PRINTED:
            return self._capture.take(read=False)
        output = self._capture.take()
        if self._ahead:
            self._write(frames.encode(Frame(int(FrameType.CREDIT), call=frame.call)))
        return output

    def _owned_bytes(self, fd: int) -> int:
        """Return how much of what lies in a pipe the present call has printed for certain.

        The guest goes on with the next call by itself when nothing lies there. So what lies there while no answer is under way
        is the present call's, whatever happens afterwards.
        """
        while self._ahead and not self._killed:
            size = unread_bytes(fd)
            if not self._take_unread():
                return size
        return sys.maxsize

    def _take_unread(self) -> bool:
        """Take what lies in the socket, before the event loop comes to it; return whether there was something."""
        data = self._read_socket()
        if data:
            self.data_received(data)
        return bool(data)

    def _read_socket(self) -> bytes:
        try:
            return self._socket.recv(_READ_BYTES) if self._socket is not None else b""
        except OSError:
            return b""

    def _in_turn(self, frame: Frame) -> bool:
        """Return whether a frame may come now, and go on to the stage that it leads to."""
        kind, stage = frame.type, self.stage
        if stage is Stage.RUNNING and kind == _START:
            self.stage = Stage.STREAMING
            self._room = WINDOW
            return len(frame.body) <= CHUNK_BYTES
        if stage is Stage.STREAMING and kind == _CHUNK:
            self._room -= 1
            return self._room >= 0 and len(frame.body) <= CHUNK_BYTES
        ends = (
            (stage is Stage.RUNNING and kind in _ANSWERS)
            or (stage is Stage.STREAMING and kind in (_END, _ERROR))
            or (stage is Stage.BACKGROUND and kind == _END)
        )
        if ends:
            goes_on = frame.flags & BACKGROUND and stage is not Stage.BACKGROUND
            self.stage = Stage.BACKGROUND if goes_on else Stage.NONE
            if goes_on:
                self.account.glance()
        return ends

    def _died(self) -> None:
        self._dead = True
        if self._transport is None or self._killed:
            self._finish()
        else:
            # An answer may still lie in the socket: the end of the stream comes after it.
            self._loop.call_later(_LAST_WORDS_SECONDS, self._finish)

    def _finish(self) -> None:
        if self._gone.done():
            return
        if self._ahead:
            while data := self._read_socket():
                self._remains.keep(data)
            self.begun = self._remains.begun(self._call, self._ahead, self._decoder)
        if self._cell is not None:
            self.broken = self.broken or self._cell.verdict()
            if self._call:
                self.account.lose(self.broken[0] if self.broken else FailureCode.CRASH, self.limits)
            self._cell.close()
        text = self._end_text()
        if not self._reply.done():
            code = (self.broken and self.broken[0]) or FailureCode.CRASH
            self._reply.set_exception(WorkerEndedError(text + self._last_words(), code=code))
            self._reply.exception()  # somebody may wait for it or not: it is no loss if nobody does
        self._capture.close()
        self._child.close()
        if self._transport is not None:
            self._transport.abort()
        self._gone.set_result(None)
        if self._on_end is not None:
            self._on_end(text)

    def _end_text(self) -> str:
        if self.broken is not None:
            return self.broken[1]
        return self._fault or self._child.exit_text()

    def _last_words(self) -> str:
        """Return the end of what the guest wrote to stderr, for the one who has to find out why it does not start."""
        text = self._capture.take().stderr.strip()[-_TOLD_BYTES:]
        return f": {text}" if text else ""
