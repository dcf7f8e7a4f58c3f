"""What a functions folder means: from a listing and its parsed configs to functions, routes and problems.

Pure: no file is read here, and the outcome does not depend on the order of the listing. How names become patterns is
decided in `patterns`, which file is an entry in `entries`, which is a route by its name in `file_routes`, who gets a route in
`precedence`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from libs import runtime_names
from libs.messages import catalog
from libs.messages.web import Home
from services.registry.source import entries, patterns, tree
from services.registry.source.config import MAX_NAME, NAME, Config, Manifest
from services.registry.source.drafts import Code, Draft, Drafts
from services.registry.source.entries import DEFAULT, Entry
from services.registry.source.file_routes import FileRoutes, Scope
from services.registry.source.found import Discovery, FoundAssets
from services.registry.source.listing import Listing
from services.registry.source.packs import is_of_pack
from services.registry.source.patterns import METHODS
from services.registry.source.precedence import CONFIG_RANK, MANIFEST_RANK, Claim
from services.registry.source.tree import Folder

MAX_DEPTH = 6
"""Folders below each other that may hold routes."""
MAX_ASSETS = 20_000
"""Static files of a functions folder."""
IGNORED = frozenset({"node_modules", "vendor", "__pycache__", ".fastfn", ".deps", ".rust-build", "target", "src"})
"""Folders that never hold routes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a functions folder is read."""

    namespace: str = "default"
    namespace_depth: int = 3
    """How many folders a function directory's name may have below its runtime's folder (FN_NAMESPACE_DEPTH, at most 5)."""
    ignore_dirs: tuple[str, ...] = ()
    """Folder names that hold no routes, besides the built-in ones (FN_ZERO_CONFIG_IGNORE_DIRS)."""
    max_asset_bytes: int = 32 * 1024 * 1024
    """Larger static files are named in the index, and their bytes stay here (FN_MAX_ASSET_BYTES)."""
    force_url: bool = False
    """Whether configured routes win over file routes everywhere (FN_FORCE_URL)."""
    runtimes: tuple[str, ...] = ()
    """Languages that are served (FN_RUNTIMES); empty: all."""
    defaults: catalog.Policy = field(default_factory=catalog.Policy)
    """What holds where no config says anything (FN_DEFAULT_TIMEOUT_MS …)."""
    infers: frozenset[str] = frozenset()
    """Languages whose imports tell what code needs, when nothing else does (FN_AUTO_INFER_PY_DEPS …)."""


def discover(
    listing: Listing, configs: Mapping[str, Config], manifests: Mapping[str, Manifest], *, options: Options | None = None
) -> Discovery:
    """Return what a functions folder means. Never raises.

    Args:
        listing: all of its files.
        configs: what each `fn.config.json` says, by its path.
        manifests: what each `fn.routes.json` says, by its path.
        options: how the folder is to be read.
    """
    return _Walk(listing, configs, manifests, options or Options()).run()


class _Walk:
    def __init__(
        self, listing: Listing, configs: Mapping[str, Config], manifests: Mapping[str, Manifest], options: Options
    ) -> None:
        self._root = tree.build(listing)
        self._configs = configs
        self._manifests = manifests
        self._options = options
        self._ignored = IGNORED | frozenset(options.ignore_dirs) | frozenset(self._config(self._root).ignore_dirs)
        self._drafts = Drafts(
            runtimes=options.runtimes,
            defaults=options.defaults,
            shared=frozenset(file.path for file in listing.files if is_of_pack(file.path)),
            infers=options.infers,
        )
        self._drafts.say_all(listing.problems)
        for parsed in (*configs.values(), *manifests.values()):
            self._drafts.say_all(parsed.problems)
        self._files = FileRoutes(drafts=self._drafts, configs=configs, ignored=self._ignored)
        self._with_manifest: list[tuple[Folder, Config]] = []
        self._homes: list[Home] = []
        assets = self._config(self._root).assets
        self._assets = assets.directory if assets is not None else None

    def run(self) -> Discovery:
        self._walk(self._root, Scope(policy=Config()))
        for folder, policy in self._with_manifest:
            self._apply_manifest(folder, policy)
        assets = self._find_assets()
        discovery = self._drafts.settle(self._options.namespace)
        return replace(discovery, homes=tuple(sorted(self._homes, key=lambda home: home.path)), assets=assets)

    def _config(self, folder: Folder) -> Config:
        return entries.config_of(folder, self._configs)

    def _walk(self, folder: Folder, scope: Scope) -> None:
        config = self._config(folder)
        if tree.CONFIG in folder.files:
            scope = replace(scope, policy=config.below(scope.policy))
        if config.home is not None:
            self._homes.append(_home(config.home, "/" + "/".join(scope.segments)))
        versions: dict[str, tuple[Folder, Entry]] = {}
        function = self._find_function(folder, config, scope)
        if function is not None:
            entry, versions = function
            self._add_function(folder, config, scope, entry=entry, versions=versions)
            scope = replace(scope, routing=entry is None or folder is self._root)
        elif config.names_function and folder is not self._root:
            self._drafts.say(folder.path, "names a function in fn.config.json but has no entry file")
            scope = replace(scope, routing=False)
        elif scope.routing:
            self._files.route(folder, config, scope)
        if tree.MANIFEST in folder.files and (scope.routing or function is not None):
            self._with_manifest.append((folder, scope.policy))
        for below, inner in self._enter(folder, scope, frozenset(versions)):
            self._walk(below, inner)

    def _enter(self, folder: Folder, scope: Scope, without: frozenset[str]) -> Iterator[tuple[Folder, Scope]]:
        """Return the folders to look into, and what holds there."""
        if scope.depth >= MAX_DEPTH:
            return
        for name, below in sorted(folder.folders.items()):
            if name in self._ignored or name in without or name.startswith(("_", ".")) or below.path == self._assets:
                continue
            runtime = name if folder is self._root and name in runtime_names.known() else scope.runtime
            segments, routing = scope.segments, scope.routing
            try:
                segments = (*segments, patterns.segment(name))
            except patterns.UnfitNameError as error:
                self._drafts.say(below.path, f"holds no routes: {error}")
                routing = False
            yield below, replace(scope, segments=segments, depth=scope.depth + 1, runtime=runtime, routing=routing)

    # Function directories

    def _find_function(
        self, folder: Folder, config: Config, scope: Scope
    ) -> tuple[Entry | None, dict[str, tuple[Folder, Entry]]] | None:
        """Return a folder's entry and versions when it is a function directory; the entry may be missing, not both."""
        depth = min(self._options.namespace_depth, 5)
        scoped = scope.runtime != "" and scope.routing and 2 <= scope.depth <= depth + 1
        if not config.names_function and not (scoped and NAME.fullmatch(_function_name(folder, config, scope))):
            return None
        if folder is self._root and config.name is None:
            self._drafts.say(
                tree.CONFIG, "the functions folder itself can only be a function with a name; this holds for all below"
            )
            return None
        runtime = config.runtime or scope.runtime
        entry = entries.find_entry(folder, config, runtime)
        if config.entrypoint is not None and (entry is None or entry.path != config.entrypoint):
            self._drafts.say(folder.path, f"entrypoint {config.entrypoint} is no source file here that can be started")
        runtime = entry.runtime if entry is not None else runtime
        versions = entries.find_versions(
            folder, self._configs, runtime=runtime, has_default=entry is not None, ignored=self._ignored
        )
        if not runtime and versions:
            runtime = min(each.runtime for _, each in versions.values())
            versions = {label: found for label, found in versions.items() if found[1].runtime == runtime}
        return (entry, versions) if entry is not None or versions else None

    def _add_function(
        self,
        folder: Folder,
        config: Config,
        scope: Scope,
        *,
        entry: Entry | None,
        versions: Mapping[str, tuple[Folder, Entry]],
    ) -> None:
        name = _function_name(folder, config, scope)
        if not NAME.fullmatch(name) or len(name) > MAX_NAME:
            self._drafts.say(folder.path, "cannot be a function under its folder's name: give it a name in fn.config.json")
            return
        runtime = entry.runtime if entry is not None else next(each.runtime for _, each in versions.values())
        if not self._drafts.is_served(runtime, folder.path):
            return
        draft = self._drafts.add((runtime, name, folder.path))
        methods = scope.policy.methods or (METHODS if config.routes else ("GET",))
        if entry is not None:
            newer = frozenset(label for label in versions if entries.is_version_label(label))
            files = tree.files_below(folder, without=newer)
            code = Code(root=folder.path, entrypoint=entry.path, files=files, env_path=tree.env_path(folder))
            if self._drafts.add_version(draft, DEFAULT, code, scope.policy, methods=methods, schedule=config.schedule):
                for pattern in config.routes or (f"/{name}", f"/{name}/*"):
                    self._claim_configured(draft, DEFAULT, pattern, scope.policy, methods=methods)
            self._files.route_extras(folder, scope, entry=entry, files=files)
        elif config.schedule is not None or config.routes:
            self._drafts.say(folder.path, "has versions only: routes and schedule belong into a version's fn.config.json")
        for label, (below, version_entry) in versions.items():
            self._add_version(draft, label, below, scope.policy, entry=version_entry, env_path=tree.env_path(folder))

    def _add_version(
        self, draft: Draft, label: str, folder: Folder, policy: Config, *, entry: Entry, env_path: str | None
    ) -> None:
        config = self._config(folder)
        policy = config.below(policy)
        methods = policy.methods or (METHODS if config.routes else ("GET",))
        code = Code(
            root=folder.path,
            entrypoint=entry.path,
            files=tree.files_below(folder),
            env_path=tree.env_path(folder) or env_path,
        )
        if self._drafts.add_version(draft, label, code, policy, methods=methods, schedule=config.schedule):
            # Only the global force-url counts for a version: two versions could not both win.
            policy = replace(policy, force_url=False)
            for pattern in config.routes or ():
                self._claim_configured(draft, label, pattern, policy, methods=methods)

    def _claim_configured(self, draft: Draft, version: str, pattern: str, policy: Config, *, methods: tuple[str, ...]) -> None:
        self._drafts.claim(
            Claim(
                pattern=pattern,
                methods=methods,
                hosts=policy.allow_hosts or (),
                rank=CONFIG_RANK,
                force_url=self._options.force_url or bool(policy.force_url),
                owner=draft.owner,
                version=version,
                path=draft.owner[2] or draft.owner[1],
            )
        )

    # Static files

    def _find_assets(self) -> FoundAssets | None:
        said = self._config(self._root).assets
        if said is None:
            return None
        folder: Folder | None = self._root
        for part in said.directory.split("/"):
            folder = folder.folders.get(part) if folder is not None else None
        if folder is None:
            self._drafts.say(tree.CONFIG, f"assets.directory: there is no folder {said.directory} with files")
            return None
        paths = sorted(file.path for file in tree.files_below(folder))
        if len(paths) > MAX_ASSETS:
            self._drafts.say(folder.path, f"has more than {MAX_ASSETS} files; the rest is left out")
        return FoundAssets(
            directory=said.directory,
            paths=tuple(paths[:MAX_ASSETS]),
            single_page=said.single_page,
            functions_first=said.functions_first,
        )

    # Manifests

    def _apply_manifest(self, folder: Folder, policy: Config) -> None:
        path = folder.files[tree.MANIFEST].path
        for route in self._manifests.get(path, Manifest()).routes:
            file = folder.find(route.target)
            if file is None:
                self._drafts.say(path, f"routes: {route.pattern}: there is no file {route.target}")
                continue
            target = self._drafts.target(file.path)
            if target is None:
                parent = _folder_of(folder, route.target)
                target = self._files.mint(parent, route.target.rpartition("/")[2], self._config(parent).below(policy))
            if target is None:
                self._drafts.say(path, f"routes: {route.pattern}: {route.target} is no source file that can be started")
                continue
            owner, version = target
            self._drafts.claim(
                Claim(
                    pattern=route.pattern,
                    methods=route.methods,
                    hosts=policy.allow_hosts or (),
                    rank=MANIFEST_RANK,
                    owner=owner,
                    version=version,
                    path=path,
                )
            )


def _home(home: Home, url: str) -> Home:
    """Return a folder's home with the paths that it means."""
    target = home.target
    if target.startswith("./"):
        target = f"{url.rstrip('/')}/{target[2:]}"
    return replace(home, path=url, target=target.rstrip("/"))


def _function_name(folder: Folder, config: Config, scope: Scope) -> str:
    if config.name is not None:
        return config.name
    return folder.path.partition("/")[2] if scope.runtime else folder.path


def _folder_of(folder: Folder, path: str) -> Folder:
    """Return the folder of a file that lies at `path` below `folder`."""
    for part in path.split("/")[:-1]:
        folder = folder.folders[part]
    return folder
