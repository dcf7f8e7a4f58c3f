"""A guest under test: the program of a runtime, driven over a socket pair without executor, sandbox or bus.

The frames are written and read here from their description, independently of `services.executor.workers.frames`, so that a
mistake on one side is seen by the other.
"""

import json
import os
import select
import socket
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import orjson
import pytest

from libs.messages import heads

READY, LOAD, LOADED, CALL, ANSWER, ERROR, START, CHUNK, END, CREDIT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
BODY = 12
COMPUTED, BACKGROUND = 0x01, 0x02
PIECEWISE, LAST = 0x10, 0x20
WINDOW = 8
"""Chunks of an answer that come without credit, and pieces of a body that may be asked for."""

_FRAME = struct.Struct(">IBBHIIII")
_PATIENCE = 60.0
"""Seconds to wait for a frame or an end on a machine that is busy with other tests."""
_DESCRIPTOR = os.open(os.devnull, os.O_RDWR)
"""Where guests find their socket: taken when nothing else is open yet, since Node needs a number up to 15."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A frame that a guest sent."""

    type: int
    call: int
    status: int
    head: bytes
    body: bytes
    cpu_us: int
    peak_kib: int
    flags: int

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers of an ANSWER or START, in order."""
        return [(name, value) for name, value in json.loads(self.head)]

    @property
    def failure(self) -> dict[str, str]:
        """What an ERROR says for the function's owner."""
        assert self.type == ERROR, f"frame of type {self.type}: {self.body[:200]!r}"
        return json.loads(self.head)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def header(self, name: str) -> str | None:
        """The first header of that lower-case name."""
        return dict(reversed(self.headers)).get(name)

    def json(self) -> Any:
        """The body as JSON; the frame must be an ANSWER."""
        assert self.type == ANSWER, f"frame of type {self.type}: {self.head!r}"
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """A streamed answer that has come to its end."""

    start: Answer
    pieces: list[bytes]
    """Bodies of START (unless it is empty) and of each CHUNK."""
    end: Answer
    """END, or the ERROR that broke it off."""

    @property
    def body(self) -> bytes:
        """All pieces together."""
        return b"".join(self.pieces)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class Guest:
    """A running guest; leaving the context closes its descriptor and sees it end."""

    def __init__(self, argv: Sequence[str], *, folder: Path, env: Mapping[str, str] | None = None) -> None:
        """Start the guest; what it prints goes to files in `folder`."""
        self._out, self._err = folder / "stdout", folder / "stderr"
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(_PATIENCE)
        with theirs, self._out.open("wb") as out, self._err.open("wb") as err:
            os.dup2(theirs.fileno(), _DESCRIPTOR, inheritable=False)
            self.process = subprocess.Popen(
                [*argv, str(_DESCRIPTOR)],
                pass_fds=[_DESCRIPTOR],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", **(env or {})},
            )
            with Path(os.devnull).open("rb+") as nothing:
                os.dup2(nothing.fileno(), _DESCRIPTOR, inheritable=False)
        self._calls = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> int:
        """Close the descriptor, as an executor that ends does, and return the guest's exit code."""
        self._socket.close()
        try:
            return self.process.wait(_PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()

    @property
    def stdout(self) -> str:
        """What the function has printed."""
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        """What the function has printed as errors."""
        return self._err.read_text()

    def send(
        self,
        kind: int,
        *,
        head: bytes = b"",
        body: bytes = b"",
        call: int = 0,
        status: int = 0,
        flags: int = 0,
        pieces_of: int = 0,
    ) -> None:
        """Send a frame, at once or in pieces of `pieces_of` bytes."""
        data = _FRAME.pack(20 + len(head) + len(body), kind, flags, status, call, len(head), 0, 0) + head + body
        for start in range(0, len(data), pieces_of or len(data)):
            self._socket.sendall(data[start : start + (pieces_of or len(data))])

    def receive(self) -> Answer:
        """Return the next frame.

        Raises:
            EOFError: the guest is gone.
        """
        header = self._exactly(_FRAME.size)
        length, kind, flags, status, call, head, cpu_us, peak_kib = _FRAME.unpack(header)
        rest = self._exactly(length - 20)
        return Answer(
            type=kind,
            call=call,
            status=status,
            head=rest[:head],
            body=rest[head:],
            cpu_us=cpu_us,
            peak_kib=peak_kib,
            flags=flags,
        )

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                piece = self._socket.recv(min(size - len(data), 1 << 20))
            except ConnectionResetError:
                piece = b""
            if not piece:
                raise EOFError(f"the guest is gone: {self.stderr[-2000:]}")
            data += piece
        return bytes(data)

    def silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes for a while: the guest waits for credit or for something to do."""
        ready, _, _ = select.select([self._socket], [], [], seconds)
        return not ready

    def load(
        self,
        root: Path,
        entrypoint: str,
        *,
        handler: str = "handler",
        style: str = "auto",
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> Answer:
        """Have a version loaded and return LOADED or ERROR."""
        head = {
            "root": str(root),
            "entrypoint": entrypoint,
            "handler": handler,
            "handler_style": style,
            "name": "tested",
            "version": "default",
            "env": dict(env or {}),
            "secrets": dict(secrets or {}),
            "memory_mb": 128,
        }
        self.send(LOAD, head=json.dumps(head).encode())
        return self.receive()

    def call(self, *, body: bytes = b"", pieces_of: int = 0, **head: Any) -> Answer:
        """Run the handler once; `head` replaces arguments of `libs.messages.heads.encode`.

        A streamed answer gives its START; the rest is for `rest_of`.
        """
        self._calls += 1
        self.send(CALL, head=request_head(**head), body=body, call=self._calls, pieces_of=pieces_of)
        return self.next_frame()

    def begin(self, **head: Any) -> None:
        """Run the handler once, with a body that comes by and by."""
        self._calls += 1
        head = {"method": "POST", **head}
        self.send(CALL, head=request_head(**head), call=self._calls, flags=PIECEWISE)

    def wanted(self) -> int:
        """Return how many pieces of the body the guest asks for now."""
        frame = self.next_frame()
        assert frame.type == CREDIT, f"frame of type {frame.type}: {frame.head!r} {frame.body[:200]!r}"
        return frame.status

    def give(self, data: bytes, *, last: bool = False) -> None:
        """Send a piece of the body."""
        self.send(BODY, body=data, call=self._calls, flags=LAST if last else 0)

    def beside_credit(self) -> Answer:
        """Return the next frame that does not ask for more of the body."""
        while (frame := self.next_frame()).type == CREDIT:
            pass
        return frame

    def next_frame(self) -> Answer:
        """Return the next frame of the call that was sent last."""
        answer = self.receive()
        assert answer.call == self._calls, f"answer to call {answer.call} instead of {self._calls}"
        return answer

    def credit(self, chunks: int = 1) -> None:
        """Let the call that was sent last send so many chunks more."""
        self.send(CREDIT, call=self._calls, status=chunks)

    def rest_of(self, start: Answer) -> Streamed:
        """Return the streamed answer that began with `start`, granting a chunk for each that came."""
        assert start.type == START, f"frame of type {start.type}: {start.head!r} {start.body[:200]!r}"
        pieces = [start.body] if start.body else []
        while (frame := self.next_frame()).type == CHUNK:
            pieces.append(frame.body)
            self.credit()
        assert frame.type in (END, ERROR), f"frame of type {frame.type} in a stream"
        return Streamed(start=start, pieces=pieces, end=frame)

    def stream(self, *, body: bytes = b"", **head: Any) -> Streamed:
        """Run the handler once and return its streamed answer."""
        return self.rest_of(self.call(body=body, **head))


def request_head(**changes: Any) -> bytes:
    """Return a request head with everything that a gateway says, some of it changed."""
    arguments: dict[str, Any] = {
        "id": "req-1700000000000-77-000001",
        "method": "GET",
        "path": "/tested",
        "raw_path": "/tested?name=World",
        "query": {"name": "World"},
        "headers": {"host": "localhost:8080", "user-agent": "tests"},
        "params": {},
        "client": {"ip": "127.0.0.1", "ua": "tests"},
        "context": orjson.Fragment(b'{"runtime":"any","function_name":"tested","version":"default","timeout_ms":2500}'),
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "ts": 1_700_000_000_000,
    }
    return heads.encode(**{**arguments, **changes})


type Sources = Mapping[str, str | Mapping[str, str]]
"""A behaviour: for each runtime the source of its handler, or of several files, the first of which is the entry."""

ENTRY_FILES = {
    "python": "handler.py",
    "node": "handler.js",
    "deno": "handler.ts",
    "php": "handler.php",
    "rust": "handler.rs",
    "bash": "handler.sh",  # the plug-in of docs/adding-a-runtime.md
}
"""Name of the entry file of a behaviour that is a single file."""


@dataclass(slots=True)
class Bench:
    """Where behaviours are tried: a runtime's command and a folder for code."""

    runtime: str
    argv: Sequence[str]
    folder: Path
    build: Callable[[Path, str], None] | None = None
    """Makes what the runtime needs beside the code, given its root and its entry file."""
    guests: list[Guest] = field(default_factory=list[Guest])

    def start(self, **env: str) -> Guest:
        """Return a guest that has said it is ready."""
        place = self.folder / f"guest{len(self.guests)}"
        place.mkdir()
        guest = Guest(self.argv, folder=place, env=env)
        self.guests.append(guest)
        ready = guest.receive()
        assert ready.type == READY
        assert json.loads(ready.head)["runtime"] == self.runtime
        return guest

    def write(self, sources: Sources) -> tuple[Path, str]:
        """Write the code of this runtime and return its root and its entry file.

        A behaviour that says nothing of this runtime is one that the language has no form of: the test is skipped.
        """
        if self.runtime not in sources:
            pytest.skip(f"{self.runtime} has no such form")
        source = sources[self.runtime]
        files = {ENTRY_FILES[self.runtime]: source} if isinstance(source, str) else source
        root = self.folder / "fn"
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        entrypoint = next(iter(files))
        if self.build is not None:
            self.build(root, entrypoint)
        return root, entrypoint

    def loaded(
        self,
        sources: Sources,
        *,
        handler: str = "handler",
        style: str = "auto",
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> Guest:
        """Return a guest that has loaded the code."""
        root, entrypoint = self.write(sources)
        guest = self.start()
        answer = guest.load(root, entrypoint, handler=handler, style=style, env=env, secrets=secrets)
        assert answer.type == LOADED, answer.body
        return guest

    def refused(self, sources: Sources, *, handler: str = "handler", style: str = "auto") -> Answer:
        """Return the error of a guest that could not load the code."""
        root, entrypoint = self.write(sources)
        answer = self.start().load(root, entrypoint, handler=handler, style=style)
        assert answer.type == ERROR
        assert answer.failure["code"] == "load_error"
        return answer

    def close(self) -> None:
        """End all guests."""
        for guest in self.guests:
            guest.close()


class Answered(Protocol):
    """A fixture that loads a behaviour, calls it once and returns the answer."""

    def __call__(
        self, sources: Sources, *, style: str = "auto", body: bytes = b"", env: Mapping[str, str] | None = None, **head: Any
    ) -> Answer:
        """Load, call, return."""
        ...
