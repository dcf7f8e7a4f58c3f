"""Dependency packs that functions share: `.fastfn/packs/<runtime>/<name>` below the functions root. Pure."""

from collections.abc import Collection, Mapping
from typing import cast

from libs.messages.functions import Pack
from libs.messages.trees import PACK_LOCKS, PACK_MANIFESTS, PACKS
from services.registry.editing.jsons import Fields


def shared(config: Fields) -> tuple[str, ...]:
    """Return the names of the packs that a config shares."""
    found = config.get("shared_deps")
    names = cast("list[object]", found) if isinstance(found, list) else [found]
    return tuple(name for name in names if isinstance(name, str) and name)


def missing(names: Collection[str], *, runtime: str, listed: Collection[str]) -> tuple[str, ...]:
    """Return the packs that are not there."""
    there = {pack.name for pack in all_packs(listed) if pack.runtime == runtime}
    return tuple(name for name in names if name not in there)


def all_packs(listed: Collection[str]) -> tuple[Pack, ...]:
    """Return all packs that these files make up, by runtime and name."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for path in listed:
        if not path.startswith(f"{PACKS}/"):
            continue
        runtime, _, rest = path[len(PACKS) + 1 :].partition("/")
        name, _, file = rest.partition("/")
        if file:
            files = found.setdefault((runtime, name), {})
            kind = "manifest" if file in PACK_MANIFESTS else "lock" if file in PACK_LOCKS else ""
            if kind:
                files[kind] = path
    return tuple(_pack(runtime, name, files) for (runtime, name), files in sorted(found.items()))


def _pack(runtime: str, name: str, files: Mapping[str, str]) -> Pack:
    return Pack(
        runtime=runtime,
        name=name,
        dir=f"{PACKS}/{runtime}/{name}",
        manifest=files.get("manifest", ""),
        lock=files.get("lock", ""),
    )
