"""What Python code imports from outside: of its entry file, and of the function's own files that this leads to. Pure.

Nothing is run. What only a type checker sees is left out, and what may be missing, since its absence is caught, is told apart.
A file that is not Python takes nothing away: the language says what is wrong with it when it is run.
"""

import ast
import re
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

MOST_FILES = 500
MOST_BYTES = 1024 * 1024
"""Of one file; what is larger is data."""
MOST_IMPORTS = 500
"""Different ones that are told."""
_PARTS = 3
_ENDLESS_NAME = re.compile(r"(?<!\w)(?:\w++(?:[ \t\f]|\\\r?\n)*+\.(?:[ \t\f]|\\\r?\n)*+){32}")
"""To parse a dotted name takes memory by the square of its length: 400 KB of it would take all that a machine has."""
_ABSENT = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_MODULE_ENDINGS = (".py", ".so", ".pyd")
_STANDARD = sys.stdlib_module_names | {"__main__"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imports:
    """What code imports that is neither its own nor the language's."""

    needed: tuple[str, ...] = ()
    """Dotted names, sorted."""
    optional: tuple[str, ...] = ()
    """Names that it does without when they are missing."""


class _Import(NamedTuple):
    """An import as it is written."""

    module: str
    names: tuple[str, ...]
    level: int
    optional: bool


def imports(entrypoint: str, files: Collection[str], read: Callable[[str], bytes]) -> Imports:
    """Return what code imports from outside.

    Args:
        entrypoint: path of its entry file.
        files: paths of all of its files.
        read: returns one's content.

    Raises:
        OSError: what `read` raises.
    """
    own = _Own(entrypoint, files)
    found: dict[str, bool] = {}
    pending, seen = [entrypoint], {entrypoint}
    while pending and len(seen) <= MOST_FILES:
        path = pending.pop()
        for each in _imports_of(read(path)):
            local = own.files_of(each, path)
            if local is not None:
                pending += [file for file in local if file not in seen]
                seen.update(local)
            elif each.module.partition(".")[0] not in _STANDARD and len(found) < MOST_IMPORTS:
                for name in _dotted(each):
                    found[name] = found.get(name, True) and each.optional
    return Imports(
        needed=tuple(sorted(name for name, optional in found.items() if not optional)),
        optional=tuple(sorted(name for name, optional in found.items() if optional)),
    )


class _Own:
    """The function's own modules."""

    def __init__(self, entrypoint: str, files: Collection[str]) -> None:
        self._files = frozenset(files)
        folder = str(PurePosixPath(entrypoint).parent)
        self._roots = tuple(dict.fromkeys(("" if folder == "." else f"{folder}/", "")))
        self._folders: set[str] = set()
        self._compiled: set[str] = set()
        for file in files:
            if file.endswith(_MODULE_ENDINGS):
                parent, _, name = file.rpartition("/")
                self._folders.update(_above(parent))
                self._compiled.add(f"{parent}/{name.partition('.')[0]}".lstrip("/"))

    def files_of(self, found: _Import, importer: str) -> set[str] | None:
        """Return the own files that an import leads to; None when it leads outside."""
        parts = [part for part in found.module.split(".") if part]
        if found.level:
            folders = importer.split("/")[: -found.level]
            return self._below("".join(f"{each}/" for each in folders), parts, found.names)
        for root in self._roots:
            first = root + parts[0]
            if first in self._folders or first in self._compiled:
                return self._below(root, parts, found.names)
        return None

    def _below(self, root: str, parts: list[str], names: tuple[str, ...]) -> set[str]:
        paths: set[str] = set()
        place = root
        for part in parts:
            paths |= {f"{place}{part}.py", f"{place}{part}/__init__.py"}
            place += f"{part}/"
        paths.add(f"{place}__init__.py")
        for name in names:
            paths |= {f"{place}{name}.py", f"{place}{name}/__init__.py"}
        return paths & self._files


def _above(folder: str) -> Iterator[str]:
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def _dotted(found: _Import) -> list[str]:
    parts = found.module.split(".")[:_PARTS]
    if len(parts) == _PARTS or not found.names:
        return [".".join(parts)]
    return [".".join((*parts, name)) for name in found.names]


def _imports_of(source: bytes) -> list[_Import]:
    tree = _parsed(source)
    found: list[_Import] = []
    pending: list[tuple[ast.AST, bool]] = [(tree, False)] if tree is not None else []
    while pending:
        node, optional = pending.pop()
        match node:
            case ast.Import():
                found += [_Import(alias.name, (), 0, optional) for alias in node.names]
            case ast.ImportFrom():
                names = tuple(alias.name for alias in node.names if alias.name != "*")
                found.append(_Import(node.module or "", names, node.level, optional))
            case ast.If() if _is_for_checkers(node.test):
                pending += [(each, optional) for each in node.orelse]
            case ast.Try() | ast.TryStar() if any(map(_catches_absence, node.handlers)):
                pending += [(each, True) for each in (*node.body, *node.handlers)]
                pending += [(each, optional) for each in (*node.orelse, *node.finalbody)]
            case ast.stmt() | ast.Module() | ast.ExceptHandler() | ast.match_case():
                pending += [(each, optional) for each in ast.iter_child_nodes(node)]
            case _:
                pass  # no expression imports anything
    return found


def _parsed(source: bytes) -> ast.Module | None:
    if len(source) > MOST_BYTES:
        return None
    # Whatever encoding the file names, in which the name could be spelled otherwise: imports are ASCII.
    text = source.decode("utf-8-sig", "replace")
    if _ENDLESS_NAME.search(text):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the author is told when the code is run
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return None


def _is_for_checkers(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _catches_absence(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    each = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(one is None or (isinstance(one, ast.Name) and one.id in _ABSENT) for one in each)
