"""The catalogue, followed: the one loop in which a service keeps up with what the registry projects.

What a function means to a service (a route, code to fetch, a schedule) is the service's own. What is the same for all is here:
which entry is what, what becomes of one that cannot be read, and when the present state has been seen once.
"""

import asyncio
import logging
from collections.abc import Callable

from libs import heap
from libs.bus.port import Bucket, Entry
from libs.messages import codec, subjects
from libs.messages.catalog import CatalogMeta, FunctionEntry

log = logging.getLogger(__name__)

type OnFunction = Callable[[str, FunctionEntry | None], None]
"""Takes the key of a function and what it is now; None: it is gone."""
type OnMeta = Callable[[CatalogMeta | None], None]
"""Takes what concerns all functions."""

_YIELD_EVERY = 32
"""Entries taken over at a stretch before other work gets its turn: at the start there may be thousands."""


async def follow(bucket: Bucket, on_function: OnFunction, *, complete: asyncio.Event, on_meta: OnMeta | None = None) -> None:
    """Tell of every entry, then of every change, until the bucket's watch ends.

    An entry that cannot be read is logged and left out: what was known of it stays.

    Args:
        bucket: the catalogue.
        on_function: told of each function that is new, has changed or is gone.
        complete: set once everything that was there at the start has been told.
        on_meta: told of what concerns all functions; None: nobody wants to know.
    """
    taken, settling = 0, heap.Settling()
    async for entry in bucket.watch():
        if entry is None:
            if not complete.is_set():
                log.info("the catalogue is read", extra={"action": "catalog_read", "entries": taken})
            complete.set()
            continue
        try:
            _tell(entry, on_function, on_meta)
        except codec.MalformedMessageError as error:
            log.warning(
                "an entry of the catalogue cannot be read: %s", error, extra={"action": "catalog_malformed", "key": entry.key}
            )
        settling.note()
        taken += 1
        if taken % _YIELD_EVERY == 0:
            await asyncio.sleep(0)


def _tell(entry: Entry, on_function: OnFunction, on_meta: OnMeta | None) -> None:
    if entry.key != subjects.CATALOG_META:
        on_function(entry.key, None if entry.value is None else codec.decode(FunctionEntry, entry.value))
    elif on_meta is not None:
        on_meta(None if entry.value is None else codec.decode(CatalogMeta, entry.value))
