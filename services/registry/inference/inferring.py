"""What a version's imports need, when its author has not said what it needs. Pure.

Somebody has when there is a manifest that names anything, a `#@requirements` line, or packages among the files; then nothing is
looked at.
"""

import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from services.registry.inference import javascript, manifests, packages, python

_HINT_LINES = 30
_HINT = re.compile(rb"^\s*#\s*@requirements[\s:]+\S")
_SHIPPED = (".deps", "node_modules")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The files of a version."""

    runtime: str
    entrypoint: str
    files: Collection[str]
    """Paths of all of them."""
    read: Callable[[str], bytes]
    """Returns one's content; raises OSError."""
    home: str = ""
    """Folder among them where a manifest belongs; empty: the topmost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What imports need."""

    manifest: str
    """Path of the manifest in the bundle: where it is, or belongs."""
    own: bytes | None
    """What lies there now; None when nothing does."""
    text: bytes
    """What it has to be; empty when nothing is needed."""
    imports: tuple[str, ...]
    packages: tuple[str, ...]
    unresolved: tuple[str, ...]
    """Imports of which nobody knows the package."""
    duration_ms: int = field(default=0, compare=False)

    @property
    def is_written(self) -> bool:
        """Whether the manifest lies there as it has to be."""
        return (self.own or b"") == self.text


def infer(code: Code, shared: Collection[bytes] = ()) -> Inference | None:
    """Return what a version's imports need; None when its author has said what it needs.

    Args:
        code: its files.
        shared: manifests of packs that it shares; what these name it has already.

    Raises:
        OSError: a file cannot be read.
    """
    begun = time.perf_counter()
    name = manifests.NAMES[code.runtime]
    if _ships_packages(code.files):
        return None
    manifest = _place(code, name)
    own = code.read(manifest) if manifest in code.files else None
    if own is not None and not manifests.is_silent(name, own) and not manifests.is_made(name, own):
        return None
    if code.runtime == "python" and _hints(code.read(code.entrypoint)):
        return None
    imports, found, unresolved = _python(code) if code.runtime == "python" else _node(code)
    had = frozenset(each for text in shared for each in manifests.named(name, text))
    needed = tuple(each for each in found if manifests.normal(name, each) not in had)
    return Inference(
        manifest=manifest,
        own=own,
        text=manifests.grown(name, own, needed),
        imports=imports,
        packages=needed,
        unresolved=unresolved,
        duration_ms=round((time.perf_counter() - begun) * 1000),
    )


def _python(code: Code) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return what is imported, the packages for it, and what is not known."""
    found = python.imports(code.entrypoint, code.files, code.read)
    needed = {packages.package_of(each) for each in found.needed}
    optional = {(name, package) for name, package in map(packages.package_of, found.optional) if package}
    known = {package for _, package in needed | optional if package}
    return (
        tuple(sorted({name for name, _ in needed | optional})),
        tuple(sorted(known, key=str.lower)),
        tuple(sorted({name for name, package in needed if not package})),
    )


def _node(code: Code) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    found = javascript.imports(code.entrypoint, code.files, code.read)
    return tuple(sorted({*found.packages, *found.unknown})), found.packages, found.unknown


def _place(code: Code, name: str) -> str:
    """Return where the manifest is: beside the entry file, at the top, or, when it is nowhere, where it belongs."""
    beside = PurePosixPath(code.entrypoint).parent / name
    places = (str(beside), name)
    home = f"{code.home}/{name}" if code.home else name
    return next((each for each in places if each in code.files), home)


def _ships_packages(files: Collection[str]) -> bool:
    return any(part in _SHIPPED or part.endswith(".dist-info") for path in files for part in path.split("/")[:-1])


def _hints(entry: bytes) -> bool:
    return any(map(_HINT.match, entry.splitlines()[:_HINT_LINES]))
