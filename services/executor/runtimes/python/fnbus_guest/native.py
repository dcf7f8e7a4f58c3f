"""The native style: a function of the event, with parameters by their names.

How a handler wants to be called is decided here, once: a handler is never called a second time to find out.
"""

from __future__ import annotations

from .events import event_of  # noqa: TID252  see the package's docstring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .styles import Handler, Surroundings  # noqa: TID252

_FUNCTION = type(lambda: None)
_ASYNCHRONOUS = 0x80 | 0x200
"""`inspect.CO_COROUTINE` and `CO_ASYNC_GENERATOR`."""
_VARIADIC, _KEYWORDS = 4, 8
"""`inspect.CO_VARARGS` and `CO_VARKEYWORDS`."""


def bind(function: Callable[..., Any], around: Surroundings) -> Handler:
    """Return a handler of requests that calls `function` with events."""
    handler = of_event(function)
    env, secrets = around.env, around.secrets
    code = getattr(function, "__code__", None)
    if code is not None and code.co_flags & _ASYNCHRONOUS:
        around.loop.prepare()  # now, so that no call has to wait for it

    def handle(head: bytes, body: bytes) -> Any:
        return handler(event_of(head, body, env, secrets))

    return handle


def of_event(handler: Callable[..., Any]) -> Callable[[dict[str, Any]], Any]:
    """Return a callable of one event that gives `handler` what it asks for.

    The first positional parameter is the event. Others get the path parameter of their name; `params` and `context` stand
    for those of the event when no path parameter is called so; `**kwargs` takes all path parameters.
    """
    first, others, everything = _parameters(handler)
    if first is not None and not others and not everything:
        return handler
    if first is None and not others and not everything:
        return lambda _: handler()

    def call(event: dict[str, Any]) -> Any:
        params = event["params"]
        found: dict[str, Any] = {name: value for name, value in params.items() if name != first} if everything else {}
        for name in others:
            if name in params:
                found[name] = params[name]
            elif name in ("params", "context"):
                found[name] = event[name]
            elif name == "event":
                found[name] = event
        return handler(**found) if first is None else handler(event, **found)

    return call


def _parameters(handler: Callable[..., Any]) -> tuple[str | None, tuple[str, ...], bool]:
    """Return the name of the first positional parameter, those of the others, and whether there is a `**kwargs`."""
    if type(handler) is not _FUNCTION or handler.__dict__:
        return _inspected(handler)
    code = handler.__code__
    positional = code.co_argcount
    named = code.co_varnames[: positional + code.co_kwonlyargcount]
    everything = bool(code.co_flags & _KEYWORDS)
    if positional:
        return named[0], named[1:], everything
    return ("" if code.co_flags & _VARIADIC else None), named, everything


def _inspected(handler: Callable[..., Any]) -> tuple[str | None, tuple[str, ...], bool]:
    """As `_parameters`, for classes, partials, decorated functions and other callables."""
    import inspect

    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return "", (), False
    first: str | None = None
    others: list[str] = []
    everything = False
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            everything = True
        elif parameter.kind is parameter.VAR_POSITIONAL:
            first = first or ""
        elif first is None and parameter.kind is not parameter.KEYWORD_ONLY:
            first = parameter.name
        else:
            others.append(parameter.name)
    return first, tuple(others), everything
