"""What discovery finds in a functions folder: functions, their versions and routes, and what is wrong.

These records say where things lie; they hold no file contents. `folder` adds digests and environment values.
"""

from dataclasses import dataclass, field

from libs.messages import catalog
from libs.messages.web import AssetFile, Home


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundVersion:
    """One version of a function and the files that make it up."""

    label: str
    """`default`, or what follows `@` in a pinned call."""
    root: str
    """Folder that the bundle's paths start from, relative to the functions root; empty: the functions root itself."""
    entrypoint: str
    """Path of the entry file inside the bundle (relative to `root`)."""
    files: tuple[str, ...]
    """All files of the bundle, sorted, relative to the functions root; each lies below `root`."""
    env_path: str | None = None
    """The `fn.env.json` that counts for it, relative to the functions root."""
    policy: catalog.Policy
    schedule: catalog.Schedule | None = None
    handler: str = "handler"
    handler_style: str = "auto"
    secrets: tuple[str, ...] = ()
    """Names of the secrets that it asks for."""
    limits: catalog.Limits = field(default_factory=catalog.Limits)
    permissions: catalog.Permissions = field(default_factory=catalog.Permissions)
    interface: catalog.Interface = field(default_factory=catalog.Interface)
    """What its config says; the hints in its entry file are added when that is read."""
    packs: tuple[str, ...] = ()
    """Paths of what the packs that it shares name, in its order; those that are there."""
    infers: str = ""
    """Its language, where imports tell what it needs when nothing else does; empty: they are not asked."""

    @property
    def path(self) -> str:
        """Path of the entry file, relative to the functions root."""
        return f"{self.root}/{self.entrypoint}" if self.root else self.entrypoint

    @property
    def folder(self) -> str:
        """The folder whose config and environment are its own: that of the function, or of the file that is a route."""
        return self.root or self.entrypoint.rpartition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFunction:
    """A function, with all of its versions and the routes that it won."""

    runtime: str
    name: str
    """Relative path of the file for a file route, `hello` or `acme/orders` for a function directory."""
    file_route: bool
    versions: tuple[FoundVersion, ...]
    """Sorted by label, `default` first; never empty."""
    routes: tuple[catalog.RouteEntry, ...]
    """Winners only, sorted by pattern."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAssets:
    """The static files of a functions folder."""

    directory: str
    """Relative to the functions root."""
    paths: tuple[str, ...]
    """Relative to the functions root, sorted."""
    single_page: bool
    functions_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedAssets:
    """Static files that have been read."""

    directory: str
    files: tuple[AssetFile, ...]
    single_page: bool
    functions_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """Everything that a functions folder means."""

    namespace: str
    functions: tuple[FoundFunction, ...]
    """Sorted by name, then runtime; each (runtime, name) once."""
    conflicts: tuple[str, ...]
    """Patterns that have more than one owner and so no winner, sorted."""
    problems: tuple[catalog.Problem, ...]
    """What does not work as written, sorted by path."""
    homes: tuple[Home, ...] = ()
    """Sorted by path."""
    assets: FoundAssets | None = None
    broken: frozenset[tuple[str, str]] = frozenset()
    """Functions (runtime, name) with a version that is there but left out: what is known of them stays."""
