"""The port of where functions come from; `files.FileSource` is one."""

from collections.abc import AsyncIterator
from typing import Protocol

from libs.messages.catalog import Bundle
from services.registry.source.found import FoundVersion
from services.registry.source.snapshot import Snapshot


class Source(Protocol):
    """Where functions come from."""

    async def load(self) -> Snapshot:
        """Return what there is now.

        Raises:
            errors.UnavailableError: it cannot be read; what was known stays.
        """
        ...

    async def bundle(self, version: FoundVersion) -> Bundle:
        """Return the files of a version.

        Raises:
            errors.TemporaryError: a file has changed or gone since the load.
        """
        ...

    async def asset(self, path: str, digest: str) -> bytes:
        """Return the bytes of a static file.

        Raises:
            errors.TemporaryError: it has changed or gone since the load.
        """
        ...

    def watch(self) -> AsyncIterator[frozenset[str]]:
        """Yield, for ever, whenever something has changed."""
        ...
