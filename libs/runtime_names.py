"""The names of the runtimes: those that come with fnbus, and those that other distributions plug in.

A distribution that is installed beside fnbus adds a language by an entry point of the group `fnbus.runtimes`
(docs/adding-a-runtime.md). Whoever only has to tell a runtime's name from a typing error asks here; the runtime itself is
loaded by the executor alone.
"""

import functools
from importlib import metadata

BUILT_IN = ("python", "node", "php", "rust", "deno")
"""Runtimes that come with fnbus, in the order in which a bare name is looked up."""

GROUP = "fnbus.runtimes"
"""Group of the entry points by which others are found."""


@functools.cache
def plugged_in() -> tuple[str, ...]:
    """Return the names of the runtimes that other distributions bring, sorted; asked of the installation once."""
    return tuple(sorted({each.name.lower() for each in metadata.entry_points(group=GROUP)} - set(BUILT_IN)))


def known() -> tuple[str, ...]:
    """Return the names of all runtimes that functions can have: the built-in ones first."""
    return (*BUILT_IN, *plugged_in())
