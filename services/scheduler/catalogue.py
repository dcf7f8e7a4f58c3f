"""What the scheduler knows of the functions: a projection of the catalogue, followed by watch."""

import asyncio

from libs.bus import catalog, port
from libs.messages import subjects
from libs.messages.catalog import FunctionEntry, VersionEntry

type FunctionKey = tuple[str, str, str]
"""Namespace, runtime, name."""


class Catalogue:
    """The functions, as the registry last projected them."""

    def __init__(self, on_change: catalog.OnFunction) -> None:
        """Call `on_change` with the key and the new entry (None: removed) of each function that changes."""
        self._on_change = on_change
        self._entries: dict[str, FunctionEntry] = {}
        self._changed = asyncio.Event()
        self.complete = asyncio.Event()
        """Set when the present state has been read once."""

    async def follow(self, bucket: port.Bucket) -> None:
        """Follow the bucket for ever."""
        await catalog.follow(bucket, self._take, complete=self.complete)

    def version(self, key: FunctionKey, label: str) -> tuple[FunctionEntry, VersionEntry] | None:
        """Return a function and its version of that label, or None."""
        namespace, runtime, name = key
        function = self._entries.get(subjects.catalog_key(namespace=namespace, runtime=runtime, function=name))
        if function is None:
            return None
        return next(((function, version) for version in function.versions if version.label == label), None)

    async def wait_for(self, key: FunctionKey, label: str, *, within: float) -> tuple[FunctionEntry, VersionEntry] | None:
        """As `version`, waiting a moment for a function that the asker may have heard of first."""
        found = self.version(key, label)
        if found is not None:
            return found
        try:
            async with asyncio.timeout(within):
                while (found := self.version(key, label)) is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return None
        return found

    def _take(self, key: str, function: FunctionEntry | None) -> None:
        if function is None:
            self._entries.pop(key, None)
        else:
            self._entries[key] = function
        self._changed.set()
        self._on_change(key, function)
