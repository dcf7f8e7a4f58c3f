"""What a Rust function declares, and the crate that is generated around it."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from libs import errors

MANIFEST, LOCK = "Cargo.toml", "Cargo.lock"
CRATE = ".fnbus"
"""Folder, below the build's own, of the generated crate."""

MAIN = "fn main() {\n    fnbus_guest::serve(function::handler);\n}\n"

_EDITION = "2021"
_SERDE = "serde_json"
_PLAIN = frozenset({"package", "dependencies", "lib", "bin", "profile"})
"""Tables that change nothing when there are no dependencies: the generated crate has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The `Cargo.toml` for an entry file, or its absence."""

    path: str = ""
    """Path inside the bundle; empty when there is none."""
    tables: dict[str, Any]

    @property
    def folder(self) -> PurePosixPath:
        """Folder of the manifest inside the bundle."""
        return PurePosixPath(self.path).parent

    @property
    def edition(self) -> str:
        """Edition of the language."""
        edition = self._package.get("edition", _EDITION)
        return edition if isinstance(edition, str) else _EDITION

    @property
    def needs_cargo(self) -> bool:
        """Whether there is anything that the compiler alone cannot do."""
        plain = all(name == _SERDE and isinstance(value, str) for name, value in self.dependencies.items())
        return not (plain and _PLAIN.issuperset(self.tables))

    @property
    def dependencies(self) -> dict[str, Any]:
        """The declared crates."""
        found = self.tables.get("dependencies", {})
        return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]  keys of TOML

    @property
    def _package(self) -> dict[str, Any]:
        found = self.tables.get("package", {})
        return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]  keys of TOML

    def crate(self, entrypoint: str) -> str:
        """Return the manifest of the generated crate, which lies in `CRATE`: the function as a library, and its program."""
        package = {"name": str(self._package.get("name", "function")), "version": "0.0.0", "edition": self.edition}
        dependencies = {name: self._moved(value) for name, value in self.dependencies.items()}
        dependencies.setdefault(_SERDE, "1")
        tables: dict[str, Any] = {
            "package": {**package, "publish": False},
            "lib": {"name": "function", "path": f"../{entrypoint}"},
            "dependencies": {**dependencies, "fnbus_guest": {"path": "guest"}},
            "profile": {"release": {"opt-level": 2, "debug": 0, "strip": "debuginfo"}},
            "workspace": {},
        }
        if isinstance(self.tables.get("features"), dict):
            tables["features"] = self.tables["features"]
        lines = [f"{name} = {_toml(value)}" for name, value in tables.items() if name != "workspace"]
        return "\n".join((*lines, 'bin = [{ name = "handler", path = "main.rs" }]', "workspace = {}", ""))

    def _moved(self, dependency: Any) -> Any:
        """Return a dependency as the generated crate sees it, one folder away."""
        if isinstance(dependency, dict) and "path" in dependency:
            path = PurePosixPath("..") / self.folder / str(dependency["path"])  # pyright: ignore[reportUnknownArgumentType]
            return {**dependency, "path": str(path)}  # pyright: ignore[reportUnknownVariableType]  a table of TOML
        return dependency  # pyright: ignore[reportUnknownVariableType]  a value of TOML


def declared(code: Path, entrypoint: str) -> Declared:
    """Return the manifest beside the entry file, or the nearest one above it in the bundle.

    Raises:
        errors.PermanentError: it is not TOML.
    """
    for folder in PurePosixPath(entrypoint).parents:
        path = str(folder / MANIFEST)
        if (code / path).is_file():
            try:
                return Declared(path=path, tables=tomllib.loads((code / path).read_text()))
            except ValueError as error:
                raise errors.PermanentError(f"{path}: {error}") from error
    return Declared(tables={})


def _toml(value: Any) -> str:
    """Return a value of a TOML document, written in one line."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(str(key))} = {_toml(each)}" for key, each in value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(each) for each in value)}]"  # pyright: ignore[reportUnknownVariableType]
    return json.dumps(value)
