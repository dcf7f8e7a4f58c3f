"""A tree of functions' files that has been read: what a source gives. Records alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.messages import catalog
from libs.messages.web import Home
from services.registry.inference.inferring import Inference
from services.registry.source.environment import EnvValue
from services.registry.source.found import FoundVersion, LoadedAssets
from services.registry.source.home import FOLDER


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedVersion:
    """A version whose files have been read."""

    found: FoundVersion
    bundle: str
    """`bundle_digest` of its files: the key in the bundle store."""
    env: Mapping[str, EnvValue] = field(default_factory=dict[str, EnvValue])
    hints: catalog.Interface = field(default_factory=catalog.Interface)
    """What its entry file tells of itself."""
    settings: str = ""
    """sha-256 (hex) of its own config and of which values are in its environment; empty when it has neither."""
    inference: Inference | None = None
    """What its imports need, where they were asked."""


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
    broken: frozenset[tuple[str, str]] = frozenset()
    """Functions (runtime, name) that are there but cannot be had in full: what is known of them stays."""
    homes: tuple[Home, ...] = ()
    assets: LoadedAssets | None = None
    unread: tuple[str, ...] = ()
    """Files and folders, relative, that could not be looked at: functions there are not known to be gone. Empty: the root."""
    origin: str = FOLDER
    """`FunctionEntry.source` of what lies there."""
    untouched: bool = False
    """Whether nobody has ever written anything there: that there is nothing says nothing."""
