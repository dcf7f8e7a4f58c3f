"""The catalogue as this gateway knows it: followed by watch, compiled into the route table.

Losing the registry, or its database, changes nothing here: the last projection stays.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from libs import errors
from libs.bus import catalog, port
from libs.messages import subjects
from libs.messages.catalog import CatalogMeta, FunctionEntry
from services.gateway.admission import Gates
from services.gateway.callee import Callee, bind
from services.gateway.routing.index import RUNTIME_ORDER
from services.gateway.routing.table import Table
from services.gateway.split import with_aliases

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5


class Catalogue:
    """All functions, ready to be called."""

    def __init__(self, *, max_body_bytes: int, runtime_order: Sequence[str] = RUNTIME_ORDER) -> None:
        """Make an empty one.

        Args:
            max_body_bytes: caps every function's body limit.
            runtime_order: whose function a bare name means when several runtimes have one.
        """
        self.runtime_order = tuple(runtime_order)
        self.table: Table[Callee] = Table(self.runtime_order)
        self.gates = Gates()
        self.meta: CatalogMeta | None = None
        self.complete = asyncio.Event()
        """Set once the whole catalogue has been read."""
        self.changes = 0
        """Rises with each change, for what is made from the catalogue and kept."""
        self._max_body_bytes = max_body_bytes
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._on_meta: catalog.OnMeta = lambda _: None

    async def until(self, check: Callable[[], bool], *, within: float) -> bool:
        """Wait at most `within` seconds until functions are as `check` wants them; return whether they are."""
        if check():
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((check, waiter))
        try:
            async with asyncio.timeout(within):
                await waiter
        except TimeoutError:
            return check()
        finally:
            self._waiting = [each for each in self._waiting if each[1] is not waiter]
        return True

    def tell(self, on_meta: catalog.OnMeta) -> None:
        """Tell `on_meta` of what concerns all functions, whenever that changes."""
        self._on_meta = on_meta

    async def follow(self, bus: port.Bus) -> None:
        """Take over every change for ever."""
        while True:
            try:
                bucket = await bus.bucket(subjects.CATALOG_BUCKET)
                await catalog.follow(bucket, self._take, complete=self.complete, on_meta=self._take_meta)
            except errors.TemporaryError as error:
                log.warning("the catalogue cannot be followed at the moment: %s", error, extra={"action": "catalog_lost"})
            await asyncio.sleep(_RETRY_SECONDS)

    def _take(self, key: str, function: FunctionEntry | None) -> None:
        self.changes += 1
        self._put(key, function)
        for check, waiter in self._waiting:
            if not waiter.done() and check():
                waiter.set_result(None)

    def _put(self, key: str, function: FunctionEntry | None) -> None:
        if function is None:
            self.table.remove(key)
            self.gates.keep(key, ())
            return
        self.gates.keep(key, {version.label for version in function.runnable})
        callees = {
            version.label: bind(function, version, self.gates.gate(key, function, version), max_body_bytes=self._max_body_bytes)
            for version in function.runnable
        }
        self.table.put(key, function, with_aliases(function, callees))

    def _take_meta(self, meta: CatalogMeta | None) -> None:
        self.changes += 1
        self.meta = meta
        self._on_meta(meta)
        self.table.set_conflicts(meta.conflicts if meta else ())
