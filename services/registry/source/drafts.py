"""Functions while they are being discovered: gathered piece by piece, then settled and put in order. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from libs.messages import catalog
from services.registry.source import packs, patterns, precedence, tree
from services.registry.source.config import Config, in_order
from services.registry.source.entries import DEFAULT
from services.registry.source.found import Discovery, FoundFunction, FoundVersion
from services.registry.source.listing import File
from services.registry.source.precedence import Claim, Owner

MAX_PROBLEMS = 1_000
"""Problems that are told; somebody with more reads these first."""


@dataclass(slots=True, kw_only=True)
class Draft:
    """A function that has been found, so far."""

    owner: Owner
    file_route: bool
    routed_by_file: bool
    """Whether its methods are those of its routes, rather than a config's."""
    versions: dict[str, FoundVersion] = field(default_factory=dict[str, FoundVersion])


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The files of a version."""

    root: str
    """Folder that the bundle's paths start from."""
    entrypoint: str
    """Relative to `root`."""
    files: Sequence[File]
    env_path: str | None = None

    @property
    def path(self) -> str:
        """Path of the entry file, relative to the functions root."""
        return f"{self.root}/{self.entrypoint}" if self.root else self.entrypoint


class Drafts:
    """All that has been found so far."""

    def __init__(
        self,
        *,
        runtimes: tuple[str, ...] = (),
        defaults: catalog.Policy | None = None,
        shared: frozenset[str] = frozenset(),
        infers: frozenset[str] = frozenset(),
    ) -> None:
        """Gather functions.

        Args:
            runtimes: languages that are served; empty: all.
            defaults: what holds where no config says anything.
            shared: paths of the files of packs.
            infers: languages whose imports tell what code needs.
        """
        self._runtimes = runtimes
        self._shared = shared
        self._infers = infers
        self._defaults = defaults or catalog.Policy()
        self._drafts: dict[Owner, Draft] = {}
        self._claims: list[Claim] = []
        self._problems: set[catalog.Problem] = set()
        self._by_entry: dict[str, tuple[Owner, str]] = {}
        self._broken: set[tuple[str, str]] = set()

    def say(self, path: str, message: str) -> None:
        """Add a problem."""
        self._problems.add(catalog.Problem(path=path or ".", message=message))

    def say_all(self, problems: Iterable[catalog.Problem]) -> None:
        """Add problems that were found by others."""
        self._problems.update(problems)

    def is_served(self, runtime: str, path: str) -> bool:
        """Return whether the platform serves a language; False after saying so of what lies at `path`."""
        if not self._runtimes or runtime in self._runtimes:
            return True
        self.say(path, f"is not served: FNBUS_RUNTIMES does not name {runtime}")
        return False

    def add(self, owner: Owner, *, file_route: bool = False, routed_by_file: bool = False) -> Draft:
        """Return the draft of a function, made when it is new."""
        draft = self._drafts.get(owner)
        if draft is None:
            draft = self._drafts[owner] = Draft(owner=owner, file_route=file_route, routed_by_file=routed_by_file)
        return draft

    def add_version(
        self,
        draft: Draft,
        label: str,
        code: Code,
        policy: Config,
        *,
        methods: tuple[str, ...],
        schedule: catalog.Schedule | None = None,
    ) -> bool:
        """Add a version to a function; False, after saying why, when its bundle would be too large."""
        fault = tree.bundle_fault(code.files)
        if fault:
            self.say(code.path, fault)
            self._broken.add(draft.owner[:2])
            return False
        draft.versions[label] = FoundVersion(
            label=label,
            root=code.root,
            entrypoint=code.entrypoint,
            files=tuple(sorted({file.path for file in code.files})),
            env_path=code.env_path,
            policy=self._policy(policy, methods),
            schedule=schedule,
            handler=policy.handler or "handler",
            handler_style=policy.handler_style or "auto",
            secrets=policy.secrets or (),
            limits=policy.bounds.limits(),
            permissions=policy.bounds.permissions(),
            interface=policy.interface,
            packs=packs.manifests(draft.owner[0], policy.shared_deps or (), self._shared),
            infers=draft.owner[0] if draft.owner[0] in self._infers else "",
        )
        self._by_entry.setdefault(code.path, (draft.owner, label))
        return True

    def _policy(self, config: Config, methods: tuple[str, ...]) -> catalog.Policy:
        default = self._defaults
        return catalog.Policy(
            timeout_ms=default.timeout_ms if config.timeout_ms is None else config.timeout_ms,
            max_concurrency=default.max_concurrency if config.max_concurrency is None else config.max_concurrency,
            max_body_bytes=default.max_body_bytes if config.max_body_bytes is None else config.max_body_bytes,
            include_debug_headers=bool(config.include_debug_headers),
            methods=methods,
            worker_pool=default.worker_pool if config.worker_pool is None else config.worker_pool,
            keep_warm=default.keep_warm if config.keep_warm is None else config.keep_warm,
            edge=config.edge,
            cors=config.cors,
        )

    def schedule(self, path: str, schedule: catalog.Schedule) -> bool:
        """Let the version that starts with the file at `path` fire by itself; False when there is none."""
        owner, label = self._by_entry.get(path, (None, ""))
        if owner is None:
            return False
        versions = self._drafts[owner].versions
        versions[label] = replace(versions[label], schedule=schedule)
        return True

    def target(self, path: str) -> tuple[Owner, str] | None:
        """Return the function and version that start with the file at `path`."""
        return self._by_entry.get(path)

    def claim(self, claim: Claim) -> None:
        """Add a claim to a route, unless the route is the platform's."""
        if patterns.is_reserved(claim.pattern):
            self.say(claim.path, f"cannot have the route {claim.pattern}: it is reserved")
            return
        self._claims.append(claim)

    def settle(self, namespace: str) -> Discovery:
        """Return what all of it amounts to."""
        settled = precedence.settle(claim for claim in self._claims if self._drafts[claim.owner].versions)
        self.say_all(settled.problems)
        routes: dict[Owner, list[catalog.RouteEntry]] = defaultdict(list)
        for owner, route in settled.routes:
            routes[owner].append(route)
        methods: dict[tuple[Owner, str], set[str]] = defaultdict(set)
        for claim in self._claims:
            methods[claim.owner, claim.version].update(claim.methods)
        functions: dict[tuple[str, str], FoundFunction] = {}
        for draft in sorted(self._drafts.values(), key=lambda each: (each.owner[1], each.owner[0], each.owner[2])):
            runtime, name, place = draft.owner
            if not draft.versions:
                continue
            if (runtime, name) in functions:
                self.say(place, f"is left out: the {runtime} function {name} exists elsewhere too")
                continue
            versions = [_with_methods(draft, version, methods) for version in draft.versions.values()]
            functions[runtime, name] = FoundFunction(
                runtime=runtime,
                name=name,
                file_route=draft.file_route,
                versions=tuple(sorted(versions, key=lambda version: (version.label != DEFAULT, version.label))),
                routes=tuple(sorted(routes[draft.owner], key=_route_order)),
            )
        problems = sorted(self._problems, key=lambda problem: (problem.path, problem.message))
        return Discovery(
            namespace=namespace,
            functions=tuple(functions.values()),
            conflicts=settled.conflicts,
            problems=tuple(problems[:MAX_PROBLEMS]),
            broken=frozenset(self._broken),
        )


def _with_methods(draft: Draft, version: FoundVersion, methods: dict[tuple[Owner, str], set[str]]) -> FoundVersion:
    claimed = methods.get((draft.owner, version.label))
    if not draft.routed_by_file or not claimed:
        return version
    ordered = in_order(claimed)
    return version if ordered == version.policy.methods else replace(version, policy=replace(version.policy, methods=ordered))


def _route_order(route: catalog.RouteEntry) -> tuple[object, ...]:
    return (route.pattern, route.rank, route.version, route.hosts, route.methods)
