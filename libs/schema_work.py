"""How often a schema has one and the same part of a value looked at. Pure.

Schemas may share parts, and parts of these again: twenty lines of them, each naming the next one twice, are a million ways to
what the last one says, and a validator goes each of them. The ways are counted here without going them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

type Links = Mapping[str, Sequence[tuple[str, str]]]
"""For each schema the schemas that it leads to: by which keyword (`properties/name`), and where they are."""

_SAME = frozenset({"$ref", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"})
"""Keywords whose schemas are held up to the same value."""
_MEMBERS = {"properties": True, "patternProperties": False, "additionalProperties": False, "unevaluatedProperties": False}
"""Those whose schemas are held up to members of objects; whether the keyword says which member it is."""
_ITEMS = {"prefixItems": True, "items": False, "contains": False, "unevaluatedItems": False}
_ANY = ""


def ways(links: Links, root: str = "#") -> int:
    """Return on how many ways one part of a value is reached at most. A way back to where it came from counts once.

    Args:
        links: all schemas inside one.
        root: where it begins.
    """
    beside: dict[str, Counter[str]] = {}
    """How often each schema is held up to the value that one is held up to, itself included."""
    most: dict[str, int] = {}
    for place in _last_first(links, root):
        found = Counter({place: 1})
        for keyword, target in links[place]:
            if _name(keyword) in _SAME:
                for each, times in beside.get(target, Counter[str]()).items():
                    found[each] += times
        beside[place] = found
        most[place] = max(found.total(), _below(links, found, most))
    return most[root]


def _below(links: Links, found: Mapping[str, int], most: Mapping[str, int]) -> int:
    """Return the most ways to a part of what lies inside of a value that these schemas are held up to."""
    members, items = Counter[str](), Counter[str]()
    for place, times in found.items():
        for keyword, target in links[place]:
            name, _, step = keyword.partition("/")
            for kinds, counted in ((_MEMBERS, members), (_ITEMS, items)):
                if name in kinds:
                    counted[step if kinds[name] else _ANY] += times * most.get(target, 1)
    return max(_deepest(members), _deepest(items))


def _deepest(counted: Counter[str]) -> int:
    anywhere = counted.pop(_ANY, 0)
    return anywhere + max(counted.values(), default=0)


def _name(keyword: str) -> str:
    return keyword.partition("/")[0]


def _last_first(links: Links, root: str) -> Iterator[str]:
    """Yield the schemas that the root leads to, each after those that it leads to itself, as far as there is no circle."""
    begun = {root}
    under_way: list[tuple[str, Iterator[tuple[str, str]]]] = [(root, iter(links[root]))]
    while under_way:
        place, rest = under_way[-1]
        target = next((each for _, each in rest if each not in begun and each in links), None)
        if target is None:
            under_way.pop()
            yield place
        else:
            begun.add(target)
            under_way.append((target, iter(links[target])))
