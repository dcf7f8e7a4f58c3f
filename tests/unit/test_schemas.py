"""JSON Schemas of functions: which can be used, and what they have against values."""

from collections.abc import Callable
from typing import Any

import pytest

from libs import schemas
from libs.schemas import Fault, Schema, UnfitSchemaError


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (5, "must be an object"),
        (True, "must be an object"),
        ({"type": "objct"}, 'type: "objct" is not valid'),
        ({"properties": {"a": {"minimum": "x"}}}, "properties.a.minimum"),
        ({"pattern": "(a"}, "pattern"),
        ({"pattern": "(?=a)b"}, "pattern"),
        ({"$ref": "http://example.com/schema.json"}, "#: $ref must name a schema inside of this one"),
        ({"properties": {"a": {"$ref": "#/$defs/b"}}}, "#/properties/a: $ref must name a schema inside of this one"),
        ({"$ref": []}, "#: $ref must name a schema inside of this one"),
        ({"items": {"$ref": {}}}, "#/items: $ref must name a schema inside of this one"),
        ({"$ref": "#/title", "title": "x"}, "$ref must name a schema"),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#"},
            "$schema must be https://json-schema.org/draft/2020-12/schema",
        ),
        ({"$id": "http://example.com"}, "#: $id is not supported"),
        ({"items": {"$anchor": "a"}}, "#/items: $anchor is not supported"),
        ({"allOf": [{}, {"discriminator": {"propertyName": "a"}}]}, "#/allOf/1: discriminator is not supported"),
    ],
)
def test_schema_is_refused_with_its_reason(schema: object, reason: str) -> None:
    with pytest.raises(UnfitSchemaError) as caught:
        Schema(schema)
    assert reason in str(caught.value)


def test_schema_is_refused_when_it_lies_too_deep() -> None:
    schema: dict[str, Any] = {}
    for _ in range(200):
        schema = {"items": schema}
    with pytest.raises(UnfitSchemaError):
        Schema(schema)


@pytest.mark.parametrize(
    ("schema", "value", "fault"),
    [
        ({}, 1, None),
        ({"type": "object"}, [], Fault("", '[] is not of type "object"')),
        (
            {"properties": {"a": {"items": {"type": "integer"}}}},
            {"a": [1, "x"]},
            Fault(".a[1]", '"x" is not of type "integer"'),
        ),
        ({"required": ["a"]}, {}, Fault("", '"a" is a required property')),
        ({"format": "email"}, "nobody", Fault("", '"nobody" is not a "email"')),
        ({"$ref": "#"}, 1, None),
        ({"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"}, "x", Fault("", '"x" is not of type "integer"')),
        ({"properties": {"$id": {"type": "integer"}, "xml": {}}}, {"$id": "x"}, Fault(".$id", '"x" is not of type "integer"')),
    ],
)
def test_schema_names_the_place_that_is_wrong(schema: object, value: object, fault: Fault | None) -> None:
    assert Schema(schema).fault(value) == fault


def test_fault_is_short_whatever_the_value_is() -> None:
    fault = Schema({"type": "integer"}).fault("x" * 100_000)
    assert fault is not None
    assert len(fault.message) <= 200


def test_pattern_takes_no_longer_than_its_text_is_long() -> None:
    """One that goes back and forth would not come to an end."""
    assert Schema({"pattern": "^(a+)+$"}).fault("a" * 50_000 + "!") is not None


def test_rooted_changes_references_and_nothing_else() -> None:
    schema = {
        "$defs": {"a/b": {"type": "string"}},
        "properties": {"$ref": {"$ref": "#/$defs/a~1b"}, "x": True},
        "items": {"$ref": "#"},
        "anyOf": [{"const": {"$ref": "#"}}],
    }
    assert schemas.rooted(schema, "#/r") == {
        "$defs": {"a/b": {"type": "string"}},
        "properties": {"$ref": {"$ref": "#/r/$defs/a~1b"}, "x": True},
        "items": {"$ref": "#/r"},
        "anyOf": [{"const": {"$ref": "#"}}],
    }


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_schema_that_contains_itself_in_alternatives_is_held_up_to_what_is_nested(keyword: str) -> None:
    node = {"type": "object", "required": ["l"], "properties": {"l": {"$ref": "#"}}}
    schema = Schema({keyword: [node, node, {"const": 1}]})
    assert schema.fault(_chain(90, leaf=2)) == Fault("", "does not fit the schema; it is nested too deep to say where")
    told = schema.fault(_chain(2, leaf=2))
    assert told is not None
    assert "too deep" not in told.message


def test_schema_that_contains_itself_once_says_where_a_fault_is() -> None:
    schema = Schema({"properties": {"l": {"$ref": "#"}, "n": {"type": "integer"}}})
    assert schema.fault(_chain(90, leaf={"n": "x"})) == Fault((".l" * 90 + ".n")[:200], '"x" is not of type "integer"')


def test_schema_that_shares_parts_and_does_not_contain_itself_says_where_a_fault_is() -> None:
    link = {f"a{at}": {"properties": {"l": {"$ref": f"#/$defs/a{at + 1}"}}} for at in range(20)}
    schema = Schema({"$defs": link | {"a20": {"type": "integer"}}, "$ref": "#/$defs/a0"})
    assert schema.fault(_chain(20, leaf="x")) == Fault(".l" * 20, '"x" is not of type "integer"')


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_schema_whose_parts_double_again_and_again_is_refused(keyword: str) -> None:
    schema = _doubled(25, lambda ref: {keyword: [ref, ref]})
    with pytest.raises(UnfitSchemaError, match="ways lead to one value"):
        Schema(schema)


@pytest.mark.parametrize("way", ["properties/l", "patternProperties/l", "additionalProperties", "items", "prefixItems/0"])
def test_schema_whose_parts_double_inside_of_values_is_refused(way: str) -> None:
    keyword, _, step = way.partition("/")

    def held(ref: object) -> object:
        inside = [ref] if keyword == "prefixItems" else {step: ref} if step else ref
        return {"allOf": [{keyword: inside}, {keyword: inside}]}

    with pytest.raises(UnfitSchemaError, match="ways lead to one value"):
        Schema(_doubled(25, held))


def test_schema_that_shares_parts_of_a_value_s_different_parts_is_none_of_these() -> None:
    tree = _doubled(40, lambda ref: {"properties": {"l": ref, "r": ref}, "prefixItems": [ref, ref]})
    assert Schema(tree).fault(_chain(39, leaf={"r": {}})) is not None
    assert Schema(tree).fault(_chain(40, leaf=1)) is None


def test_schema_of_many_steps_is_looked_at_without_recursion() -> None:
    steps = {f"a{at}": {"$ref": f"#/$defs/a{at + 1}"} for at in range(3000)}
    Schema({"$defs": steps | {"a3000": {"type": "integer"}}, "$ref": "#/$defs/a3000"})
    schemas.require_fit({"$defs": steps | {"a3000": {"type": "integer"}}, "$ref": "#/$defs/a2000"})


def _doubled(levels: int, held: Callable[[object], object]) -> dict[str, Any]:
    parts: dict[str, object] = {f"a{at}": held({"$ref": f"#/$defs/a{at + 1}"}) for at in range(levels)}
    return {"$defs": parts | {f"a{levels}": {"type": "integer"}}, "$ref": "#/$defs/a0"}


def _chain(levels: int, *, leaf: object) -> object:
    value = leaf
    for _ in range(levels):
        value = {"l": value}
    return value
