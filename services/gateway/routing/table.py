"""The route table: from path, method and host to a target, at a cost that does not grow with the number of functions.

Literal patterns lie in a dict, the others in a trie. The table changes in place, one function at a time, so that a change
among thousands of functions costs what that one function costs. It knows nothing of HTTP beyond method names.

Match order: the exact path, then patterns by specificity. A pattern in the conflict table answers for every
method. The first pattern with a target for method and host wins; when none has one, what was found decides between
"wrong method" and "wrong host".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple

from libs.messages.catalog import FunctionEntry, RouteEntry
from services.gateway.routing import patterns
from services.gateway.routing.index import RUNTIME_ORDER, NameIndex
from services.gateway.routing.patterns import Kind, Pattern, Segment

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PINNED_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_PINNED_LABEL = _PINNED_NAME | {"."}


class Verdict(Enum):
    """What became of a match."""

    FOUND = auto()
    NOT_FOUND = auto()
    CONFLICT = auto()
    """Several functions own the pattern."""
    WRONG_METHOD = auto()
    """`Match.allow` lists the right ones."""
    WRONG_HOST = auto()
    OPTIONS = auto()
    """The caller asks what is allowed."""


class Target[T](NamedTuple):
    """Where a route leads."""

    owner: T
    pattern: str
    methods: frozenset[str]
    hosts: tuple[str, ...]
    """Exact names or `*.example.com`; empty: all."""
    rank: int = 1
    force_url: bool = False

    def takes_host(self, host: str) -> bool:
        """Whether requests to `host` may use this route."""
        return not self.hosts or any(_host_matches(rule, host) for rule in self.hosts)


class Match[T](NamedTuple):
    """The answer to a request's path, method and host."""

    verdict: Verdict
    target: Target[T] | None = None
    params: Mapping[str, str] = {}
    allow: tuple[str, ...] = ()
    offers: tuple[Target[T], ...] = ()
    """For OPTIONS: where the path leads with the methods in `allow`."""


class _Leaf[T]:
    """All targets of one pattern."""

    __slots__ = ("conflict", "pattern", "targets")

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern
        self.conflict = False
        self.targets: tuple[Target[T], ...] = ()

    @property
    def empty(self) -> bool:
        return not self.targets and not self.conflict


class _Node[T]:
    """A place in the trie: what has been matched so far."""

    __slots__ = ("children", "leaves", "many", "one")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.one: _Node[T] | None = None
        self.many: _Node[T] | None = None
        self.leaves: dict[str, _Leaf[T]] = {}

    @property
    def final(self) -> bool:
        """Whether nothing lies below."""
        return not self.children and self.one is None and self.many is None

    def step(self, segment: Segment) -> "_Node[T]":
        """Return the node below for a segment of a pattern, made when missing."""
        if segment.kind is Kind.LITERAL:
            return self.children.setdefault(segment.text, _Node())
        if segment.kind is Kind.ONE:
            self.one = self.one or _Node()
            return self.one
        self.many = self.many or _Node()
        return self.many

    def prune(self, segments: tuple[Segment, ...]) -> None:
        """Remove the nodes on the way of a pattern that lead nowhere any more."""
        if not segments:
            return
        first = segments[0]
        below = self.step(first)
        below.prune(segments[1:])
        if below.leaves or not below.final:
            return
        if first.kind is Kind.LITERAL:
            del self.children[first.text]
        elif first.kind is Kind.ONE:
            self.one = None
        else:
            self.many = None


type _Spans = tuple[tuple[int, int], ...]


class Table[T]:
    """All routes of a namespace. Not thread-safe: it lives on the event loop."""

    def __init__(self, runtime_order: Sequence[str] = RUNTIME_ORDER) -> None:
        """Make an empty table; a bare name means the function of the runtime that comes first in the order."""
        self.names: NameIndex[T] = NameIndex(runtime_order)
        """The same functions by name."""
        self._exact: dict[str, _Leaf[T]] = {}
        self._root: _Node[T] = _Node()
        self._leaves: dict[str, _Leaf[T]] = {}
        self._routes: dict[str, tuple[RouteEntry, ...]] = {}
        self._conflicts: frozenset[str] = frozenset()

    @property
    def conflicts(self) -> frozenset[str]:
        """The patterns with more than one owner."""
        return self._conflicts

    def put(self, key: str, function: FunctionEntry, owners: Mapping[str, T]) -> None:
        """Add a function, or replace what `key` had before.

        Args:
            key: identity of the function.
            function: its names and routes.
            owners: what the targets of each version label lead to.
        """
        self.remove(key)
        self.names.put(key, function, owners)
        routes = tuple(route for route in function.routes if route.version in owners)
        self._routes[key] = routes
        for route in routes:
            leaf = self._leaf(route.pattern)
            target = Target(
                owners[route.version], route.pattern, frozenset(route.methods), route.hosts, route.rank, route.force_url
            )
            # Routes for certain hosts go before those for all, higher ranks before lower ones.
            leaf.targets = tuple(sorted((*leaf.targets, target), key=lambda each: (not each.hosts, -each.rank)))

    def remove(self, key: str) -> None:
        """Remove a function; one that is not there is no error."""
        owners = self.names.remove(key)
        for route in self._routes.pop(key, ()):
            leaf = self._leaves.get(route.pattern)
            if leaf is not None:
                leaf.targets = tuple(target for target in leaf.targets if not any(target.owner is owner for owner in owners))
                self._drop_if_empty(leaf)

    def set_conflicts(self, conflicts: Iterable[str]) -> None:
        """Replace the conflict table."""
        wanted = frozenset(conflicts)
        for text in self._conflicts - wanted:
            leaf = self._leaves[text]
            leaf.conflict = False
            self._drop_if_empty(leaf)
        for text in wanted - self._conflicts:
            self._leaf(text).conflict = True
        self._conflicts = wanted

    def targets(self, pattern: str) -> tuple[Target[T], ...]:
        """Return the targets of a pattern by its text."""
        leaf = self._leaves.get(pattern)
        return leaf.targets if leaf is not None else ()

    def patterns(self) -> Iterator[tuple[str, tuple[Target[T], ...]]]:
        """Yield all patterns that lead somewhere, with their targets."""
        return ((text, leaf.targets) for text, leaf in self._leaves.items() if leaf.targets)

    def __len__(self) -> int:
        """Return the number of patterns, conflicts included."""
        return len(self._leaves)

    def match(self, path: str, method: str, host: str) -> Match[T]:
        """Return what a request is for.

        Args:
            path: in canonical form (`paths.canonical`).
            method: upper case; HEAD counts as GET.
            host: lower case, without port.
        """
        wanted = "GET" if method == "HEAD" else method
        exact = self._exact.get(path)
        if exact is not None and not exact.conflict:
            for target in exact.targets:
                if wanted in target.methods and (not target.hosts or target.takes_host(host)):
                    return Match(Verdict.FOUND, target)
        return self._search(path, wanted, host, exact)

    def _search(self, path: str, method: str, host: str, exact: _Leaf[T] | None) -> Match[T]:
        segments = path.split("/")[1:] if path != "/" else []
        found: list[tuple[_Leaf[T], _Spans]] = []
        _collect(self._root, segments, 0, (), found)
        found.sort(key=_by_order)
        if exact is not None:
            found.insert(0, (exact, ()))
        for leaf, spans in found:
            if leaf.conflict:
                return Match(Verdict.CONFLICT)
            for target in leaf.targets:
                if method in target.methods and target.takes_host(host):
                    values = ("/".join(segments[start:end]) for start, end in spans)
                    return Match(Verdict.FOUND, target, dict(zip(leaf.pattern.names, values, strict=True)))
        targets = [target for leaf, _ in found for target in leaf.targets]
        return _refusal(targets, method, host) if targets else self._pinned(path, method, host)

    def _pinned(self, path: str, method: str, host: str) -> Match[T]:
        """Match `/<name>@<version>`, which is tried when nothing else matched."""
        name, at, label = path[1:].partition("@")
        if not at or not name or not label or not set(name) <= _PINNED_NAME or not set(label) <= _PINNED_LABEL:
            return Match(Verdict.NOT_FOUND)
        named = self.names.find(name, version=label)
        if named is None:
            return Match(Verdict.NOT_FOUND)
        # A pinned call must not go round the hosts that the function's own routes are kept to.
        routes = named.function.routes
        hosts = tuple(host for route in routes for host in route.hosts) if all(route.hosts for route in routes) else ()
        target = Target(named.owner, path, frozenset(named.version.policy.methods), hosts)
        if method in target.methods and target.takes_host(host):
            return Match(Verdict.FOUND, target)
        return _refusal([target], method, host)

    def _leaf(self, text: str) -> _Leaf[T]:
        leaf = self._leaves.get(text)
        if leaf is None:
            pattern = patterns.parse(text)
            leaf = self._leaves[text] = _Leaf(pattern)
            if pattern.literal:
                self._exact[text] = leaf
            else:
                node = self._root
                for segment in pattern.segments:
                    node = node.step(segment)
                node.leaves[text] = leaf
        return leaf

    def _drop_if_empty(self, leaf: _Leaf[T]) -> None:
        if not leaf.empty:
            return
        text = leaf.pattern.text
        del self._leaves[text]
        if self._exact.pop(text, None) is None:
            node = self._root
            for segment in leaf.pattern.segments:
                node = node.step(segment)
            del node.leaves[text]
            self._root.prune(leaf.pattern.segments)


def _collect[T](node: _Node[T], segments: list[str], at: int, spans: _Spans, found: list[tuple[_Leaf[T], _Spans]]) -> None:
    """Add every pattern below `node` that matches the rest of the path, once each, catch-alls as short as can be."""
    if at == len(segments):
        seen = {leaf.pattern.text for leaf, _ in found} if found and node.leaves else ()
        found.extend((leaf, spans) for text, leaf in node.leaves.items() if text not in seen)
        return
    child = node.children.get(segments[at])
    if child is not None:
        _collect(child, segments, at + 1, spans, found)
    if node.one is not None:
        _collect(node.one, segments, at + 1, (*spans, (at, at + 1)), found)
    if node.many is not None:
        first = len(segments) if node.many.final else at + 1
        for end in range(first, len(segments) + 1):
            _collect(node.many, segments, end, (*spans, (at, end)), found)


def _by_order[T](candidate: tuple[_Leaf[T], _Spans]) -> tuple[int, int, int, int, str]:
    return candidate[0].pattern.order


def _refusal[T](targets: list[Target[T]], method: str, host: str) -> Match[T]:
    here = [target for target in targets if target.takes_host(host)]
    if not here:
        return Match(Verdict.WRONG_HOST)
    offered = frozenset[str]().union(*(target.methods for target in here))
    allow = tuple(name for name in METHODS if name in offered)
    if method == "OPTIONS":
        return Match(Verdict.OPTIONS, allow=(*allow, *(("HEAD",) if "GET" in offered else ()), "OPTIONS"), offers=tuple(here))
    return Match(Verdict.WRONG_METHOD, allow=allow)


def _host_matches(rule: str, host: str) -> bool:
    rule = rule.lower()
    return host.endswith(rule[1:]) and host != rule[2:] if rule.startswith("*.") else host == rule
