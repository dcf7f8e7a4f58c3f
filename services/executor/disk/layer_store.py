"""Layers on their way into the layer store. Their way out of it, onto a machine, is in `layers`.

A layer lies there as a manifest under its key and the parts of its archive under theirs. The manifest is written last: where it
is, the parts are, unless one was lost since. The registry removes layers that no version names and nobody has asked for lately,
the manifest first: so whoever is told of a layer has touched it before.
"""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from libs import errors
from libs.bus.port import ObjectInfo, ObjectStore
from libs.messages import codec
from libs.messages.builds import LayerManifest, LayerPart, part_key

PART_BYTES = 8 * 1024 * 1024
"""Bytes of a layer's archive in one object: all that is in memory of a layer at a time."""


FRESH = timedelta(minutes=15)
"""A manifest that was touched in so much time is not touched again. Layers that young are safe from being removed."""


async def find(store: ObjectStore, key: str) -> LayerManifest | None:
    """Return a layer's manifest; None when the layer, or a part of it, is not there. It is kept for whoever asks.

    Raises:
        errors.UnavailableError: the store cannot be reached.
    """
    info = await store.info(key)
    if info is None:
        return None
    try:
        manifest = codec.decode(LayerManifest, await store.get(key))
    except (errors.NotFoundError, codec.MalformedMessageError):
        return None
    for part in manifest.parts:
        if not await store.has(part_key(key, part.digest)):
            return None
    if _is_fresh(info) or await store.touch(info):
        return manifest
    now = await store.info(key)  # it is removed just now, or somebody else has touched it
    return manifest if now is not None and _is_fresh(now) else None


async def put_parts(store: ObjectStore, key: str, archive: Path) -> tuple[LayerPart, ...]:
    """Store a layer's archive; return its parts, for the manifest.

    Raises:
        errors.UnavailableError: the store cannot be reached.
    """
    parts: list[LayerPart] = []
    offset = 0
    while piece := await asyncio.to_thread(_read, archive, offset):
        offset += len(piece)
        part = LayerPart(digest=hashlib.sha256(piece).hexdigest(), size=len(piece))
        await store.put(part_key(key, part.digest), piece)
        parts.append(part)
    return tuple(parts)


async def put(store: ObjectStore, manifest: LayerManifest) -> None:
    """Store a layer's manifest, once all its parts are there.

    Raises:
        errors.UnavailableError: the store cannot be reached.
    """
    await store.put(manifest.key, codec.encode(manifest))


def _is_fresh(info: ObjectInfo) -> bool:
    return datetime.now(UTC) - info.modified <= FRESH


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb") as source:
        source.seek(offset)
        return source.read(PART_BYTES)
