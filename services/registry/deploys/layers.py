"""What becomes of the layers that no version needs any more: they are kept for a while, so that going back installs nothing.

A layer is needed as long as a version names it that is deployed or kept. Others go by age, and by size before that. Removing
one and asking for it at the same moment is told apart by the object store: an executor touches a layer before it tells anybody
of it (`services/executor/disk/layer_store.py`), and what was touched since it was looked at is not removed. The manifest goes
first: from then on the layer is not there, and is built anew where it is needed.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from libs import errors
from libs.bus import port
from libs.bus.port import ObjectInfo
from libs.clock import Clock
from libs.messages import codec, subjects
from libs.messages.builds import layer_of
from libs.storage.port import Document
from services.registry.functions import documents, steering
from services.registry.functions.store import Functions
from services.registry.metrics import Metrics

log = logging.getLogger(__name__)

YOUNG = timedelta(hours=1)
"""What was asked for in so much time stays: a version may be about to name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spared:
    """What is kept although nothing needs it."""

    age: timedelta
    """Since it was last asked for."""
    total_bytes: int
    """Of all of it together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer as it lies in the object store."""

    key: str
    objects: tuple[ObjectInfo, ...]
    """The manifest first, when it is there, and the parts."""

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return sum(each.size for each in self.objects)

    @property
    def modified(self) -> datetime:
        """When it was last made or asked for."""
        return max(each.modified for each in self.objects)


def gathered(infos: Iterable[ObjectInfo]) -> list[Layer]:
    """Return the layers that objects make up."""
    found: dict[str, list[ObjectInfo]] = defaultdict(list)
    for info in infos:
        found[layer_of(info.key)].append(info)
    return [Layer(key=key, objects=tuple(sorted(each, key=lambda info: len(info.key)))) for key, each in found.items()]


def doomed(layers: Iterable[Layer], *, needed: Collection[str], now: datetime, spared: Spared) -> list[Layer]:
    """Return the layers that are to go, those that were asked for longest ago first."""
    unneeded = sorted((layer for layer in layers if layer.key not in needed), key=lambda layer: layer.modified)
    total = sum(layer.size for layer in unneeded)
    going: list[Layer] = []
    for layer in unneeded:
        age = now - layer.modified
        if age <= YOUNG or (age <= spared.age and total <= spared.total_bytes):
            break
        going.append(layer)
        total -= layer.size
    return going


class Layers:
    """Removes layers that are not needed any more."""

    def __init__(self, *, bus: port.Bus, functions: Functions, clock: Clock, metrics: Metrics, spared: Spared) -> None:
        """Make it.

        Args:
            bus: where the layers are.
            functions: the versions that may need them.
            clock: says what is old.
            metrics: what is counted.
            spared: what is kept although nothing needs it.
        """
        self._bus = bus
        self._functions = functions
        self._clock = clock
        self._metrics = metrics
        self._spared = spared

    async def run(self, *, every_seconds: float = 900.0) -> None:
        """Prune for ever."""
        while True:
            try:
                await self.prune()
            except errors.TemporaryError as error:
                log.debug("pruning of layers waits: %s", error, extra={"action": "layer_pruning_waits"})
            await asyncio.sleep(every_seconds)

    async def prune(self) -> int:
        """Remove what is not needed; return how many layers went.

        Raises:
            errors.TemporaryError: store or bus cannot be reached; the rest is done the next time.
        """
        store = await self._bus.objects(subjects.LAYER_STORE)
        layers = gathered(await store.all_infos())
        needed = await self._needed() if layers else frozenset[str]()
        if needed is None:
            return 0
        going = doomed(layers, needed=needed, now=self._clock.now(), spared=self._spared)
        gone = {layer.key for layer in going if await _discard(store, layer)}
        self._show([layer for layer in layers if layer.key not in gone], needed)
        if gone:
            self._metrics.layers_removed.inc(len(gone))
            log.info("removed %d layers", len(gone), extra={"action": "layers_pruned", "removed": len(gone)})
        return len(gone)

    async def _needed(self) -> frozenset[str] | None:
        """Return the layers that versions name; None when there are versions that cannot be read."""
        await self._functions.ensure()
        contents = await self._functions.read_all({})
        if contents.unknown:
            return None  # a newer registry's functions may need what this one does not know of
        kept = await self._functions.all_versions()
        try:
            former = await asyncio.to_thread(_named, kept)
        except codec.MalformedMessageError:
            return None
        present = {version.layer for entry in contents.entries.values() for version in steering.all_versions(entry)}
        return frozenset(present | former)

    def _show(self, layers: Iterable[Layer], needed: Collection[str]) -> None:
        told: Mapping[str, list[int]] = {"needed": [], "unneeded": []}
        for layer in layers:
            told["needed" if layer.key in needed else "unneeded"].append(layer.size)
        for state, sizes in told.items():
            self._metrics.layers.labels(state).set(len(sizes))
            self._metrics.layer_bytes.labels(state).set(sum(sizes))


async def _discard(store: port.ObjectStore, layer: Layer) -> bool:
    """Remove a layer unless somebody has asked for it since it was looked at."""
    first, *parts = layer.objects
    if not await store.discard(first):
        return False
    for part in parts:
        await store.discard(part)  # one that was stored anew meanwhile belongs to whoever did that
    return True


def _named(versions: Iterable[Document]) -> set[str]:
    return {documents.to_version(each).layer for each in versions}
