"""Where the calls of a label go when an alias says so: to one version, or to several by weight.

Worked out when the catalogue changes; a call costs one random number, and a label that nobody splits costs one comparison.
"""

import random
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from libs.messages.catalog import FunctionEntry
from services.gateway.callee import Callee

type Draw = Callable[[], float]
"""Returns a number from 0 to below 1."""


class Split:
    """Several versions, each with its share of the calls."""

    __slots__ = ("_bounds", "_callees", "_draw", "_total")

    def __init__(self, shares: Sequence[tuple[Callee, int]], draw: Draw = random.random) -> None:
        """Take versions with their weights, each above 0."""
        self._callees = [callee for callee, _ in shares]
        self._bounds = list(accumulate(weight for _, weight in shares))
        self._total = self._bounds[-1]
        self._draw = draw

    def pick(self) -> Callee:
        """Return the version that gets the next call."""
        return self._callees[bisect(self._bounds, self._draw() * self._total)]


def with_aliases(function: FunctionEntry, callees: Mapping[str, Callee]) -> Mapping[str, Callee]:
    """Return what each label of a function leads to, its aliases included.

    A share whose version is gone counts for nothing; an alias without any other share is none.

    Args:
        function: whose labels they are.
        callees: its runnable versions, by label.
    """
    if not function.aliases:
        return callees
    led = dict(callees)
    for alias in function.aliases:
        shares = [(callees[each.version], each.weight) for each in alias.shares if each.weight and each.version in callees]
        if not shares:
            continue
        own = callees.get(alias.name)
        only = shares[0][0] if len(shares) == 1 else None
        split = None if only is not None and own in (None, only) else Split(shares)
        # Never the callee of another label itself: the route table takes a function out by what its labels lead to.
        led[alias.name] = replace(own or shares[0][0], split=split)
    return led
