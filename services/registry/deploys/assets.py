"""Static files on their way to the gateways: contents by digest and one index of them, in the store of assets.

The index is found by its own digest, which stands in the catalogue's meta. So a gateway sees either all of the former files or
all of the new ones, and contents are there before the index that names them. What no index names any more is removed with the
next full round, when no gateway that follows the catalogue asks for it any longer.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable

from libs import errors
from libs.bus import port
from libs.messages import codec, subjects
from libs.messages.web import AssetIndex, Assets
from services.registry.source.found import LoadedAssets

log = logging.getLogger(__name__)

type Reader = Callable[[str, str], Awaitable[bytes]]
"""From a file's path below the functions root and its digest to its bytes."""


class AssetStore:
    """The store of assets, as the registry writes it."""

    def __init__(self, bus: port.Bus) -> None:
        """Write to the store of `bus`."""
        self._bus = bus
        self._there: set[str] = set()
        self._known: tuple[LoadedAssets, Assets] | None = None
        self._retired: set[str] = set()
        self._leaving: set[str] = set()

    def distrust(self) -> None:
        """The server may have lost its state: look at everything again."""
        self._there.clear()
        self._known = None

    async def keep(self, found: LoadedAssets | None, *, before: Assets | None, read: Reader) -> Assets | None:
        """Have the files in the store, and return what the catalogue is to say of them.

        Args:
            found: the files; None: there are none.
            before: what the catalogue says now.
            read: reads one that is missing.

        Raises:
            errors.TemporaryError: the bus cannot be reached, or a file has changed since it was listed.
        """
        if found is None:
            if before is not None:
                await self._retire(before, set())
            self._known = None
            return None
        if self._known is not None and self._known[0] == found:
            return self._known[1]
        data = codec.encode(AssetIndex(files=found.files))
        assets = Assets(
            index=hashlib.sha256(data).hexdigest(), single_page=found.single_page, functions_first=found.functions_first
        )
        store = await self._bus.objects(subjects.ASSET_STORE)
        for file in found.files:
            if file.digest and file.digest not in self._there:
                if not await store.has(file.digest):
                    await store.put(file.digest, await read(f"{found.directory}/{file.path}", file.digest))
                self._there.add(file.digest)
        if assets.index not in self._there:
            await store.put(assets.index, data)
            self._there.add(assets.index)
        if before is not None and before.index != assets.index:
            await self._retire(before, {assets.index, *(file.digest for file in found.files)})
        in_use = {assets.index, *(file.digest for file in found.files)}
        self._retired -= in_use
        self._leaving -= in_use
        self._known = (found, assets)
        return assets

    async def sweep(self) -> None:
        """Remove what was retired before the last sweep.

        Raises:
            errors.TemporaryError: the bus cannot be reached.
        """
        leaving, self._leaving, self._retired = self._leaving, self._retired, set()
        if leaving:
            store = await self._bus.objects(subjects.ASSET_STORE)
            for key in leaving:
                self._there.discard(key)
                await store.delete(key)
            log.info("removed %d static files", len(leaving), extra={"action": "assets_removed", "removed": len(leaving)})

    async def _retire(self, before: Assets, in_use: set[str]) -> None:
        try:
            store = await self._bus.objects(subjects.ASSET_STORE)
            index = codec.decode(AssetIndex, await store.get(before.index))
        except errors.PermanentError:
            return  # it is gone already, or a newer registry's
        self._retired |= {before.index, *(file.digest for file in index.files if file.digest)} - in_use
