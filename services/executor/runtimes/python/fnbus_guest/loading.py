"""From a folder of user code to one callable that takes an event.

How a handler wants to be called is decided here, once: a handler is never called a second time to find out.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

type Handler = Callable[[dict[str, Any]], Any]

_FUNCTION = type(lambda: None)
_VARIADIC, _KEYWORDS = 4, 8
"""`inspect.CO_VARARGS` and `CO_VARKEYWORDS`."""


class LoadError(Exception):
    """The code has no handler."""


def load(root: str, entrypoint: str, name: str) -> Handler:
    """Run the entry file and return its handler, ready to be called with an event alone.

    The entry file's folder becomes the current one and the first on the module path.

    Raises:
        LoadError: there is no such function in it.
        BaseException: whatever the code raises, SyntaxError and SystemExit included.
    """
    path = os.path.join(root, entrypoint)
    folder = os.path.dirname(path)
    places = [folder, root, os.path.join(folder, ".deps"), os.path.join(root, ".deps")]
    sys.path[:0] = [place for place in dict.fromkeys(places) if os.path.isdir(place)]
    sys.argv[:] = [path]
    os.chdir(folder)
    return bind(_find(_run(path), entrypoint, name))


def _run(path: str) -> ModuleType:
    stem = os.path.basename(path).rpartition(".")[0]
    taken = stem in sys.modules or stem in sys.stdlib_module_names
    name = stem if stem.isidentifier() and not taken else "fnbus_function"
    loader = SourceFileLoader(name, path)
    module = type(sys)(name)
    module.__spec__ = ModuleSpec(name, loader, origin=path)
    module.__loader__ = loader
    module.__file__ = path
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def _find(module: ModuleType, entrypoint: str, name: str) -> Callable[..., Any]:
    names = ("handler", "main") if name in ("", "handler") else (name,)
    for each in names:
        found = getattr(module, each, None)
        if callable(found):
            return found
    raise LoadError(f"{entrypoint}: no function named {' or '.join(names)}")


def bind(handler: Callable[..., Any]) -> Handler:
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
