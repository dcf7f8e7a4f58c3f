"""Route patterns taken apart: what matches a segment, how parameters are called, which pattern goes first.

`/a/b` is literal, `:name` (or `{name}`) is one segment, `:name*` one or more, and `*` one or more under the name
`wildcard` (`wildcard2`, … for further ones).
"""

import functools
import re
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from libs import errors

_BRACED = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)(\*?)\}")


class Kind(IntEnum):
    """What a segment of a pattern matches."""

    LITERAL = 0
    """Itself."""
    ONE = 1
    """Any one segment."""
    MANY = 2
    """One or more segments."""


class Segment(NamedTuple):
    """One segment of a pattern."""

    kind: Kind
    text: str
    """The literal, or the parameter's name."""


class MissingParamsError(errors.PermanentError, ValueError):
    """A pattern cannot be filled in.

    Attributes:
        names: the parameters without a value, in the pattern's order.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(f"missing required path params: {', '.join(names)}")
        self.names = names


class Pattern(NamedTuple):
    """A pattern and what follows from its text."""

    text: str
    segments: tuple[Segment, ...]
    names: tuple[str, ...]
    """The parameters' names, in order."""
    order: tuple[int, int, int, int, str]
    """Sorts ascending: most literals, most segments, fewest catch-alls, most parameters, then alphabetical."""

    @property
    def literal(self) -> bool:
        """Whether the pattern matches one path only."""
        return not self.names

    def match(self, path: str) -> dict[str, str] | None:
        """Return the parameters of a canonical path, or None when it does not match; for single questions, not for routing."""
        found = _regex(self).fullmatch(path)
        return dict(zip(self.names, found.groups(), strict=True)) if found else None

    def fill(self, params: Mapping[str, str]) -> str:
        """Return the concrete path with every parameter replaced.

        Raises:
            MissingParamsError: parameters have no value.
        """
        missing = tuple(name for name in self.names if not params.get(name, "").strip("/"))
        if missing:
            raise MissingParamsError(missing)
        return "/" + "/".join(
            segment.text if segment.kind is Kind.LITERAL else params[segment.text].strip("/") for segment in self.segments
        )


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Pattern:
    """Return the pattern that `text` writes."""
    segments: list[Segment] = []
    wildcards = 0
    for part in text.split("/"):
        if not part:
            continue
        braced = _BRACED.fullmatch(part)
        if part == "*":
            wildcards += 1
            segments.append(Segment(Kind.MANY, "wildcard" if wildcards == 1 else f"wildcard{wildcards}"))
        elif braced is not None:
            segments.append(Segment(Kind.MANY if braced[2] else Kind.ONE, braced[1]))
        elif part.startswith(":") and part.endswith("*") and len(part) > 2:
            segments.append(Segment(Kind.MANY, part[1:-1]))
        elif part.startswith(":") and len(part) > 1:
            segments.append(Segment(Kind.ONE, part[1:]))
        else:
            segments.append(Segment(Kind.LITERAL, part))
    count = [sum(segment.kind is kind for segment in segments) for kind in Kind]
    order = (-count[Kind.LITERAL], -len(segments), count[Kind.MANY], -count[Kind.ONE], text)
    names = tuple(segment.text for segment in segments if segment.kind is not Kind.LITERAL)
    return Pattern(text, tuple(segments), names, order)


@functools.lru_cache(maxsize=1024)
def _regex(pattern: Pattern) -> re.Pattern[str]:
    parts = {Kind.ONE: "([^/]+)", Kind.MANY: "([^/].*?)"}
    texts = (re.escape(each.text) if each.kind is Kind.LITERAL else parts[each.kind] for each in pattern.segments)
    return re.compile("/" + "/".join(texts), re.DOTALL)
