"""A functions folder on disk: reads it into a snapshot, hands out bundles, and says when it has changed.

The meaning of what lies there is decided by `discover`; this is the shell around it that does the reading.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from libs.messages import catalog
from services.registry.source.environment import EnvValue
from services.registry.source.found import FoundVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a functions folder is read."""

    namespace: str = "default"
    namespace_depth: int = 3
    """How many folders a function directory's name may have below its runtime's folder (FN_NAMESPACE_DEPTH)."""
    ignore_dirs: tuple[str, ...] = ()
    """Folder names that hold no routes, besides the built-in ones (FN_ZERO_CONFIG_IGNORE_DIRS)."""
    force_url: bool = False
    """Whether configured routes win over file routes everywhere (FN_FORCE_URL)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedVersion:
    """A version whose files have been read."""

    found: FoundVersion
    bundle: str
    """`bundle_digest` of its files: the key in the bundle store."""
    env: Mapping[str, EnvValue] = field(default_factory=dict[str, EnvValue])


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFunction:
    """A function whose versions have been read."""

    runtime: str
    name: str
    file_route: bool
    versions: tuple[LoadedVersion, ...]
    routes: tuple[catalog.RouteEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A functions folder at one moment. Two snapshots of an unchanged folder are equal."""

    namespace: str
    functions: tuple[LoadedFunction, ...]
    """Sorted by name, then runtime."""
    conflicts: tuple[str, ...]
    problems: tuple[catalog.Problem, ...]


class FolderSource:
    """A functions folder on disk."""

    def __init__(self, root: Path, options: Options | None = None) -> None:
        """Remember the folder; nothing is read yet."""
        self._root = root
        self._options = options or Options()

    async def load(self) -> Snapshot:
        """Read the folder as it is now. Files that have not changed since the last load are not read again.

        Raises:
            errors.UnavailableError: the folder itself cannot be read; keep what was known.
        """
        raise NotImplementedError

    async def bundle(self, version: FoundVersion) -> catalog.Bundle:
        """Return the files of a version, for the bundle store; its digest is `LoadedVersion.bundle` unless they have changed.

        Raises:
            errors.TemporaryError: a file has changed or gone since the load; the next load has the news.
        """
        raise NotImplementedError

    def watch(self) -> AsyncIterator[frozenset[str]]:
        """Yield the relative paths of what changed, once it has come to rest; empty when only a rescan noticed. Endless.

        Load after each; never raises for a folder that is gone, which is waited for.
        """
        raise NotImplementedError
