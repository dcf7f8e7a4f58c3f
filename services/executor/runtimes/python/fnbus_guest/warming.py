"""What takes long to import and only some code needs: told when such code was loaded, imported when it is expected."""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from .eventloop import EventLoop  # noqa: TID252  see the package's docstring

_ASYNCIO = "asyncio"
_COROUTINE = 0x80 | 0x200
"""`inspect.CO_COROUTINE` and `CO_ASYNC_GENERATOR`."""
_imported: set[str] = set()
"""Modules that are here because code was expected to need them."""


def words_of(module: ModuleType) -> list[str]:
    """Return the words for what a module of user code needs."""
    taken = _ASYNCIO in sys.modules and _ASYNCIO not in _imported
    return [_ASYNCIO] if taken or any(map(_is_asynchronous, list(vars(module).values()))) else []


def warm(words: list[str], loop: EventLoop) -> None:
    """Make ready what these words stand for."""
    if _ASYNCIO in words:
        before = set(sys.modules)
        loop.prepare()
        _imported.update(set(sys.modules) - before)
        gc.collect()
        gc.freeze()


def _is_asynchronous(value: Any) -> bool:
    # Only real functions are asked: an object of the code's own might do anything when it is.
    return type(value) is type(warm) and bool(value.__code__.co_flags & _COROUTINE)


def make_way(root: str, entrypoint: str) -> None:
    """Forget those modules of the library whose names the function's own files have: its imports find its own, as always."""
    if not _imported:
        return
    for folder in {root, os.path.dirname(os.path.join(root, entrypoint))}:
        for name in os.listdir(folder):
            stem = name.partition(".")[0]
            if stem in _imported:
                sys.modules.pop(stem, None)
