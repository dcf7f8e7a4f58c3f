"""Files that are routes by their names, whatever folder they lie in: what their functions, versions and bundles are. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from libs import runtime_names
from services.registry.source import entries, patterns, tree
from services.registry.source.config import MAX_NAME, NAME, Config
from services.registry.source.drafts import Code, Drafts
from services.registry.source.entries import DEFAULT, Entry
from services.registry.source.listing import File
from services.registry.source.patterns import FileName
from services.registry.source.precedence import FILE_RANK, Claim, Owner
from services.registry.source.tree import Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What holds at a folder because of the folders above it."""

    segments: tuple[str, ...] = ()
    """Pattern segments of the folder."""
    policy: Config
    depth: int = 0
    runtime: str = ""
    """Set below `<root>/<runtime>/`."""
    routing: bool = True
    """Whether files here can be routes."""


class FileRoutes:
    """The file routes of a functions folder, added to the drafts as they are met."""

    def __init__(self, *, drafts: Drafts, configs: Mapping[str, Config], ignored: frozenset[str]) -> None:
        """Add to `drafts`; folders named as in `ignored` hold no versions."""
        self._drafts = drafts
        self._configs = configs
        self._ignored = ignored
        self._routed: dict[str, frozenset[str]] = {}
        self._shared: dict[str, list[File]] = {}
        self._versions: dict[str, tuple[Owner, str]] = {}

    def _config_of(self, folder: Folder) -> Config:
        return entries.config_of(folder, self._configs)

    def route(self, folder: Folder, config: Config, scope: Scope) -> None:
        """Map the files of a folder that is no function directory."""
        canonical = entries.canonical_entries(folder)
        entry = next(iter(canonical.values())) if len(canonical) == 1 and folder.parent is not None else ""
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

    def route_extras(self, folder: Folder, scope: Scope, *, entry: Entry, files: list[File]) -> None:
        """Map the files beside a function's entry that are routes by their names; they share the function's bundle."""
        prefix = scope.segments[1:] if scope.runtime else scope.segments
        for name in sorted(folder.files):
            parsed = patterns.parse_file_name(name)
            if parsed is None or name == entry.path or not parsed.is_explicit or (parsed.is_root and not parsed.method):
                continue
            if self._is_mapped(folder, name, parsed):
                parsed = replace(parsed, runtime=entries.language(name, entry.runtime))
                code = Code(root=folder.path, entrypoint=name, files=files, env_path=tree.env_path(folder))
                self._route_file(folder, name, parsed, replace(scope, segments=prefix), code=code)

    def mint(self, folder: Folder, name: str, policy: Config) -> tuple[Owner, str] | None:
        """Make a function of a file that is no route by its name; None when it cannot be started."""
        runtime = entries.language(name, "deno" if folder.path.partition("/")[0] == "deno" else "")
        if runtime not in runtime_names.BUILT_IN:
            return None
        path = folder.files[name].path
        if not self._drafts.is_served(runtime, path):
            return None
        draft = self._drafts.add((runtime, path, path), file_route=True, routed_by_file=True)
        code = self._file_code(folder, name, whole_folder=False)
        self._drafts.add_version(draft, DEFAULT, code, policy, methods=policy.methods or ("GET",))
        return self._drafts.target(path)

    def _is_mapped(self, folder: Folder, name: str, parsed: FileName) -> bool:
        path = folder.files[name].path
        if parsed.runtime in patterns.LATER:
            self._drafts.say(path, f"is not served: {parsed.runtime} is not supported yet")
            return False
        if not self._drafts.is_served(parsed.runtime, path):
            return False
        if parsed.two_methods:
            self._drafts.say(path, "is not mapped: its name has two methods")
            return False
        return True

    def _route_file(self, folder: Folder, name: str, parsed: FileName, scope: Scope, *, code: Code) -> None:
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
            if entries.is_version_label(label) and not self._config_of(below).names_function:
                self._versions[f"{folder.path}/{entry}"] = (owner, DEFAULT)
                self._versions[f"{below.path}/{version_entry.path}"] = (owner, label)

    def _file_code(self, folder: Folder, name: str, *, whole_folder: bool) -> Code:
        """Return the bundle of a file route: what it may import, at the paths that it has in the functions root."""
        file = folder.files[name]
        shared = self._shared.get(folder.path)
        if shared is None:
            routed = self._routed.get(folder.path, frozenset())
            shared = self._shared_of(folder, routed)
            if whole_folder:
                # An entry file stands for its folder, so that it may import from the folders below, routes or not.
                newer = frozenset(each for each in folder.folders if entries.is_version_label(each))
                below = (
                    each for each in tree.files_below(folder, without=newer) if each.path.count("/") > file.path.count("/")
                )
                wide = list({each.path: each for each in (*shared, *below)}.values())
                shared = shared if tree.bundle_fault(wide) else wide
            self._shared[folder.path] = shared
        env_path = tree.env_path(folder)
        if env_path is None and file.path in self._versions and folder.parent is not None:
            env_path = tree.env_path(folder.parent)
        return Code(
            root="", entrypoint=file.path, files=[*(each for each in shared if each is not file), file], env_path=env_path
        )

    def _shared_of(self, folder: Folder, routed: frozenset[str]) -> list[File]:
        """Return what the routes of a folder share; data that is too much for a bundle must not take the routes with it."""
        shared = tree.shared_files(folder, lambda each: each in routed)
        fault = tree.bundle_fault(shared)
        if not fault:
            return shared
        code = [file for file in shared if "." + file.path.rpartition(".")[2].lower() in patterns.RUNTIMES_BY_EXTENSION]
        if not tree.bundle_fault(code):
            self._drafts.say(folder.path, f"its routes find only source files beside them: with the others {fault}")
            return code
        return shared

    def _schedule_file(self, folder: Folder, config: Config, scope: Scope, *, entry: str) -> None:
        """Give a folder's schedule to its one function, or to the file that the schedule names."""
        schedule = config.schedule
        routed = sorted(self._routed[folder.path])
        name = config.schedule_file or entry or (routed[0] if len(routed) == 1 else "")
        if schedule is None:
            return
        if name in folder.files and name not in routed:
            self.mint(folder, name, scope.policy)
        if name and self._drafts.schedule(tree.join(folder.path, name), schedule):
            return
        choice = f"one of {', '.join(routed[:5])}" if routed else "a source file of this folder"
        self._drafts.say(tree.join(folder.path, tree.CONFIG), f"schedule: name the file that fires in schedule.file: {choice}")
