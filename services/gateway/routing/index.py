"""Functions by name, for whatever names one without a route: pinned calls, jobs, `/_fn/invoke`."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from libs.messages.catalog import FunctionEntry, VersionEntry

RUNTIME_ORDER = ("python", "node", "php", "rust", "deno")
"""Whose function a bare name means when several runtimes have one (FastFN's `runtime_order`)."""
DEFAULT_LABEL = "default"


class Named[T](NamedTuple):
    """A version of a function, found by name."""

    function: FunctionEntry
    version: VersionEntry
    owner: T


class NameIndex[T]:
    """All functions by key and by name."""

    def __init__(self, runtime_order: Sequence[str] = RUNTIME_ORDER) -> None:
        """Let a bare name mean the function of the runtime that comes first in an order."""
        self._order = {runtime: place for place, runtime in enumerate(runtime_order)}
        self._functions: dict[str, tuple[FunctionEntry, Mapping[str, T]]] = {}
        self._keys: dict[str, tuple[str, ...]] = {}

    def put(self, key: str, function: FunctionEntry, owners: Mapping[str, T]) -> None:
        """Add a function that is not in the index."""
        self._functions[key] = (function, owners)
        keys = (*self._keys.get(function.name, ()), key)
        self._keys[function.name] = tuple(sorted(keys, key=lambda each: self._place(self._functions[each][0].runtime)))

    def remove(self, key: str) -> Sequence[T]:
        """Remove a function and return its owners; none when it is not there."""
        known = self._functions.pop(key, None)
        if known is None:
            return ()
        function, owners = known
        keys = tuple(each for each in self._keys[function.name] if each != key)
        if keys:
            self._keys[function.name] = keys
        else:
            del self._keys[function.name]
        return tuple(owners.values())

    def find(self, name: str, *, version: str = DEFAULT_LABEL, runtime: str = "") -> Named[T] | None:
        """Return the function of that name that has that version, first by runtime order; None when there is none."""
        for key in self._keys.get(name, ()):
            function, owners = self._functions[key]
            owner = owners.get(version)
            if owner is not None and runtime in ("", function.runtime):
                return Named(function, _version(function, version), owner)
        return None

    def function(self, name: str, *, runtime: str = "") -> FunctionEntry | None:
        """Return the function of that name, first by runtime order, whatever its versions; None when there is none."""
        for key in self._keys.get(name, ()):
            function, _ = self._functions[key]
            if runtime in ("", function.runtime):
                return function
        return None

    def functions(self) -> list[FunctionEntry]:
        """Return all functions."""
        return [function for function, _ in self._functions.values()]

    def _place(self, runtime: str) -> tuple[int, str]:
        return (self._order.get(runtime, len(self._order)), runtime)

    def __len__(self) -> int:
        """Return how many functions there are."""
        return len(self._functions)


def _version(function: FunctionEntry, label: str) -> VersionEntry:
    """Return the version that has a label, or the first that the alias of that name leads to."""
    version = function.version(label)
    if version is None:
        alias = function.alias(label)
        found = (function.version(share.version) for share in alias.shares) if alias else ()
        version = next(each for each in found if each is not None)
    return version
