"""Which packages JavaScript and TypeScript import, whatever the code looks like."""

import re
import sys
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.inference import javascript
from services.registry.inference.javascript import specifiers


class Counting:
    """A pattern that counts the characters that it has read: all that follow, where it looked for an end in vain."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.read = 0
        self._pattern = pattern

    def match(self, text: str, at: int) -> re.Match[str] | None:
        """Match as the pattern does."""
        found = self._pattern.match(text, at)
        in_vain = found is None or (found.lastgroup == "sign" and text.startswith(('"', "'", "/*"), at))
        self.read += (len(text) if found is None or in_vain else found.end()) - at
        return found


def effort(monkeypatch: pytest.MonkeyPatch, code: str) -> int:
    """Return how many lines are run and how many characters are read to take a text apart."""
    lines = 0

    def trace(_frame: object, event: str, _what: object) -> object:
        nonlocal lines
        lines += event == "line"
        return trace

    with monkeypatch.context() as patch:
        patterns = {name: Counting(getattr(javascript, name)) for name in ("_TOKEN", "_TEMPLATE", "_REGEX")}
        for name, pattern in patterns.items():
            patch.setattr(javascript, name, pattern)
        before = sys.gettrace()
        sys.settrace(trace)  # pyright: ignore[reportArgumentType]  it returns itself, for which there is no type
        try:
            specifiers(code.encode())
        finally:
            sys.settrace(before)
    return lines + sum(pattern.read for pattern in patterns.values())


def imports(files: Mapping[str, str], entrypoint: str = "handler.js") -> javascript.Imports:
    return javascript.imports(entrypoint, files.keys(), lambda path: files[path].encode())


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('import "a"', ["a"]),
        ("import x from 'a'", ["a"]),
        ("import x, { y as from, type z } from 'a'; import * as b from \"b\"", ["a", "b"]),
        ("import {\n  x,\n} from 'a'", ["a"]),
        ("const a = require('a'), { b } = require(\"b/c\")", ["a", "b/c"]),
        ("const a = await import('a')", ["a"]),
        ("export * from 'a'; export * as b from 'b'; export { c } from 'c'", ["a", "b", "c"]),
        ("import type { A } from 'a'; import type B from 'b'; export type { C } from 'c'", []),
        ("import type from 'a'", ["a"]),
        ("import a = require('a')", ["a"]),
        ("export const x = 1; const from = 'a'", []),
        ("export { x }; const s = 'a'", []),
        ("import.meta.url; loader.require('a'); x.import('b')", []),
        ("require(name); require('a' + b); import(`a`)", []),
        ("// import 'a'\n/* require('b') */ 'require(\"c\")'; `import 'd'`", []),
        ("`${require('a')} ${`${require('b')}`} require('c')`; require('d')", ["a", "b", "d"]),
        ("`${{ a: { b: 1 } }}`; require('a')", ["a"]),
        ("x = /['\"`]/.test(y); require('a')", ["a"]),
        ("x = a / b; y = c / require('a')", ["a"]),
        ("const x = <p>it's</p>;\nrequire('a')", ["a"]),
        ("require('a\\'b')", ["a'b"]),
        ("import x from 'a", [""]),
        ("function require_(x) {} require ( 'a' )", ["a"]),
        ("import\uff08'a'\uff09", []),
        ("", []),
    ],
)
def test_specifiers_are_what_statements_and_calls_name(code: str, found: list[str]) -> None:
    assert specifiers(code.encode()) == found


def test_packages_are_neither_the_languages_nor_the_functions_own() -> None:
    code = "\n".join(
        f"import '{each}'"
        for each in (
            "lodash/fp", "@scope/pkg/deep", "fs", "fs/promises", "node:test", "./own.js", "../up.js", "/abs.js", "#inner",
            "https://esm.sh/x", "npm:y", "@/alias", "~alias", "", "Bad Name",
        )
    )  # fmt: skip
    found = imports({"handler.js": code, "own.js": ""})
    assert found.packages == ("@scope/pkg", "lodash", "~alias")
    assert found.unknown == ("@/alias", "Bad Name")


def test_own_files_are_followed_and_no_others_are_looked_at() -> None:
    files = {
        "src/main.ts": "import './a'; import '../lib'; require('./gone')",
        "src/a.ts": "import 'in-a'; import './a'",
        "lib/index.mjs": "export * from 'in-lib'; import '../src/main.ts'; import '../../outside'",
        "test.js": "import 'vitest'",
    }
    assert imports(files, "src/main.ts").packages == ("in-a", "in-lib")


FRAGMENTS = st.sampled_from(
    [
        "import ",
        "export ",
        "require(",
        "from ",
        "'a'",
        '"',
        "'",
        "`",
        "${",
        "}",
        "{",
        "/",
        "*",
        "//",
        "/*",
        "*/",
        "[",
        "\\",
        "\n",
    ]
)


@settings(deadline=None)
@given(st.lists(FRAGMENTS | st.text(max_size=4), max_size=60).map("".join))
def test_no_text_is_too_odd(code: str) -> None:
    found = imports({"handler.js": code})
    assert len(found.packages) + len(found.unknown) <= javascript.MOST_IMPORTS


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_are_too_odd(code: bytes) -> None:
    assert isinstance(specifiers(code), list)


@pytest.mark.parametrize(
    "piece", ['"\\', "'", "`", "`${", "/[", "(/", "/*", "//", "import ", "export {", "import {", "require(", "\\", "}", "$"]
)
def test_effort_grows_with_the_text_only(monkeypatch: pytest.MonkeyPatch, piece: str) -> None:
    once = effort(monkeypatch, piece * 400)
    assert effort(monkeypatch, piece * 800) <= 2.1 * once  # were anything read again for each piece, it would be four times


def test_what_is_large_was_made_by_a_bundler() -> None:
    assert specifiers(b"require('a')" + b" " * javascript.MOST_BYTES) == []
