"""The manifest that says what a function's imports need: written by nobody, or grown from what was written so before. Pure.

A manifest that names anything is its author's and stays as it is. One that was made from imports says so in itself; packages
are added to it, and none is taken out or changed, so that a version which somebody has put there stays.
"""

import re
from collections.abc import Collection
from typing import Any, cast

import orjson

from libs import nesting

REQUIREMENTS = "requirements.txt"
PACKAGE = "package.json"
NAMES = {"python": REQUIREMENTS, "node": PACKAGE}

_MARK = "# Made by fnbus from the imports; without this line it is yours, and stays as it is."
_KEY, _MARKED = "fnbus", {"inferred": True}
_ANY_VERSION = "*"
_NAMED = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_SEPARATORS = re.compile(r"[-_.]+")
_NAMING = ("dependencies", "optionalDependencies", "peerDependencies", "workspaces")


def is_made(name: str, text: bytes) -> bool:
    """Return whether a manifest was made from imports."""
    if name == REQUIREMENTS:
        return _MARK in _lines(text)
    found = nesting.mapping(text) or {}
    # One that was spoilt since is its author's: nothing can be added to it, and the tool says what is wrong.
    return found.get(_KEY) == _MARKED and isinstance(found.get("dependencies") or {}, dict)


def is_silent(name: str, text: bytes) -> bool:
    """Return whether a manifest names nothing; one that cannot be read does not count: the tool says what is wrong."""
    if name == REQUIREMENTS:
        return all(not line.strip() or line.lstrip().startswith("#") for line in _lines(text))
    found = nesting.mapping(text)
    return found is not None and not any(found.get(each) for each in _NAMING)


def named(name: str, text: bytes) -> frozenset[str]:
    """Return the packages that a manifest names, as `normal` has them."""
    if name == REQUIREMENTS:
        return frozenset(normal(name, found[1]) for line in _lines(text) if (found := _NAMED.match(line)))
    found = nesting.mapping(text) or {}
    each = (cast("dict[str, Any]", value) for key in _NAMING if isinstance(value := found.get(key), dict))
    return frozenset(key for value in each for key in value)


def normal(name: str, package: str) -> str:
    """Return a package's name without what does not tell it from others."""
    return _SEPARATORS.sub("-", package.partition("[")[0]).lower() if name == REQUIREMENTS else package


def grown(name: str, own: bytes | None, packages: Collection[str]) -> bytes:
    """Return a manifest that names these packages, too.

    Args:
        name: the manifest's.
        own: what there is of it, which is silent or made; None when there is nothing.
        packages: what it is to name at least.
    """
    there = named(name, own) if own is not None else frozenset[str]()
    missing = sorted({each for each in packages if normal(name, each) not in there}, key=str.lower)
    if not missing:
        return own or b""
    if name == REQUIREMENTS:
        before = [line.rstrip() for line in _lines(own or b"")]
        head = before if _MARK in before else [_MARK, *before]
        return "".join(f"{line}\n" for line in (*head, *missing)).encode()
    found = nesting.mapping(own or b"{}") or {}
    declared: dict[str, Any] = found.get("dependencies") or {}
    fresh = found | {"dependencies": {**declared, **dict.fromkeys(missing, _ANY_VERSION)}, _KEY: _MARKED}
    return orjson.dumps(fresh, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _lines(text: bytes) -> list[str]:
    return text.decode("utf-8-sig", "replace").splitlines()
