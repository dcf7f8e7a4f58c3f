"""How names and texts become route patterns. Pure: knows no files, only their names."""

import functools
import re
from dataclasses import dataclass

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
"""Methods that a function may have, in the order in which they are shown."""

RUNTIMES_BY_EXTENSION = {
    ".py": "python",
    ".js": "node",
    ".mjs": "node",
    ".cjs": "node",
    ".ts": "node",
    ".mts": "node",
    ".cts": "node",
    ".php": "php",
    ".rs": "rust",
    ".lua": "lua",
    ".go": "go",
}
"""What a source file is for, by what its name ends with."""

LATER = frozenset({"lua", "go"})
"""Runtimes whose files are known and not run yet."""

MAX_ROUTE = 512
"""Characters of a pattern."""

REMEMBERED = 20_000
"""Names that are not taken apart again: a folder is looked over on every change, and most names stay."""

_ROOT_TOKENS = frozenset({"index", "handler", "main"})
_NO_ROUTE = re.compile(r"_.*|.*\.(?:test|spec)\..*|.*\.d\.[cm]?ts", re.IGNORECASE | re.DOTALL)
_PARAMETER = r"[A-Za-z_][A-Za-z0-9_-]*"
_DYNAMIC = re.compile(rf"(?P<open>\[\[|\[)(?P<many>\.\.\.)?(?P<name>{_PARAMETER})(?P<close>\]\]|\])")
_BRACED = re.compile(rf"\{{({_PARAMETER})(\*?)\}}")
_TOKEN = re.compile(rf":{_PARAMETER}\*?|\*|[^:*{{}}]+")
_UNFIT = re.compile(r"[\x00-\x20\x7f?#\\]")


class UnfitNameError(ValueError):
    """A file or folder name, or a route text, that is no route; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileName:
    """The name of a source file, taken apart."""

    runtime: str
    method: str
    """Upper case; empty without a method prefix."""
    tokens: tuple[str, ...]
    """What follows the method, without the extension."""

    @property
    def two_methods(self) -> bool:
        """Whether a second method follows the first: such a file is not mapped."""
        return bool(self.method and self.tokens and self.tokens[0].upper() in METHODS)

    @property
    def is_root(self) -> bool:
        """Whether the file stands for its folder."""
        return not self.tokens or (len(self.tokens) == 1 and self.tokens[0].lower() in _ROOT_TOKENS)

    @property
    def is_explicit(self) -> bool:
        """Whether the file means to be a route even beside an entry file."""
        return bool(self.method) or self.is_root or any("[" in token for token in self.tokens)


@functools.lru_cache(maxsize=REMEMBERED)
def parse_file_name(name: str) -> FileName | None:
    """Return a source file's name taken apart; None when it is no source file or never a route."""
    *tokens, extension = _split(name)
    runtime = RUNTIMES_BY_EXTENSION.get("." + extension.lower())
    if runtime is None or not tokens or name.startswith(".") or _NO_ROUTE.fullmatch(name):
        return None
    tokens = [token for token in tokens if token]
    method = ""
    if tokens and tokens[0].upper() in METHODS:
        method = tokens.pop(0).upper()
    return FileName(runtime=runtime, method=method, tokens=tuple(tokens))


@functools.lru_cache(maxsize=REMEMBERED)
def segment(token: str) -> str:
    """Return the pattern segment that a file or folder name's token stands for; ends with `?` when it may be left out.

    Raises:
        UnfitNameError: the brackets do not make sense.
    """
    if "[" not in token and "]" not in token:
        return re.sub(r"[^a-z0-9-]", "-", token.lower())
    found = _DYNAMIC.fullmatch(token)
    if found is None or len(found["open"]) != len(found["close"]) or (len(found["open"]) == 2 and not found["many"]):
        raise UnfitNameError(f"{token} is not [name], [...name] or [[...name]]")
    name = found["name"].lower()
    if not found["many"]:
        return f":{name}"
    return f":{name}*?" if len(found["open"]) == 2 else f":{name}*"


def expand(segments: tuple[str, ...]) -> tuple[str, ...]:
    """Return the patterns that segments stand for: two when one of them may be left out.

    Raises:
        UnfitNameError: several parts may be left out, or the pattern is too long.
    """
    optional = [at for at, each in enumerate(segments) if each.endswith("?")]
    if len(optional) > 1:
        raise UnfitNameError("only one part of a route can be [[...optional]]")
    patterns = ["/" + "/".join(each.removesuffix("?") for each in segments)]
    if optional:
        patterns.insert(0, "/" + "/".join(segments[: optional[0]] + segments[optional[0] + 1 :]))
    if len(patterns[-1]) > MAX_ROUTE:
        raise UnfitNameError(f"the route is longer than {MAX_ROUTE} characters")
    return tuple(patterns)


def parse_route(text: str) -> str:
    """Return a written route as a pattern: `//` and a last `/` cut, `{id}` as `:id`.

    Raises:
        UnfitNameError: it is not absolute, has `..` or characters that a path cannot have, or is reserved.
    """
    if not text.startswith("/") or ".." in text or _UNFIT.search(text) or len(text) > MAX_ROUTE:
        raise UnfitNameError(f"{text} is not an absolute URL path")
    parts = [_BRACED.sub(r":\1\2", part) for part in text.split("/") if part]
    for part in parts:
        if not _TOKEN.fullmatch(part):
            raise UnfitNameError(f"{part} is not a name, :name, :name* or *")
    pattern = "/" + "/".join(parts)
    if is_reserved(pattern):
        raise UnfitNameError(f"{pattern} is reserved")
    return pattern


def is_reserved(pattern: str) -> bool:
    """Return whether a pattern belongs to the platform."""
    return pattern == "/" or pattern.split("/")[1] in ("_fn", "console")


def _split(name: str) -> list[str]:
    """Split at the dots outside brackets."""
    parts = [""]
    depth = 0
    for character in name:
        if character == "." and depth == 0:
            parts.append("")
            continue
        depth = max(0, depth + {"[": 1, "]": -1}.get(character, 0))
        parts[-1] += character
    return parts
