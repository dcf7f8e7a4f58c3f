"""The style of ASGI applications: FastAPI, Starlette, Quart and their like, unchanged.

An application runs as a task of its own. What it sends is taken from it piece by piece, so that it waits when the caller does;
what it does after its last piece (Starlette's background tasks) goes on after the answer.
"""

from __future__ import annotations

from .answers import BODYLESS, Made, Unfinished  # noqa: TID252  see the package's docstring
from .jsontext import loads  # noqa: TID252
from .loading import LoadError  # noqa: TID252
from .requests import header_pairs, mount_of, scheme_of, server_of  # noqa: TID252

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Any

    from .intake import Intake  # noqa: TID252
    from .styles import Handler, Surroundings  # noqa: TID252

    type Message = dict[str, Any]
    type Application = Callable[..., Awaitable[None]]

READS = True
"""Bodies are taken by and by."""
_VERSIONS = {"version": "3.0", "spec_version": "2.4"}
_SHUTDOWN_SECONDS = 2.0


def bind(application: Application, around: Surroundings) -> Handler:
    """Start the application (its lifespan) and return a handler of requests.

    Raises:
        LoadError: it says that it could not start.
    """
    lifespan = _Lifespan(application)
    around.loop.run(lifespan.start())
    around.loop.at_end(lifespan.stop)

    def handle(head: bytes, body: bytes | Intake) -> Any:
        return _Exchange(body).run(application, _scope(loads(head), lifespan.state))

    return handle


def _scope(head: dict[str, Any], state: dict[str, Any]) -> Message:
    raw_path, _, query = head["raw_path"].partition("?")
    mount = mount_of(head)
    path = head["path"]
    return {
        "type": "http",
        "asgi": _VERSIONS,
        "http_version": "1.1",
        "method": head["method"],
        "scheme": scheme_of(head),
        "path": path if path != mount else path + "/",
        "raw_path": raw_path.encode("latin-1", "replace"),
        "query_string": query.encode("latin-1", "replace"),
        "root_path": mount,
        "headers": [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in header_pairs(head)],
        "client": (head["client"].get("ip", ""), 0),
        "server": server_of(head),
        "state": state.copy(),
        "path_params": {},
        "extensions": {"fnbus": {"id": head["id"], "params": head["params"], "context": head["context"]}},
    }


class _Exchange:
    """One request and what the application does with it."""

    def __init__(self, body: bytes | Intake) -> None:
        import asyncio

        self._body: bytes | Intake | None = body
        self._start: Message = {}
        self._pieces: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue(1)
        self._over = asyncio.Event()
        self._ignores = False

    async def run(self, application: Application, scope: Message) -> Any:
        """Return the application's answer, as a whole or with a body that comes on."""
        import asyncio

        task = asyncio.ensure_future(application(scope, self._receive, self._send))
        task.add_done_callback(self._wake)
        piece, more = await self._pieces.get()
        if not self._start:
            await task
            raise RuntimeError("the application ended without an answer")
        if self._start["status"] in BODYLESS:
            self._ignores, more = True, False
        await asyncio.sleep(0)  # most have nothing more to do after their last piece
        body = self._rest(piece, task) if more else piece
        made = Made(self._start["status"], _headers(self._start), body)
        if task.done() and not task.cancelled() and task.exception() is None:
            return made
        return Unfinished(made, task)

    async def _rest(self, piece: bytes, task: asyncio.Future[None]) -> AsyncIterator[bytes]:
        more = True
        try:
            while more:
                yield piece
                piece, more = await self._taken(task)
                if not more and not self._over.is_set():
                    await task  # it ended before its answer did: with its error, if it has one
                    raise RuntimeError("the application ended in the middle of its answer")
            if piece:
                yield piece
        finally:
            if not self._over.is_set():
                task.cancel()

    async def _taken(self, task: asyncio.Future[None]) -> tuple[bytes, bool]:
        """Return the next piece; an empty last one when the application has ended without."""
        if task.done() and self._pieces.empty():
            return b"", False
        return await self._pieces.get()

    async def _receive(self) -> Message:
        body = self._body
        if isinstance(body, bytes):
            self._body = None
            return {"type": "http.request", "body": body, "more_body": False}
        if body is not None and not body.closed:
            piece, more = await body.next()
            if not body.closed:
                self._body = body if more else None
                return {"type": "http.request", "body": piece, "more_body": more}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body" and not self._over.is_set():
            more = message.get("more_body", False)
            if not more:
                self._over.set()
                if self._body is not None and not isinstance(self._body, bytes):
                    self._body.close()
            if self._ignores:
                return
            await self._pieces.put((message.get("body", b""), more))

    def _wake(self, task: asyncio.Future[None]) -> None:
        """Tell who waits for a piece that the application has ended."""
        del task
        if not self._over.is_set() and not self._pieces.full():
            self._pieces.put_nowait((b"", False))


class _Lifespan:
    """Start and end of an application, once per worker; applications that know nothing of it are none the worse."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.state: dict[str, Any] = {}
        self._task: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Have the application start.

        Raises:
            LoadError: it says that it could not.
        """
        import asyncio

        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        self._told: asyncio.Queue[Message | None] = asyncio.Queue()
        scope: Message = {"type": "lifespan", "asgi": _VERSIONS, "state": self.state}
        self._asked.put_nowait({"type": "lifespan.startup"})
        self._task = asyncio.ensure_future(self._application(scope, self._asked.get, self._told.put))
        self._task.add_done_callback(self._ended)
        told = await self._told.get()
        if told is not None and told["type"] == "lifespan.startup.failed":
            raise LoadError(f"the application did not start: {told.get('message') or 'it gave no reason'}".strip())

    async def stop(self) -> None:
        """Have the application end in order."""
        import asyncio

        if self._task is None or self._task.done():
            return
        self._asked.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait([self._task], timeout=_SHUTDOWN_SECONDS)

    def _ended(self, task: asyncio.Future[None]) -> None:
        if not task.cancelled():
            task.exception()  # an application without lifespan raises: it has been looked at
        self._told.put_nowait(None)


def _headers(start: Message) -> list[tuple[str, str]]:
    return [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in start.get("headers", ())]
