"""Writes down what imports have told: the manifest that a function was deployed with, beside its code, once it is installed.

The bundle has had it before, so that nothing is deployed anew by it. A manifest that its author has written meanwhile is left
alone; so is one in a folder that cannot be written, which is told once.
"""

import logging
from collections.abc import Iterator, Mapping

from libs import errors
from libs.messages.catalog import FunctionEntry
from services.registry.functions import catalog
from services.registry.inference import manifests
from services.registry.inference.inferring import Inference
from services.registry.source.grown import outside
from services.registry.source.home import Change, Home, MovedError
from services.registry.source.listing import MAX_SMALL
from services.registry.source.snapshot import Snapshot

log = logging.getLogger(__name__)


class Manifests:
    """Keeps manifests that were made from imports in the functions folder."""

    def __init__(self, home: Home) -> None:
        """Write them into `home`."""
        self._home = home
        self._refused: dict[str, Inference] = {}
        """What could not be written, by path: it is not tried again until it is something else."""

    async def keep(self, snapshot: Snapshot, entries: Mapping[str, FunctionEntry]) -> None:
        """Write the manifests that functions run with and that do not lie in the folder.

        Args:
            snapshot: what lies there.
            entries: what is deployed, by id.
        """
        for path, inference in list(_unwritten(snapshot, entries)):
            if self._refused.get(path) == inference:
                continue
            try:
                await self._write(path, inference)
            except (errors.TemporaryError, MovedError):
                return  # a change is being made, and may be waiting for this round: the next one writes it
            except (errors.FnbusError, OSError) as error:
                self._refused[path] = inference
                log.warning("%s could not be written: %s", path, error, extra={"action": "manifest_not_written", "path": path})

    async def _write(self, path: str, inference: Inference) -> None:
        name = path.rpartition("/")[2]
        async with self._home.exclusive(wait=False):
            try:
                own = await self._home.fetch(path, limit=MAX_SMALL)
            except FileNotFoundError:
                own = None
            if own != inference.own and not (own is not None and manifests.is_made(name, own)):
                return  # its author was quicker
            text = manifests.grown(name, own, inference.packages)
            if text == (own or b""):
                return
            await self._home.write(Change(put={path: text}))
        log.info(
            "%s was made from what is imported: %s",
            path,
            ", ".join(inference.packages),
            extra={"action": "manifest_written", "path": path},
        )


def _unwritten(snapshot: Snapshot, entries: Mapping[str, FunctionEntry]) -> Iterator[tuple[str, Inference]]:
    """Yield the manifests, by their paths in the folder, that are not there although they have been installed."""
    for function in snapshot.functions:
        for version in function.versions:
            inference, found = version.inference, version.found
            if inference is None or inference.is_written or not inference.packages:
                continue
            entry = entries.get(catalog.loaded_id(snapshot.namespace, function))
            stored = entry.version(found.label) if entry is not None else None
            if catalog.has_code(stored, version) and stored is not None and stored.resolution.state == "ok":
                yield outside(found, inference.manifest), inference
