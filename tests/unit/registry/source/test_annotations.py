"""Types of path parameters, read from a handler's header without running anything."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.source.annotations import parameters


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        ("int", {"type": "integer"}),
        ("float", {"type": "number"}),
        ("str", {"type": "string"}),
        ("bool", {"type": "boolean"}),
        ("UUID", {"type": "string", "format": "uuid"}),
        ("uuid.UUID", {"type": "string", "format": "uuid"}),
        ("datetime.date", {"type": "string", "format": "date"}),
        ("'int'", {"type": "integer"}),
        ("int | None", {"type": "integer"}),
        ("None | int", {"type": "integer"}),
        ("Optional[int]", {"type": "integer"}),
        ("typing.Union[int, None]", {"type": "integer"}),
        ("Annotated[int, Field(gt=0)]", {"type": "integer"}),
        ('Literal["a", "b"]', {"enum": ["a", "b"]}),
        ("Literal[1]", {"enum": [1]}),
    ],
)
def test_annotation_says_what_a_parameter_is(annotation: str, schema: dict[str, Any]) -> None:
    assert parameters(f"def handler(event, id: {annotation}):\n    pass\n".encode()) == {"id": schema}


@pytest.mark.parametrize(
    "annotation",
    [
        "Order",
        "int | str",
        "list[int]",
        "Literal[b'x']",
        "x()",
        "[int]",
        "'not ( code'",
        "lambda x: x",
        "Union[int, str]",
        "None",
    ],
)
def test_annotation_that_says_nothing_of_a_text_is_not_told(annotation: str) -> None:
    assert parameters(f"def handler(event, id: {annotation}):\n    pass\n".encode()) == {}


@pytest.mark.parametrize(
    "source",
    [
        "async def handler(event, id: int): return 1\n",
        "def main(event: dict, id: int = 5) -> dict: pass\n",
        "def handler(event, /, *, id: int):\n    x: str = ''\n",
        "import os\n@deco(a={1: 2})\ndef handler(\n    event,  # (the event:\n    id: int,\n) -> dict[str, int]:\n  x\n",
        "def handler(event, id: str): pass\ndef handler(event, id: int): pass\n",
        "def main(event, id: str): pass\ndef handler(event, id: int = {'a': (1)}['a']): pass\n",
        "class A:\n    def handler(event, id: str): pass\ndef handler(event, id: int): pass\n",
    ],
)
def test_header_is_found_in_whatever_form_it_is_written(source: str) -> None:
    assert parameters(source.encode()) == {"id": {"type": "integer"}}


@pytest.mark.parametrize(
    "source",
    [
        b"", b"def other(event, id: int): pass\n", b"def handler(", b"def handler(event, id: int", b"handler = 5\n",
        b"def handler(event: int): pass\n", b"\xff\xfe", b"def handler(event, id: \xff): pass\n",
        b"def handler(event, \0): pass\n",
        b"def handler(event, id: " + b"(" * 3000 + b"): pass\n", b"def handler(" + b":" * 100_000,
        b"def handler(event, id: " + b"-" * 3000 + b"1): pass\n", b"def handler(event, id: " + b"a." * 1900 + b"b): pass\n",
    ],
)  # fmt: skip
def test_file_that_tells_nothing_is_none_that_fails(source: bytes) -> None:
    assert parameters(source) == {}


@settings(deadline=None)
@given(st.text("()[]:,*=|'\"# \n\\abint", max_size=60))
def test_no_header_makes_it_fail(text: str) -> None:
    parameters(f"def handler(event, {text}".encode())
