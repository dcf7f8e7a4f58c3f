"""Packs of dependencies that functions share (`shared_deps`): where they lie, and a function's manifest with theirs. Pure.

A pack is never installed by itself: what it names becomes part of the manifest of each version that shares it. So functions
that ask for the same share a layer, as all do, and a pack that changes makes those that share it deploy anew.
"""

from collections.abc import Collection, Iterable
from typing import Any, cast

import orjson

from libs import nesting
from libs.messages.trees import PACKS

_SHARED = {"python": "requirements.txt", "node": "package.json"}
"""The manifest that packs of a language share."""
_OVERRULED = {"package.json": ("package-lock.json", "npm-shrinkwrap.json")}
"""What locks a manifest to the packages that it names by itself."""
_NAMING = ("dependencies", "optionalDependencies")


def is_of_pack(path: str) -> bool:
    """Return whether a file lies where packs do."""
    return path.startswith(f"{PACKS}/")


def manifests(runtime: str, names: Iterable[str], listed: Collection[str]) -> tuple[str, ...]:
    """Return the paths of what these packs name; of a pack that is not there, nothing."""
    file = _SHARED.get(runtime)
    paths = (f"{PACKS}/{runtime}/{name}/{file}" for name in names)
    return tuple(path for path in paths if path in listed) if file else ()


def manifest_of(shared: str, entrypoint: str, own: Collection[str]) -> str:
    """Return where in a bundle the manifest lies that a build takes.

    Args:
        shared: path of the manifest of a pack.
        entrypoint: path of the entry file in the bundle.
        own: paths of all files of the bundle.
    """
    name = shared.rpartition("/")[2]
    beside = f"{entrypoint.rpartition('/')[0]}/{name}"
    return beside if name == _SHARED["python"] and beside in own else name


def is_overruled(path: str, manifest: str) -> bool:
    """Return whether a file of a bundle says something else than a manifest that has grown by packs."""
    return path == manifest or path in _OVERRULED.get(manifest, ())


def merged(manifest: str, own: bytes | None, shared: Iterable[bytes]) -> bytes:
    """Return what a function's manifest is with those of its packs.

    One that cannot be read is returned instead: the language's tool says what is wrong with it.

    Args:
        manifest: its name.
        own: the function's own; None without one.
        shared: those of the packs; of what two name, the first one's counts, and the function's own before all.
    """
    texts = [*([] if own is None else [own]), *shared]
    if not manifest.endswith(".json"):
        return b"".join(text.removeprefix(b"\xef\xbb\xbf").rstrip() + b"\n" for text in texts)
    result: dict[str, Any] = {}
    named: dict[str, dict[str, Any]] = {key: {} for key in _NAMING}
    for text in texts:
        found = nesting.mapping(text)
        if found is None:
            return text
        if text is own:
            result = dict(found)
        taken = {name for each in named.values() for name in each}
        for key in _NAMING:
            more: Any = found.get(key) or {}
            if not isinstance(more, dict):
                return text
            named[key] |= {name: version for name, version in cast("dict[str, Any]", more).items() if name not in taken}
    return orjson.dumps(result | {key: each for key, each in named.items() if each}, option=orjson.OPT_INDENT_2)
