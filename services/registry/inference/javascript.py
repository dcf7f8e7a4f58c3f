"""Which packages JavaScript and TypeScript import: of the entry file, and of the function's own files that this leads to. Pure.

Here an import says its package itself (`lodash/fp` is in `lodash`), so nothing has to be looked up. Text is taken apart into
words, strings and signs, no more: comments, templates and regular expressions hide nothing and bring nothing in, and code that
is not valid yields what can be made out.
"""

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

MOST_FILES = 500
MOST_BYTES = 1024 * 1024
"""Of one file; what is larger was made by a bundler."""
MOST_IMPORTS = 500

_ENDINGS = ("", ".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".jsx", ".tsx")
_INDEX = tuple(f"/index{ending}" for ending in _ENDINGS if ending)
_BUILT_IN = frozenset({
    "assert", "async_hooks", "buffer", "child_process", "cluster", "console", "constants", "crypto", "dgram",
    "diagnostics_channel", "dns", "domain", "events", "fs", "http", "http2", "https", "inspector", "module", "net", "os",
    "path", "perf_hooks", "process", "punycode", "querystring", "readline", "repl", "stream", "string_decoder", "sys",
    "timers", "tls", "trace_events", "tty", "url", "util", "v8", "vm", "wasi", "worker_threads", "zlib",
})  # fmt: skip
_NAME = re.compile(r"(?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*", re.IGNORECASE)
_LONGEST_NAME = 214
"""npm's own bound."""
_TOKEN = re.compile(
    r"(?P<skip>\s+|//[^\n]*|/\*(?:[^*]|\*(?!/))*(?:\*/)?)"
    r"""|(?P<string>"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?)"""
    r"|(?P<word>[\w$]+)"
    r"|(?P<sign>.)",
    re.DOTALL,
)
_TEMPLATE = re.compile(r"(?:[^`\\$]|\\.|\$(?!\{))*(?P<end>`|\$\{)?", re.DOTALL)
_REGEX = re.compile(r"/(?:[^/\\\[\n]|\\[^\n]|\[(?:[^\]\\\n]|\\[^\n])*\]?)*/?")
"""Like the others it matches whatever follows, so that nothing is read twice."""
_BEFORE_REGEX = frozenset({
    "return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "do", "else", "await", "yield", "instanceof",
})  # fmt: skip
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class _Token(NamedTuple):
    kind: str
    text: str


_END = _Token("end", "")


class Imports(NamedTuple):
    """What code imports that is neither its own nor the language's."""

    packages: tuple[str, ...]
    """Sorted."""
    unknown: tuple[str, ...]
    """What is imported like a package and can be none: an alias of a bundler, perhaps."""


def imports(entrypoint: str, files: Collection[str], read: Callable[[str], bytes]) -> Imports:
    """Return which packages code imports.

    Args:
        entrypoint: path of its entry file.
        files: paths of all of its files.
        read: returns one's content.

    Raises:
        OSError: what `read` raises.
    """
    own = frozenset(files)
    packages: set[str] = set()
    unknown: set[str] = set()
    pending, seen = [entrypoint], {entrypoint}
    while pending and len(seen) <= MOST_FILES:
        path = pending.pop()
        for specifier in specifiers(read(path)):
            if specifier.startswith("."):
                file = _resolved(path, specifier, own)
                if file and file not in seen:
                    seen.add(file)
                    pending.append(file)
            elif not _is_elsewhere(specifier) and len(packages) + len(unknown) < MOST_IMPORTS:
                name = _package(specifier)
                if name:
                    packages.add(name)
                else:
                    unknown.add(specifier)
    return Imports(tuple(sorted(packages)), tuple(sorted(unknown)))


def specifiers(source: bytes) -> list[str]:
    """Return what `import`, `export … from` and `require` name, in the order of the text."""
    if len(source) > MOST_BYTES:
        return []
    tokens = [_END, *_tokens(source.decode("utf-8", "replace")), _END, _END, _END]
    found: list[str] = []
    for at in range(1, len(tokens) - 3):
        if tokens[at].kind != "word" or tokens[at - 1].text == ".":
            continue
        named = _named_at(tokens, at)
        if named.kind == "string":
            found.append(_ESCAPE.sub(r"\1", named.text[1:-1]) if named.text[-1] == named.text[0] else "")
    return found


def _named_at(tokens: list[_Token], at: int) -> _Token:
    """Return the string that a statement or call at a word names; whatever else when it names none."""
    after, second, third = tokens[at + 1 : at + 4]
    match tokens[at].text:
        case "require":
            return second if after.text == "(" and third.text == ")" else _END
        case "import":
            if after.kind == "string":
                return after
            if after.text == "(":
                return second
            is_type = after.text == "type" and (second.text in ("{", "*") or (second.kind == "word" and second.text != "from"))
            return _END if is_type else _after_from(tokens, at)
        case "export":
            return _after_from(tokens, at) if after.text in ("*", "{") else _END
        case _:
            return _END


def _after_from(tokens: list[_Token], at: int) -> _Token:
    """Return what follows `from` in the statement that begins at a word."""
    for place in range(at + 1, len(tokens) - 1):
        token = tokens[place]
        if token.text == "from" and tokens[place + 1].kind == "string":
            return tokens[place + 1]
        if token.kind in ("string", "end") or token.text in (";", "=", "(", "import", "export"):
            return _END
    return _END


def _tokens(text: str) -> Iterator[_Token]:
    at, last, depths = 0, _END, list[int]()
    while at < len(text):
        sign = text[at]
        if sign == "`" or (sign == "}" and depths and not depths[-1]):
            if sign == "}":
                depths.pop()
            found = _TEMPLATE.match(text, at + 1)
            if found is not None and found["end"] == "${":
                depths.append(0)
            at = found.end() if found is not None else at + 1
            last = _Token("template", "")
            yield last
            continue
        regex = _REGEX.match(text, at) if sign == "/" and text[at + 1 : at + 2] not in ("/", "*") and _may_regex(last) else None
        if regex is not None:
            at, last = regex.end(), _Token("regex", "")
            yield last
            continue
        found = _TOKEN.match(text, at)
        assert found is not None  # noqa: S101  any one character is a sign
        at = found.end()
        if found.lastgroup == "skip":
            continue
        last = _Token(found.lastgroup or "", found.group())
        if depths and last.text in ("{", "}"):
            depths[-1] += 1 if last.text == "{" else -1
        yield last


def _may_regex(last: _Token) -> bool:
    """Whether a slash after a token begins a regular expression, rather than divides."""
    if last.kind == "word":
        return last.text in _BEFORE_REGEX
    return last.kind == "end" or (last.kind == "sign" and last.text not in (")", "]", "}", "<"))


def _resolved(importer: str, specifier: str, files: Collection[str]) -> str:
    """Return the own file that a relative import leads to; empty when there is none."""
    parts: list[str] = []
    for part in (*PurePosixPath(importer).parent.parts, *specifier.split("/")):
        if part == "..":
            if not parts:
                return ""
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    path = "/".join(parts)
    return next((path + ending for ending in (*_ENDINGS, *_INDEX) if path + ending in files), "")


def _is_elsewhere(specifier: str) -> bool:
    """Whether an import is no package's: the language's, a URL, an absolute path, a name of `package.json`'s `imports`."""
    return not specifier or specifier[0] in "/#" or ":" in specifier or specifier.partition("/")[0] in _BUILT_IN


def _package(specifier: str) -> str:
    parts = specifier.split("/")
    name = "/".join(parts[: 2 if specifier.startswith("@") else 1])
    return name if len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) else ""
