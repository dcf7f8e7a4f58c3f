"""The style of WSGI applications: Flask, Django, Bottle and their like, unchanged."""

from __future__ import annotations

import sys

from .answers import Made  # noqa: TID252  see the package's docstring
from .jsontext import loads  # noqa: TID252
from .requests import header_pairs, mount_of, scheme_of, server_of  # noqa: TID252

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from io import BufferedIOBase
    from typing import Any

    from .intake import Intake  # noqa: TID252
    from .styles import Handler, Surroundings  # noqa: TID252

READS = True
"""Bodies are taken by and by."""
_NO_STATUS = -1
"""What is refused as a status: an exception here would be the application's own, and its caller's fault."""
_UNPREFIXED = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


def bind(application: Callable[..., Any], around: Surroundings) -> Handler:
    """Return a handler of requests that calls the application."""
    del around

    def handle(head: bytes, body: bytes | Intake) -> Any:
        exchange = _Exchange()
        pieces = application(_environ(loads(head), body), exchange.start_response)
        return exchange.made(pieces)

    return handle


def _environ(head: dict[str, Any], body: bytes | Intake) -> dict[str, Any]:
    name, port = server_of(head)
    mount = mount_of(head)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": head["method"],
        "SCRIPT_NAME": mount.encode().decode("latin-1"),
        "PATH_INFO": head["path"][len(mount) :].encode().decode("latin-1") or "/",
        "QUERY_STRING": head["raw_path"].partition("?")[2],
        "REQUEST_URI": head["raw_path"],
        "RAW_URI": head["raw_path"],
        "SERVER_NAME": name,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "fnbus",
        "REMOTE_ADDR": head["client"].get("ip", ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme_of(head),
        "wsgi.input": _input(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": _FileWrapper,
        "fnbus.id": head["id"],
        "fnbus.params": head["params"],
        "fnbus.context": head["context"],
    }
    if isinstance(body, bytes):
        environ["CONTENT_LENGTH"] = str(len(body))
    for header, value in header_pairs(head):
        key = _UNPREFIXED.get(header) or f"HTTP_{header.upper().replace('-', '_')}"
        if key == "CONTENT_LENGTH" and isinstance(body, bytes):
            continue  # what has arrived is what counts
        environ[key] = f"{environ[key]}, {value}" if key in environ else value
    return environ


def _input(body: bytes | Intake) -> BufferedIOBase:
    from io import BufferedReader, BytesIO

    if isinstance(body, bytes):
        return BytesIO(body)
    from .intake import Input  # noqa: TID252

    return BufferedReader(Input(body), 65536)


class _FileWrapper:
    """A file in pieces (`wsgi.file_wrapper`)."""

    def __init__(self, file: Any, size: int = 65536) -> None:
        self._file = file
        self._size = size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self._file.read(self._size), b"")


class _Exchange:
    """One request: what the application says before and beside its body."""

    def __init__(self) -> None:
        self._status = 0
        self._headers: list[tuple[str, str]] = []
        self._written: list[bytes] = []
        self._sent = False

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        """Take status and headers, a second time only together with an error, and return `write`."""
        if exc_info is not None and self._sent:
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and self._status:
            raise AssertionError("start_response was called twice")
        code = status.partition(" ")[0]
        self._status = int(code) if code.isascii() and code.isdigit() else _NO_STATUS
        self._headers = list(headers)
        return self._written.append

    def made(self, pieces: Iterable[bytes]) -> Made:
        """Return the answer: whole when the first piece is all of it, else as it comes."""
        rest = self._pieces(pieces)
        whole = isinstance(pieces, (list, tuple))
        first = b"".join(rest) if whole else next(rest, b"")
        if not self._status:
            raise AssertionError("the application did not call start_response")
        length = {name.lower(): value for name, value in self._headers}.get("content-length")
        if first and not whole and length != str(len(first)):
            return Made(self._status, self._headers, _Body(first, rest))
        rest.close()
        return Made(self._status, self._headers, first)

    def _pieces(self, pieces: Iterable[bytes]) -> Generator[bytes]:
        """Yield what is written and what is returned, without empty pieces; the first is waited for with `start_response`."""
        try:
            for piece in pieces:
                if not self._status:
                    raise AssertionError("the application gave a body before start_response")
                if self._written:
                    yield self._taken()
                if piece:
                    self._sent = True
                    yield piece
            if self._written:
                yield self._taken()
        finally:
            if hasattr(pieces, "close"):
                pieces.close()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  what PEP 3333 asks for

    def _taken(self) -> bytes:
        data = b"".join(self._written)
        self._written.clear()
        self._sent = True
        return data


class _Body:
    """The pieces of a body, the first of which has been taken already."""

    def __init__(self, first: bytes, rest: Generator[bytes]) -> None:
        self._first = first
        self._rest = rest

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        return next(self._rest)

    def close(self) -> None:
        """Tell the application that nobody wants more."""
        self._rest.close()
