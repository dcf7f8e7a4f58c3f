"""Requests held up to the schemas of a function."""

from typing import Any

import orjson
import pytest

from libs.messages.catalog import Interface
from services.gateway import checks
from services.gateway.answers import Refusal
from services.gateway.checks import Checks


def made(*, query: object = None, body: object = None) -> Checks:
    found = checks.of(
        Interface(
            query_schema=orjson.dumps(query).decode() if query is not None else "",
            body_schema=orjson.dumps(body).decode() if body is not None else "",
        )
    )
    assert found is not None
    return found


def refusal(checked: Checks, *, method: str = "POST", query: dict[str, Any] | None = None, body: bytes = b"") -> str:
    """Return what is said of a request, empty when nothing is."""
    try:
        checked.require(method=method, query=query or {}, body=body)
    except Refusal as error:
        return error.text.removeprefix("invalid request: ")
    return ""


def test_refusal_is_a_400_that_names_the_place() -> None:
    with pytest.raises(Refusal) as caught:
        made(body={"items": {"type": "integer"}}).require(method="POST", query={}, body=b"[1,null]")
    assert (caught.value.status, caught.value.more) == (400, {"place": "body[1]"})
    assert caught.value.text == 'invalid request: body[1]: null is not of type "integer"'


def test_version_without_schemas_has_no_checks() -> None:
    assert checks.of(Interface(summary="x", query='{"a":1}', body="1")) is None


@pytest.mark.parametrize("text", ["{", '{"type":"x"}', "5"])
def test_schema_that_only_a_newer_registry_understands_is_left_out(text: str) -> None:
    assert checks.of(Interface(body_schema=text)) is None


@pytest.mark.parametrize(
    ("method", "body", "said"),
    [
        ("POST", b'{"n":1}', ""),
        ("POST", b'{"n":"1"}', 'body.n: "1" is not of type "integer"'),
        ("POST", b"", "body: is missing"),
        ("POST", b"{n:1}", "body: is not JSON: "),
        ("POST", b"\xff", "body: is not JSON: "),
        ("DELETE", b"", ""),
        ("DELETE", b"[]", 'body: [] is not of type "object"'),
        ("GET", b"", ""),
    ],
)
def test_body_is_held_to_its_schema(method: str, body: bytes, said: str) -> None:
    checked = made(body={"type": "object", "properties": {"n": {"type": "integer"}}})
    found = refusal(checked, method=method, body=body)
    assert found.startswith(said) if said else not found


_QUERY = {
    "type": "object",
    "properties": {
        "page": {"$ref": "#/$defs/count"},
        "ratio": {"type": "number"},
        "loud": {"type": "boolean"},
        "ids": {"type": "array", "items": {"type": "integer"}},
        "word": {"type": "string", "maxLength": 3},
        "either": {"type": ["integer", "string"]},
    },
    "required": ["page"],
    "additionalProperties": False,
    "$defs": {"count": {"type": "integer", "minimum": 1}},
}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"page": "1", "ratio": "1.5", "loud": "true", "ids": ["1", "2"], "word": "abc", "either": "x"}, ""),
        ({"page": "1", "ids": "7", "loud": True, "word": "123", "either": "5"}, ""),
        ({}, 'query: "page" is a required property'),
        ({"page": "0"}, "query.page: 0 is less than the minimum of 1"),
        ({"page": "one"}, 'query.page: "one" is not of type "integer"'),
        ({"page": "1", "ratio": "1e999"}, 'query.ratio: "1e999" is not of type "number"'),
        ({"page": "1", "loud": "yes"}, 'query.loud: "yes" is not of type "boolean"'),
        ({"page": "1", "ids": ["1", "x"]}, 'query.ids[1]: "x" is not of type "integer"'),
        ({"page": "1", "word": "abcd"}, 'query.word: "abcd" is longer than 3 characters'),
        ({"page": "1", "other": "x"}, "query: Additional properties are not allowed ('other' was unexpected)"),
        ({"page": ["1", "2"]}, 'query.page: ["1","2"] is not of type "integer"'),
    ],
)
def test_query_is_read_as_what_the_schema_says_and_held_to_it(query: dict[str, Any], said: str) -> None:
    assert refusal(made(query=_QUERY), method="GET", query=query) == said
