"""The style of Cloudflare Workers: `fetch(request, env, ctx)`, with what code imports from `workers`."""

from __future__ import annotations

import sys

from .answers import Made, Unfinished  # noqa: TID252  see the package's docstring
from .jsontext import dumps, loads  # noqa: TID252
from .requests import url_of  # noqa: TID252

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from typing import Any

    from .styles import Handler, Surroundings  # noqa: TID252

_VARIADIC = 4
"""`inspect.CO_VARARGS`."""


class Headers(dict[str, str]):
    """Headers by name, of any case."""

    def __getitem__(self, name: str) -> str:
        """Return the value of a header."""
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        """Whether there is such a header."""
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a header, or `default`."""
        return super().get(name.lower(), default)

    has = __contains__


class Request:
    """The first argument of `fetch`."""

    def __init__(self, head: dict[str, Any], body: bytes) -> None:
        """Describe a request by its head and body."""
        self.method: str = head["method"]
        self.url = url_of(head)
        self.headers = Headers(
            {name: value if isinstance(value, str) else ", ".join(value) for name, value in head["headers"].items()}
        )
        self.params: dict[str, str] = head["params"]
        self.body = body or None
        self._body = body

    async def text(self) -> str:
        """Return the body as text."""
        return self._body.decode(errors="replace")

    async def json(self) -> Any:
        """Return what the body means as JSON."""
        return loads(self._body.strip())

    async def buffer(self) -> bytes:
        """Return the body as it came."""
        return self._body

    array_buffer = arrayBuffer = bytes = buffer  # noqa: N815  the platform's name


class Response:
    """What a worker answers with."""

    def __init__(self, body: Any = None, *, status: int = 200, status_text: str = "", headers: Any = None) -> None:
        """Describe an answer; `body` is text, bytes, an iterator of either, or None."""
        self.body = body
        self.status = status
        self.status_text = status_text
        self.headers = headers

    @classmethod
    def json(cls, value: Any, *, status: int = 200, headers: Any = None) -> Response:
        """Return an answer with `value` as JSON."""
        given: dict[str, Any] = dict(headers or ())
        if not any(str(name).lower() == "content-type" for name in given):
            given["content-type"] = "application/json"
        return cls(dumps(value), status=status, headers=given)

    @classmethod
    def redirect(cls, url: str, status: int = 302) -> Response:
        """Return an answer that sends the caller elsewhere."""
        return cls(None, status=status, headers={"location": url})


class WorkerEntrypoint:
    """Base of a worker that is a class: `fetch(request)` with `self.env` and `self.ctx`."""

    def __init__(self, ctx: Any = None, env: Any = None) -> None:
        """Keep both for `fetch`."""
        self.ctx = ctx
        self.env = env


class Env(dict[str, str]):
    """The environment, by key and by attribute."""

    def __getattr__(self, name: str) -> str:
        """Return a variable."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Context:
    """The third argument of `fetch`."""

    def __init__(self) -> None:
        """Wait for nothing yet."""
        self.waiting: list[asyncio.Future[Any]] = []

    def wait_until(self, work: Awaitable[Any]) -> None:
        """Start `work`, and have the call go on after its answer until that is done."""
        import asyncio

        self.waiting.append(asyncio.ensure_future(work))

    def all_done(self) -> asyncio.Future[None]:
        """Return what is done when everything is, also what is added meanwhile; it tells the first failure."""
        import asyncio

        return asyncio.ensure_future(self._all_done())

    async def _all_done(self) -> None:
        failed: BaseException | None = None
        for each in self.waiting:
            try:
                await each
            except Exception as error:  # noqa: BLE001  one failure must not keep the others from their end
                failed = failed or error
        if failed is not None:
            raise failed

    def pass_through_on_exception(self) -> None:
        """Do nothing: there is no origin behind the function."""

    waitUntil = wait_until  # noqa: N815  the platform's names
    passThroughOnException = pass_through_on_exception  # noqa: N815


def offer() -> None:
    """Make `from workers import Response` work."""
    module = type(sys)("workers")
    for each in (Request, Response, Headers, WorkerEntrypoint):
        setattr(module, each.__name__, each)
    sys.modules["workers"] = module


def bind(found: Any, around: Surroundings) -> Handler:
    """Return a handler of requests that calls a function, the `fetch` of an object, or that of a class."""
    env = Env(around.env)

    async def handle(head: bytes, body: bytes) -> Any:
        context = Context()
        function = found(context, env) if isinstance(found, type) else found
        function = getattr(function, "fetch", function)
        try:
            value = function(*(Request(loads(head), body), env, context)[: _wanted(function)])
            if hasattr(value, "__await__"):
                value = await value
        except BaseException:
            for work in context.waiting:
                work.cancel()
            raise
        if isinstance(value, Response):
            value = Made(value.status, value.headers, value.body)
        return Unfinished(value, context.all_done()) if context.waiting else value

    return handle


def _wanted(function: Callable[..., Any]) -> int:
    """Return how many of the three arguments `function` takes."""
    method = getattr(function, "__func__", function)
    code = getattr(method, "__code__", None)
    if code is None or code.co_flags & _VARIADIC:
        return 3
    return code.co_argcount - (1 if method is not function else 0)
