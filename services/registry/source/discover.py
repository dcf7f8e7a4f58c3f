"""What a functions folder means: from a listing and its parsed configs to functions, routes and problems (contract 2.1).

Pure: no file is read here, and the outcome does not depend on the order of the listing. How names become patterns is
decided in `patterns`, which file is an entry in `entries`, who gets a route in `precedence`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from libs import runtime_names
from services.registry.source import entries, patterns, tree
from services.registry.source.config import MAX_NAME, NAME, Config, Manifest
from services.registry.source.drafts import Code, Draft, Drafts
from services.registry.source.entries import DEFAULT, Entry
from services.registry.source.found import Discovery
from services.registry.source.listing import File, Listing
from services.registry.source.patterns import METHODS, FileName
from services.registry.source.precedence import CONFIG_RANK, FILE_RANK, MANIFEST_RANK, Claim, Owner
from services.registry.source.tree import Folder

MAX_DEPTH = 6
"""Folders below each other that may hold routes."""
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
    force_url: bool = False
    """Whether configured routes win over file routes everywhere (FN_FORCE_URL)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """What holds at a folder because of the folders above it."""

    segments: tuple[str, ...] = ()
    """Pattern segments of the folder."""
    policy: Config
    depth: int = 0
    runtime: str = ""
    """Set below `<root>/<runtime>/`."""
    routing: bool = True
    """Whether files here can be routes."""


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
        self._drafts = Drafts()
        self._drafts.say_all(listing.problems)
        for parsed in (*configs.values(), *manifests.values()):
            self._drafts.say_all(parsed.problems)
        self._routed: dict[str, frozenset[str]] = {}
        self._shared: dict[str, list[File]] = {}
        self._versions: dict[str, tuple[Owner, str]] = {}
        self._with_manifest: list[tuple[Folder, Config]] = []

    def run(self) -> Discovery:
        self._walk(self._root, _Scope(policy=Config()))
        for folder, policy in self._with_manifest:
            self._apply_manifest(folder, policy)
        return self._drafts.settle(self._options.namespace)

    def _config(self, folder: Folder) -> Config:
        return entries.config_of(folder, self._configs)

    def _walk(self, folder: Folder, scope: _Scope) -> None:
        config = self._config(folder)
        if tree.CONFIG in folder.files:
            scope = replace(scope, policy=config.below(scope.policy))
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
            self._route_files(folder, config, scope)
        if tree.MANIFEST in folder.files and (scope.routing or function is not None):
            self._with_manifest.append((folder, scope.policy))
        for below, inner in self._enter(folder, scope, frozenset(versions)):
            self._walk(below, inner)

    def _enter(self, folder: Folder, scope: _Scope, without: frozenset[str]) -> Iterator[tuple[Folder, _Scope]]:
        """Return the folders to look into, and what holds there."""
        if scope.depth >= MAX_DEPTH:
            return
        for name, below in sorted(folder.folders.items()):
            if name in self._ignored or name in without or name.startswith(("_", ".")):
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
        self, folder: Folder, config: Config, scope: _Scope
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
        scope: _Scope,
        *,
        entry: Entry | None,
        versions: Mapping[str, tuple[Folder, Entry]],
    ) -> None:
        name = _function_name(folder, config, scope)
        if not NAME.fullmatch(name) or len(name) > MAX_NAME:
            self._drafts.say(folder.path, "cannot be a function under its folder's name: give it a name in fn.config.json")
            return
        runtime = entry.runtime if entry is not None else next(each.runtime for _, each in versions.values())
        draft = self._drafts.add((runtime, name, folder.path))
        methods = scope.policy.methods or (METHODS if config.routes else ("GET",))
        if entry is not None:
            newer = frozenset(label for label in versions if entries.is_version_label(label))
            files = tree.files_below(folder, without=newer)
            code = Code(root=folder.path, entrypoint=entry.path, files=files, env_path=_env_path(folder))
            if self._drafts.add_version(draft, DEFAULT, code, scope.policy, methods=methods, schedule=config.schedule):
                for pattern in config.routes or (f"/{name}", f"/{name}/*"):
                    self._claim_configured(draft, DEFAULT, pattern, scope.policy, methods=methods)
            self._route_extras(folder, scope, entry=entry, files=files)
        elif config.schedule is not None or config.routes:
            self._drafts.say(folder.path, "has versions only: routes and schedule belong into a version's fn.config.json")
        for label, (below, version_entry) in versions.items():
            self._add_version(draft, label, below, scope.policy, entry=version_entry, env_path=_env_path(folder))

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
            env_path=_env_path(folder) or env_path,
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

    def _route_extras(self, folder: Folder, scope: _Scope, *, entry: Entry, files: list[File]) -> None:
        """Map the files beside a function's entry that are routes by their names; they share the function's bundle."""
        prefix = scope.segments[1:] if scope.runtime else scope.segments
        for name in sorted(folder.files):
            parsed = patterns.parse_file_name(name)
            if parsed is None or name == entry.path or not parsed.is_explicit or (parsed.is_root and not parsed.method):
                continue
            if self._is_mapped(folder, name, parsed):
                parsed = replace(parsed, runtime=entries.language(name, entry.runtime))
                code = Code(root=folder.path, entrypoint=name, files=files, env_path=_env_path(folder))
                self._route_file(folder, name, parsed, replace(scope, segments=prefix), code=code)

    # File routes

    def _route_files(self, folder: Folder, config: Config, scope: _Scope) -> None:
        """Map the files of a folder that is no function directory."""
        canonical = entries.canonical_entries(folder)
        entry = next(iter(canonical.values())) if len(canonical) == 1 and folder is not self._root else ""
        parsed = {
            name: replace(found, runtime=entries.language(name, scope.runtime))
            for name in sorted(folder.files)
            if (found := patterns.parse_file_name(name)) is not None
        }
        mapped = {
            name: found
            for name, found in parsed.items()
            if (not entry or name == entry or found.is_explicit) and self._is_mapped(folder, name, found)
        }
        self._routed[folder.path] = frozenset(mapped)
        if entry:
            self._expect_versions(folder, parsed[entry].runtime, entry)
        for name, found in mapped.items():
            code = self._file_code(folder, name, whole_folder=bool(entry))
            self._route_file(folder, name, found, scope, code=code)
        if config.schedule is not None:
            self._schedule_file(folder, config, scope, entry=entry)

    def _is_mapped(self, folder: Folder, name: str, parsed: FileName) -> bool:
        path = folder.files[name].path
        if parsed.runtime in patterns.LATER:
            self._drafts.say(path, f"is not served: {parsed.runtime} is not supported yet")
            return False
        if parsed.two_methods:
            self._drafts.say(path, "is not mapped: its name has two methods")
            return False
        return True

    def _route_file(self, folder: Folder, name: str, parsed: FileName, scope: _Scope, *, code: Code) -> None:
        path = folder.files[name].path
        try:
            own = () if parsed.is_root else tuple(patterns.segment(token) for token in parsed.tokens)
            found = patterns.expand((*scope.segments, *own))
        except patterns.UnfitNameError as error:
            self._drafts.say(path, f"is not mapped: {error}")
            return
        if found == ("/",):
            self._drafts.say(path, "is not mapped: a file cannot have the route /")
        owner, version = self._versions.get(path, ((parsed.runtime, path, path), DEFAULT))
        methods = (parsed.method,) if parsed.method else scope.policy.methods or ("GET",)
        draft = self._drafts.add(owner, file_route=owner[1] == path, routed_by_file=True)
        if not self._drafts.add_version(draft, version, code, scope.policy, methods=methods):
            return
        for pattern in found:
            if pattern != "/":
                self._drafts.claim(
                    Claim(
                        pattern=pattern,
                        methods=methods,
                        hosts=scope.policy.allow_hosts or (),
                        rank=FILE_RANK,
                        owner=owner,
                        version=version,
                        path=path,
                    )
                )

    def _expect_versions(self, folder: Folder, runtime: str, entry: str) -> None:
        """Make `<name>/handler.py` and the versions below it one function, so that `/<name>@v2` finds it.

        Its routes stay those of its files.
        """
        if not NAME.fullmatch(folder.path) or len(folder.path) > MAX_NAME:
            return
        owner = (runtime, folder.path, folder.path)
        versions = entries.find_versions(folder, self._configs, runtime=runtime, has_default=True, ignored=self._ignored)
        for label, (below, version_entry) in versions.items():
            if entries.is_version_label(label) and not self._config(below).names_function:
                self._versions[f"{folder.path}/{entry}"] = (owner, DEFAULT)
                self._versions[f"{below.path}/{version_entry.path}"] = (owner, label)

    def _file_code(self, folder: Folder, name: str, *, whole_folder: bool) -> Code:
        """Return the bundle of a file route: what it may import, at the paths that it has in the functions root."""
        file = folder.files[name]
        shared = self._shared.get(folder.path)
        if shared is None:
            routed = self._routed.get(folder.path, frozenset())
            shared = tree.shared_files(folder, lambda each: each in routed)
            if whole_folder:
                # An entry file stands for its folder, so that it may import from the folders below, routes or not.
                newer = frozenset(each for each in folder.folders if entries.is_version_label(each))
                below = (
                    each for each in tree.files_below(folder, without=newer) if each.path.count("/") > file.path.count("/")
                )
                wide = list({each.path: each for each in (*shared, *below)}.values())
                shared = shared if tree.bundle_fault(wide) else wide
            self._shared[folder.path] = shared
        env_path = _env_path(folder)
        if env_path is None and file.path in self._versions and folder.parent is not None:
            env_path = _env_path(folder.parent)
        return Code(
            root="", entrypoint=file.path, files=[*(each for each in shared if each is not file), file], env_path=env_path
        )

    def _schedule_file(self, folder: Folder, config: Config, scope: _Scope, *, entry: str) -> None:
        """Give a folder's schedule to its one function, or to the file that the schedule names."""
        schedule = config.schedule
        routed = sorted(self._routed[folder.path])
        name = config.schedule_file or entry or (routed[0] if len(routed) == 1 else "")
        if schedule is None:
            return
        if name in folder.files and name not in routed:
            self._mint(folder, name, scope.policy)
        if name and self._drafts.schedule(_join(folder.path, name), schedule):
            return
        choice = f"one of {', '.join(routed[:5])}" if routed else "a source file of this folder"
        self._drafts.say(_join(folder.path, tree.CONFIG), f"schedule: name the file that fires in schedule.file: {choice}")

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
                target = self._mint(parent, route.target.rpartition("/")[2], self._config(parent).below(policy))
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

    def _mint(self, folder: Folder, name: str, policy: Config) -> tuple[Owner, str] | None:
        """Make a function of a file that is no route by its name; None when it cannot be started."""
        runtime = entries.language(name, "deno" if folder.path.partition("/")[0] == "deno" else "")
        if runtime not in runtime_names.BUILT_IN:
            return None
        path = folder.files[name].path
        draft = self._drafts.add((runtime, path, path), file_route=True, routed_by_file=True)
        code = self._file_code(folder, name, whole_folder=False)
        self._drafts.add_version(draft, DEFAULT, code, policy, methods=policy.methods or ("GET",))
        return self._drafts.target(path)


def _function_name(folder: Folder, config: Config, scope: _Scope) -> str:
    if config.name is not None:
        return config.name
    return folder.path.partition("/")[2] if scope.runtime else folder.path


def _folder_of(folder: Folder, path: str) -> Folder:
    """Return the folder of a file that lies at `path` below `folder`."""
    for part in path.split("/")[:-1]:
        folder = folder.folders[part]
    return folder


def _env_path(folder: Folder) -> str | None:
    return folder.files[tree.ENV].path if tree.ENV in folder.files else None


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
