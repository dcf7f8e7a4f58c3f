"""Which way of being called a module's author had in mind, and the handler of requests that comes of it.

An explicit style wins always. `auto` takes a function of the native names first, then an ASGI or WSGI application: those
cannot be mistaken for each other.
"""

from __future__ import annotations

from . import native  # noqa: TID252  see the package's docstring
from .loading import LoadError  # noqa: TID252

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from .eventloop import EventLoop  # noqa: TID252

type Handler = Callable[[bytes, Any], Any]
"""From head and body of a request to what `answers.answer_of` takes, or to an awaitable of that. The body is bytes; an adapter
that says `READS` also takes an `intake.Intake`."""

_COROUTINE = 0x80
"""`inspect.CO_COROUTINE`."""
_APPLICATIONS = ("app", "application")
_OTHERS = {
    "aws-lambda": ("handler", "lambda_handler", "main"),
    "cloudflare-worker": ("fetch", "on_fetch", "Default", "default", "handler", "main"),
    "asgi": (*_APPLICATIONS, "handler", "main"),
    "wsgi": (*_APPLICATIONS, "handler", "main"),
}
"""Names that are looked for when the configuration gives none."""


class Surroundings:
    """What a style may want to know of the worker."""

    __slots__ = ("env", "loop", "memory_mb", "name", "reads", "secrets", "version")

    def __init__(self, head: dict[str, Any], env: dict[str, str], loop: EventLoop) -> None:
        """Describe a worker.

        Args:
            head: the LOAD frame's.
            env: the function's environment.
            loop: the worker's event loop.
        """
        self.env = env
        self.secrets: dict[str, str] = head.get("secrets") or {}
        self.loop = loop
        self.name: str = head.get("name") or ""
        self.version: str = head.get("version") or ""
        self.memory_mb: int = head.get("memory_mb") or 128
        self.reads = False
        """Whether the handler that was chosen reads bodies by and by."""


def prepare(style: str) -> None:
    """Make importable what code of that style imports from its platform."""
    if style == "cloudflare-worker":
        from . import cloudflare  # noqa: TID252

        cloudflare.offer()


def choose(module: ModuleType, *, entrypoint: str, name: str, style: str, around: Surroundings) -> Handler:
    """Return the module's handler of requests.

    Args:
        module: user code.
        entrypoint: the name of its file, for the error.
        name: the configured name of the handler; `handler` and "" stand for the style's own.
        style: a handler style.
        around: the worker.

    Raises:
        LoadError: there is no such handler in it.
        BaseException: what the application raises while it starts.
    """
    names = ("handler", "main") if name in ("", "handler") else (name,)
    if style in ("", "auto", "native"):
        found = _first_callable(module, names)
        if found is not None:
            return native.bind(found, around)
        style = "native" if style == "native" else _style_of_application(module)
        if style == "native":
            raise LoadError(f"{entrypoint}: no function named {' or '.join(names)}")
    if style not in _OTHERS:
        raise LoadError(f"{entrypoint}: Python has no handlers of style {style}")
    names = names if name not in ("", "handler") else _OTHERS[style]
    found = _first_callable(module, names)
    if found is None:
        raise LoadError(f"{entrypoint}: nothing to call that is named {' or '.join(names)} (style {style})")
    return _bound(style, found, around)


def _bound(style: str, found: Callable[..., Any], around: Surroundings) -> Handler:
    if style == "aws-lambda":
        from . import awslambda as adapter  # noqa: TID252
    elif style == "cloudflare-worker":
        from . import cloudflare as adapter  # noqa: TID252
    elif style == "asgi":
        from . import asgi as adapter  # noqa: TID252
    else:
        from . import wsgi as adapter  # noqa: TID252
    around.reads = getattr(adapter, "READS", False)
    return adapter.bind(found, around)


def _first_callable(module: ModuleType, names: tuple[str, ...]) -> Callable[..., Any] | None:
    for each in names:
        found = getattr(module, each, None)
        if callable(found) or hasattr(found, "fetch"):
            return found
    return None


def _style_of_application(module: ModuleType) -> str:
    """Return `asgi` or `wsgi` when the module holds such an application, else `native`."""
    found = _first_callable(module, _APPLICATIONS)
    if found is None:
        return "native"
    function = found if hasattr(found, "__code__") else getattr(found.__call__, "__func__", None)
    code = getattr(function, "__code__", None)
    if code is None:
        return "native"
    own = code.co_varnames[: code.co_argcount]
    wanted = len(own) - (1 if own[:1] == ("self",) else 0)
    if code.co_flags & _COROUTINE or wanted == 3:
        return "asgi"
    return "wsgi" if wanted == 2 else "native"
