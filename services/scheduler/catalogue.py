"""What the scheduler knows of the functions: a projection of the catalogue, followed by watch."""

import asyncio

from libs.bus import catalog, port
from libs.messages import subjects
from libs.messages.catalog import FunctionEntry, VersionEntry
from libs.messages.jobs import JobRequest


class Catalogue:
    """The functions, as the registry last projected them."""

    def __init__(self) -> None:
        self._entries: dict[str, FunctionEntry] = {}
        self._changed = asyncio.Event()
        self.complete = asyncio.Event()
        """Set when the present state has been read once."""

    async def follow(self, bucket: port.Bucket, on_change: catalog.OnFunction) -> None:
        """Follow the bucket for ever; `on_change` is called with each function that changes."""

        def take(key: str, function: FunctionEntry | None) -> None:
            if function is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = function
            self._changed.set()
            on_change(key, function)

        await catalog.follow(bucket, take, complete=self.complete)

    def version(self, request: JobRequest) -> tuple[FunctionEntry, VersionEntry] | None:
        """Return the function and the version that a request names, or None."""
        key = subjects.catalog_key(namespace=request.namespace, runtime=request.runtime, function=request.function)
        function = self._entries.get(key)
        version = function.version(request.version) if function else None
        return None if function is None or version is None else (function, version)

    async def wait_for(self, request: JobRequest, *, within: float) -> tuple[FunctionEntry, VersionEntry] | None:
        """As `version`, waiting a moment for a function that the asker may have heard of first."""
        found = self.version(request)
        if found is not None:
            return found
        try:
            async with asyncio.timeout(within):
                while (found := self.version(request)) is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return None
        return found
