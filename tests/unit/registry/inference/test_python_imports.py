"""Which imports of Python code come from outside, whatever the code looks like."""

import tracemalloc
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.inference import python
from services.registry.inference.packages import package_of


def imports(files: Mapping[str, str], entrypoint: str = "handler.py") -> python.Imports:
    return python.imports(entrypoint, files.keys(), lambda path: files[path].encode())


def needed(code: str) -> tuple[str, ...]:
    return imports({"handler.py": code}).needed


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import yaml", ("yaml",)),
        ("import os, json, asyncio.tasks\nfrom __future__ import annotations", ()),
        ("from google.cloud import storage", ("google.cloud.storage",)),
        ("from yaml import load, dump", ("yaml.dump", "yaml.load")),
        ("import a.b.c.d", ("a.b.c",)),
        ("from numpy import *", ("numpy",)),
        ("def handler(event):\n    import requests", ("requests",)),
        ("class A:\n  async def f(self):\n    with x:\n      match 1:\n        case 1:\n          import httpx", ("httpx",)),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  import pandas\nelse:\n  import numpy", ("numpy",)),
        ("import typing\nif typing.TYPE_CHECKING:\n  import pandas", ()),
        ("'import yaml'  # import requests", ()),
        ("import yaml\nthis is no Python", ()),
        ("", ()),
    ],
)
def test_imports_are_those_that_run_and_come_from_outside(code: str, names: tuple[str, ...]) -> None:
    assert needed(code) == names


@pytest.mark.parametrize("caught", ["ImportError", "ModuleNotFoundError", "(OSError, ImportError)", "Exception", ""])
def test_import_whose_absence_is_caught_is_optional(caught: str) -> None:
    found = imports(
        {"handler.py": f"try:\n  import orjson as json\nexcept {caught}:\n  import simplejson as json\nimport yaml"}
    )
    assert (found.needed, found.optional) == (("yaml",), ("orjson", "simplejson"))


def test_import_is_needed_where_only_other_errors_are_caught_or_it_is_needed_elsewhere() -> None:
    assert needed("try:\n  import yaml\nexcept OSError:\n  pass") == ("yaml",)
    assert needed("try:\n  import yaml\nexcept ImportError:\n  pass\nimport yaml") == ("yaml",)


def test_own_files_are_followed_and_no_others_are_looked_at() -> None:
    files = {
        "handler.py": "import helper\nfrom lib import store\nfrom lib.deep.er import x",
        "helper.py": "import yaml",
        "lib/store.py": "from . import names\nfrom .. import outer\nfrom ..... import nothing",
        "lib/names.py": "import requests",
        "outer.py": "import httpx",
        "lib/deep/__init__.py": "import redis",
        "lib/deep/er.py": "import arrow",
        "test_handler.py": "import pytest",
    }
    assert imports(files).needed == ("arrow", "httpx", "redis", "requests", "yaml")


def test_entry_in_a_folder_finds_its_neighbours_and_the_top() -> None:
    files = {"api/get.x.py": "import near, far, native, yaml", "api/near.py": "", "far.py": "", "api/native.abi3.so": ""}
    assert imports(files, "api/get.x.py").needed == ("yaml",)


def test_cycle_ends() -> None:
    assert imports({"handler.py": "import a, yaml", "a.py": "import handler, a"}).needed == ("yaml",)


@pytest.mark.parametrize(
    ("imported", "name", "package"),
    [
        ("yaml.load", "yaml", "PyYAML"),
        ("google.cloud.storage", "google.cloud.storage", "google-cloud-storage"),
        ("google.new.thing", "google.new.thing", ""),
        ("PIL.Image", "PIL", "pillow"),
        ("typing_extensions", "typing_extensions", "typing-extensions"),
        ("nobody_knows.it", "nobody_knows", ""),
    ],
)
def test_package_is_that_of_the_table_and_no_other(imported: str, name: str, package: str) -> None:
    assert package_of(imported) == (name, package)


FRAGMENTS = st.sampled_from(
    [
        "import ",
        "from ",
        "yaml",
        ".",
        "..",
        "(",
        ")",
        ",",
        "\n",
        "  ",
        "try:\n",
        "except ImportError:\n",
        "if ",
        ":",
        "\\",
        "*",
        "\0",
    ]
)


@settings(deadline=None)
@given(st.lists(FRAGMENTS | st.text(max_size=5), max_size=40).map("".join))
def test_no_text_is_too_odd(code: str) -> None:
    found = imports({"handler.py": code, "a.py": code})
    assert len(found.needed) + len(found.optional) <= python.MOST_IMPORTS


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_are_too_odd(code: bytes) -> None:
    python.imports("handler.py", ["handler.py"], lambda _: code)


@pytest.mark.parametrize(
    "code",
    [
        "(" * 100_000,
        "-" * 100_000 + "1",
        "+".join("1" * 50_000),
        "a" + ".b" * 50_000,
        "\n".join(" " * depth + "if x:" for depth in range(2_000)),
        "x = '\\d'\nimport yaml",
        "#" * (python.MOST_BYTES + 1),
    ],
)
def test_deep_and_long_code_ends(code: str) -> None:
    needed(code)


def test_imports_that_are_told_are_bounded() -> None:
    assert len(needed("\n".join(f"import m{number}" for number in range(2_000)))) == python.MOST_IMPORTS


@pytest.mark.parametrize(
    "name",
    [
        b".".join([b"a"] * 5_000),
        b" . ".join([b"a"] * 5_000),
        b".\\\n".join([b"a"] * 5_000),
        b"# coding: utf-7\nimport " + b"+AC4-".join([b"a"] * 5_000),
    ],
)
def test_name_that_would_take_all_memory_to_parse_is_not_parsed(name: bytes) -> None:
    source = name if b"import" in name else b"import " + name
    tracemalloc.start()
    try:
        assert python.imports("handler.py", {"handler.py"}, lambda _: source) == python.Imports()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000


def test_encoding_that_a_file_names_hides_none_of_its_imports() -> None:
    for source in (b"# coding: latin-1\nimport yaml  # \xe9\n", b"\xef\xbb\xbfimport yaml\r\n", b"# coding: none\nimport yaml"):
        assert python.imports("handler.py", {"handler.py"}, lambda _, text=source: text).needed == ("yaml",)
