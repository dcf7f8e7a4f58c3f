"""Who gets a route when several claim it. Pure.

For each pattern, claims are settled from the strongest to the weakest: a configured route with force-url, a line of an
`fn.routes.json`, a file, a configured route without force-url. A weaker claim keeps the methods and hosts that no stronger
one has. Claims of equal strength that overlap take the pattern from everybody: nobody can say which was meant.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from libs.messages import catalog
from services.registry.source.patterns import METHODS

FILE_RANK = 1
MANIFEST_RANK = 2
CONFIG_RANK = 3

type Owner = tuple[str, str, str]
"""Runtime, name and place of a function: functions of one name in two places are two owners."""
type Hosts = tuple[str, ...]
"""Sorted; empty: all hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A wish of a function's version to own a pattern."""

    pattern: str
    methods: tuple[str, ...]
    """In the order in which they are shown."""
    hosts: Hosts = ()
    rank: int
    force_url: bool = False
    owner: Owner
    version: str = "default"
    path: str
    """File or folder that makes the claim, for messages."""

    @property
    def strength(self) -> int:
        """The higher, the stronger."""
        if self.rank == CONFIG_RANK:
            return 4 if self.force_url else 1
        return 3 if self.rank == MANIFEST_RANK else 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Who owns what."""

    routes: tuple[tuple[Owner, catalog.RouteEntry], ...]
    """Owner and route, in the order of the patterns."""
    conflicts: tuple[str, ...]
    problems: tuple[catalog.Problem, ...]


type _Shares = dict[str, Hosts]
"""What is left of a claim: hosts by method."""


def settle(claims: Iterable[Claim]) -> Settled:
    """Decide all claims; the outcome does not depend on their order."""
    by_pattern: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        by_pattern[claim.pattern].append(claim)
    routes: list[tuple[Owner, catalog.RouteEntry]] = []
    conflicts: list[str] = []
    problems: list[catalog.Problem] = []
    for pattern in sorted(by_pattern):
        rivals = by_pattern[pattern]
        if len(rivals) == 1:
            routes.append((rivals[0].owner, _entry(rivals[0], rivals[0].methods, rivals[0].hosts)))
            continue
        winners, clash = _settle_pattern(sorted(rivals, key=_order), problems)
        if clash is None:
            routes.extend(winners)
            continue
        conflicts.append(pattern)
        problems.append(_ambiguous(pattern, clash))
    return Settled(routes=tuple(routes), conflicts=tuple(conflicts), problems=tuple(problems))


def overlap(one: Hosts, other: Hosts) -> bool:
    """Return whether two host rules may take the same request; a wildcard overlaps with everything."""
    if not one or not other or any("*" in host for host in one + other):
        return True
    return not set(one).isdisjoint(other)


def _settle_pattern(
    rivals: Sequence[Claim], problems: list[catalog.Problem]
) -> tuple[list[tuple[Owner, catalog.RouteEntry]], tuple[Claim, Claim] | None]:
    """Return the winners of a pattern, or the two that make it ambiguous. `rivals` goes from strong to weak."""
    taken: list[tuple[int, Claim, _Shares]] = []
    for claim in rivals:
        stronger = [shares for strength, _, shares in taken if strength > claim.strength]
        shares = _left_over(claim, stronger)
        if not shares:
            problems.append(_shadowed(claim, taken[0][1]))
            continue
        for strength, other, others in taken:
            if strength == claim.strength and not _same_target(claim, other) and _clash(shares, others):
                return [], (other, claim)
        taken.append((claim.strength, claim, shares))
    return _merge(taken), None


def _left_over(claim: Claim, stronger: Sequence[_Shares]) -> _Shares:
    shares: _Shares = {}
    for method in claim.methods:
        hosts: Hosts | None = claim.hosts
        for owned in (each[method] for each in stronger if method in each):
            if hosts is None or not overlap(hosts, owned):
                continue
            partial = hosts and owned and not any("*" in host for host in hosts + owned)
            hosts = (tuple(host for host in hosts if host not in owned) or None) if partial else None
        if hosts is not None:
            shares[method] = hosts
    return shares


def _clash(one: _Shares, other: _Shares) -> bool:
    return any(method in other and overlap(hosts, other[method]) for method, hosts in one.items())


def _merge(taken: Sequence[tuple[int, Claim, _Shares]]) -> list[tuple[Owner, catalog.RouteEntry]]:
    """Return one route for each claim and host rule; what one owner claimed twice counts once."""
    merged: dict[tuple[object, ...], tuple[Claim, Hosts, list[str]]] = {}
    seen: set[tuple[object, ...]] = set()
    for strength, claim, shares in taken:
        for method, hosts in shares.items():
            single = (strength, claim.owner, claim.version, method, hosts)
            if single in seen:
                continue
            seen.add(single)
            key = (claim.owner, claim.version, claim.rank, claim.force_url, hosts)
            merged.setdefault(key, (claim, hosts, []))[2].append(method)
    return [
        (claim.owner, _entry(claim, tuple(sorted(methods, key=METHODS.index)), hosts))
        for claim, hosts, methods in merged.values()
    ]


def _entry(claim: Claim, methods: tuple[str, ...], hosts: Hosts) -> catalog.RouteEntry:
    return catalog.RouteEntry(
        pattern=claim.pattern,
        methods=methods,
        version=claim.version,
        hosts=hosts,
        rank=claim.rank,
        force_url=claim.force_url,
    )


def _same_target(one: Claim, other: Claim) -> bool:
    return one.owner == other.owner and one.version == other.version


def _order(claim: Claim) -> tuple[object, ...]:
    return (-claim.strength, claim.path, claim.owner, claim.version, claim.methods, claim.hosts, claim.rank, claim.force_url)


def _ambiguous(pattern: str, clash: tuple[Claim, Claim]) -> catalog.Problem:
    one, other = clash
    return catalog.Problem(
        path=one.path,
        message=f"{pattern} is claimed by {other.path} as well: every request to it is 409 until one of them goes",
    )


def _shadowed(claim: Claim, winner: Claim) -> catalog.Problem:
    hint = "; set invoke.force-url to take it" if claim.rank == CONFIG_RANK and not claim.force_url else ""
    return catalog.Problem(path=claim.path, message=f"{claim.pattern} belongs to {winner.path}{hint}")
