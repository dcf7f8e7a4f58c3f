"""What a build installed, as far as its files tell: `name==version` for each package.

The tools leave this behind themselves: pip a `.dist-info` for each distribution, npm a `package.json` in each package, composer
`installed.json`, cargo and Deno a lock file. What cannot be read is left out: this is for people, and nothing depends on it.
"""

import json
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

MOST = 1000
"""Packages that are told."""
_MAX_FILE = 16 * 1024 * 1024


def packages(build: Path, output: Path) -> tuple[str, ...]:
    """Return what was installed, sorted.

    Args:
        build: the build's folder, with its lock files.
        output: what is kept of it.
    """
    found = {*_python(output), *_node(output), *_composer(output), *_cargo(build), *_deno(build)}
    return tuple(sorted(found))[:MOST]


def _python(output: Path) -> Iterator[str]:
    for folder in output.glob("*.dist-info"):
        fields = dict(line.split(": ", 1) for line in _lines(folder / "METADATA") if ": " in line)
        yield from _named(fields.get("Name"), fields.get("Version"))


def _node(output: Path) -> Iterator[str]:
    for folder in (output, output / "node_modules"):
        for path in (*folder.glob("*/package.json"), *folder.glob("@*/*/package.json")):
            package = _json(path)
            yield from _named(package.get("name"), package.get("version"))


def _composer(output: Path) -> Iterator[str]:
    installed = _json(output / "composer" / "installed.json").get("packages")
    yield from _pairs(installed, "name", "version")


def _cargo(build: Path) -> Iterator[str]:
    for path in (build / "Cargo.lock", *build.glob("*/Cargo.lock"), *build.glob("*/*/Cargo.lock")):
        try:
            lock = tomllib.loads(_text(path))
        except tomllib.TOMLDecodeError:
            continue
        # Packages without a source are the program's own.
        yield from _pairs([each for each in _list(lock.get("package")) if each.get("source")], "name", "version")


def _deno(build: Path) -> Iterator[str]:
    lock = _json(build / "deno.lock")
    for kind in ("npm", "jsr"):
        for each in _dict(lock.get(kind)):
            name, at, version = each.split("_", 1)[0].rpartition("@")
            if at:
                yield from _named(f"{kind}:{name}", version)


def _pairs(entries: object, name: str, version: str) -> Iterator[str]:
    for entry in _list(entries):
        yield from _named(entry.get(name), entry.get(version))


def _named(name: object, version: object) -> Iterable[str]:
    return (f"{name}=={version}",) if isinstance(name, str) and isinstance(version, str) and name and version else ()


def _list(value: object) -> list[dict[str, Any]]:
    entries = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", entry) for entry in entries if isinstance(entry, dict)]


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        return _dict(json.loads(_text(path) or "{}"))
    except (ValueError, RecursionError):
        return {}


def _lines(path: Path) -> list[str]:
    return _text(path).partition("\n\n")[0].splitlines()


def _text(path: Path) -> str:
    """Return a text file's content; empty when there is none, or none that is to be read."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_FILE:
            return ""
        return path.read_text(errors="replace")
    except OSError:
        return ""
