"""The catalogue's routes as OpenAPI: valid whatever is deployed, and exactly what is routed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from libs.messages.catalog import FunctionEntry, Interface, RouteEntry
from libs.testing.fakes import function_entry
from services.gateway.admission import Gates
from services.gateway.callee import Callee, bind
from services.gateway.openapi import control, document, templates
from services.gateway.routing import patterns
from services.gateway.routing.table import METHODS, Table
from services.registry.source.interfaces import MAX_SUMMARY


def table_of(*functions: FunctionEntry, conflicts: Sequence[str] = ()) -> Table[Callee]:
    table: Table[Callee] = Table()
    gates = Gates()
    for at, function in enumerate(functions):
        owners = {
            version.label: bind(function, version, gates.gate(str(at), function, version), max_body_bytes=1000)
            for version in function.versions
        }
        table.put(str(at), function, owners)
    table.set_conflicts(conflicts)
    return table


def whole(table: Table[Callee]) -> dict[str, Any]:
    made = document.build(table.patterns(), conflicts=table.conflicts)
    return {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "paths": made.paths,
        "components": {"schemas": {"Error": document.ERROR_SCHEMA} | made.schemas, "responses": document.RESPONSES},
    }


def document_of(*functions: FunctionEntry, conflicts: Sequence[str] = ()) -> dict[str, Any]:
    """Return the valid document of some functions."""
    made = whole(table_of(*functions, conflicts=conflicts))
    OpenAPIV31SpecValidator(cast("Any", made)).validate()
    return made


def operations(made: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(path, method): each for path, item in made["paths"].items() for method, each in item.items()}


def told(function: FunctionEntry, **said: str) -> FunctionEntry:
    return replace(function, versions=tuple(replace(version, interface=Interface(**said)) for version in function.versions))


def test_operation_says_who_answers() -> None:
    made = document_of(function_entry("acme/my-orders", methods=("GET", "POST")))
    get = made["paths"]["/acme/my-orders"]["get"]
    assert get["operationId"] == "get_python_acme_my_orders_default"
    assert get["summary"] == "acme/my-orders (python)"
    assert get["tags"] == ["functions"]
    assert "parameters" not in get
    assert "requestBody" not in get
    assert sorted(get["responses"]) == ["200", "404", "405", "413", "429", "500", "502", "503", "504"]
    assert "requestBody" in made["paths"]["/acme/my-orders"]["post"]


def test_summary_is_the_functions_own() -> None:
    made = document_of(told(function_entry("f"), summary="Greets"))
    assert made["paths"]["/f"]["get"]["summary"] == "Greets"


def test_path_parameters_are_written_in_braces() -> None:
    made = document_of(function_entry("f", "/hello-demo/:name", "/files/:rest*", "/all/*"))
    assert sorted(made["paths"]) == ["/all/{wildcard}", "/files/{rest}", "/hello-demo/{name}"]
    (name,) = made["paths"]["/hello-demo/{name}"]["get"]["parameters"]
    assert name == {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    (rest,) = made["paths"]["/files/{rest}"]["get"]["parameters"]
    assert "more path segments" in rest["description"]


def test_path_parameters_have_the_types_that_the_handler_gives() -> None:
    types = '{"name":{"type":"integer"},"rest":{"type":"integer"},"other":{"type":"number"}}'
    made = document_of(told(function_entry("f", "/hello-demo/:name", "/files/:rest*"), params=types))
    (name,) = made["paths"]["/hello-demo/{name}"]["get"]["parameters"]
    (rest,) = made["paths"]["/files/{rest}"]["get"]["parameters"]
    assert (name["schema"], rest["schema"]) == ({"type": "integer"}, {"type": "string"})


def test_query_parameters_are_those_of_the_example() -> None:
    made = document_of(told(function_entry("f"), query='{"name":"Ada","times":2,"loud":true,"x":1.5,"tags":["a"],"none":null}'))
    parameters = made["paths"]["/f"]["get"]["parameters"]
    assert [(each["name"], each["in"], each["schema"].get("type"), each["example"]) for each in parameters] == [
        ("name", "query", "string", "Ada"),
        ("times", "query", "integer", 2),
        ("loud", "query", "boolean", True),
        ("x", "query", "number", 1.5),
        ("tags", "query", "array", ["a"]),
        ("none", "query", None, None),
    ]


@pytest.mark.parametrize(
    ("said", "kind", "media"),
    [
        ({"body": '{"a":1}'}, "application/json", {"schema": {"type": "object"}, "example": {"a": 1}}),
        ({"body": '"a=1"'}, "text/plain", {"schema": {"type": "string"}, "example": "a=1"}),
        (
            {"body": '"a=1"', "content_type": "application/x-www-form-urlencoded"},
            "application/x-www-form-urlencoded",
            {"schema": {"type": "string"}, "example": "a=1"},
        ),
        ({"content_type": "image/png"}, "image/png", {}),
    ],
)
def test_body_is_that_of_the_example(said: dict[str, str], kind: str, media: dict[str, Any]) -> None:
    made = document_of(told(function_entry("f", methods=("PUT",)), **said))
    assert made["paths"]["/f"]["put"]["requestBody"]["content"] == {kind: media}


def test_body_may_be_anything_where_nothing_is_said() -> None:
    made = document_of(function_entry("f", methods=("POST",)))
    body = made["paths"]["/f"]["post"]["requestBody"]
    assert not body["required"]
    assert "oneOf" in body["content"]["application/json"]["schema"]


def test_schemas_are_components_whose_own_references_hold() -> None:
    body = {"type": "object", "properties": {"item": {"$ref": "#/$defs/item"}}, "$defs": {"item": {"type": "string"}}}
    query = {"properties": {"a/b~c": {"type": "integer"}, "page": {"type": "integer"}}, "required": ["page"]}
    made = document_of(
        told(
            function_entry("f", "/f", "/g", methods=("POST",)),
            body_schema=orjson.dumps(body).decode(),
            query_schema=orjson.dumps(query).decode(),
            query='{"page":3,"other":"x"}',
        )
    )
    for path in ("/f", "/g"):
        post = made["paths"][path]["post"]
        assert post["requestBody"]["required"]
        assert post["requestBody"]["content"]["application/json"]["schema"] == {
            "$ref": "#/components/schemas/python_f_default.body"
        }
        assert [(each["name"], each["required"], each["schema"]) for each in post["parameters"]] == [
            ("a/b~c", False, {"$ref": "#/components/schemas/python_f_default.query/properties/a~1b~0c"}),
            ("page", True, {"$ref": "#/components/schemas/python_f_default.query/properties/page"}),
            ("other", False, {"type": "string"}),
        ]
        assert "400" in post["responses"]
    components = made["components"]["schemas"]
    assert components["python_f_default.body"]["properties"]["item"] == {
        "$ref": "#/components/schemas/python_f_default.body/$defs/item"
    }


def test_operation_ids_differ_where_names_become_the_same() -> None:
    made = document_of(function_entry("a-b"), function_entry("a_b"), function_entry("f", "/f", "/f/*"))
    found = [each["operationId"] for each in operations(made).values()]
    assert len(set(found)) == len(found) == 4
    assert made["paths"]["/f"]["get"]["operationId"] == "get_python_f_default"


def test_conflicted_route_is_not_listed() -> None:
    made = document_of(function_entry("f", "/f", "/twice"), conflicts=("/twice",))
    assert sorted(made["paths"]) == ["/f"]


def test_patterns_that_openapi_takes_to_be_one_are_one() -> None:
    made = document_of(
        function_entry("one", "/users/:id"),
        function_entry("two", "/users/:user", methods=("PUT",)),
        function_entry("three", "/users/:rest*"),
    )
    assert list(made["paths"]) == ["/users/{id}"]
    item = made["paths"]["/users/{id}"]
    assert "go to three" in item["get"]["description"]
    (parameter,) = item["put"]["parameters"]
    assert (parameter["name"], "`user`" in parameter["description"]) == ("id", True)


def test_parameter_that_a_pattern_has_twice_is_told_apart() -> None:
    assert templates.parse("/a/:id/:id").path == "/a/{id}/{id_2}"
    document_of(function_entry("f", "/a/:id/:id"))


def test_hosts_are_told() -> None:
    made = document_of(
        function_entry("one", "/f", hosts=("a.example.com",)),
        function_entry("two", "/f", hosts=("b.example.com",)),
    )
    get = made["paths"]["/f"]["get"]
    assert "one answers on a.example.com." in get["description"]
    assert "two answers on b.example.com." in get["description"]
    assert "421" in get["responses"]


def test_literal_segments_keep_no_character_that_has_a_meaning() -> None:
    assert templates.parse("/a b/c:d/ü").path == "/a%20b/c%3Ad/%C3%BC"


def test_internal_endpoints_are_listed_known_or_not() -> None:
    made = control.paths([("/_fn/jobs/{id}", ("GET", "DELETE")), ("/_fn/unheard-of", ("POST",))])
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "paths": made,
        "components": {"schemas": {"Error": document.ERROR_SCHEMA}},
    }
    OpenAPIV31SpecValidator(cast("Any", whole)).validate()
    assert made["/_fn/jobs/{id}"]["delete"]["operationId"] == "delete_internal_fn_jobs_id"
    assert made["/_fn/jobs/{id}"]["get"]["parameters"][0]["in"] == "path"
    assert made["/_fn/unheard-of"]["post"]["summary"] == "POST /_fn/unheard-of"


def test_all_that_is_known_of_internal_endpoints_is_valid() -> None:
    endpoints: dict[str, list[str]] = {}
    for method, path in control.KNOWN:
        endpoints.setdefault(path, []).append(method)
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "paths": control.paths(endpoints.items()),
        "components": {"schemas": {"Error": document.ERROR_SCHEMA}},
    }
    OpenAPIV31SpecValidator(cast("Any", whole)).validate()


_NAMES = st.text("abAB-_ü:.@% ", min_size=1, max_size=4)
_SEGMENTS = st.one_of(
    _NAMES,
    st.sampled_from([":id", ":user", ":id", "*", ":rest*", "users"]),
)
_ROUTES = st.lists(_SEGMENTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
_EXAMPLES = st.dictionaries(_NAMES, st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3), max_size=3)
_INTERFACES = st.builds(
    Interface,
    summary=st.text(max_size=MAX_SUMMARY).filter(lambda text: text.isprintable()),
    query=st.just("") | _EXAMPLES.map(lambda value: orjson.dumps(value).decode()),
    body=st.just("") | _EXAMPLES.map(lambda value: orjson.dumps(value).decode()),
    content_type=st.sampled_from(["", "application/json", "text/csv; header=present"]),
)


@st.composite
def _functions(draw: st.DrawFn) -> tuple[FunctionEntry, ...]:
    functions: list[FunctionEntry] = []
    for name in draw(st.lists(_NAMES, max_size=6, unique=True)):
        routes = tuple(
            RouteEntry(
                pattern=pattern,
                methods=tuple(draw(st.sets(st.sampled_from(METHODS), min_size=1))),
                version=draw(st.sampled_from(["default", "v2"])),
                hosts=draw(st.sampled_from([(), ("a.example.com",), ("*.example.com",)])),
            )
            for pattern in draw(st.lists(_ROUTES, max_size=3, unique=True))
        )
        function = function_entry(name, labels=("default", "v2"), runtime=draw(st.sampled_from(["python", "node"])))
        interface = draw(_INTERFACES)
        versions = tuple(replace(version, interface=interface) for version in function.versions)
        functions.append(replace(function, routes=routes, versions=versions))
    return tuple(functions)


@settings(max_examples=30, deadline=None)
@given(_functions(), st.sets(_ROUTES, max_size=2))
def test_document_is_valid_and_lists_what_is_routed(functions: tuple[FunctionEntry, ...], conflicts: set[str]) -> None:
    table = table_of(*functions, conflicts=tuple(conflicts))
    made = whole(table)
    OpenAPIV31SpecValidator(cast("Any", made)).validate()
    listed = operations(made)
    routed: set[tuple[str, str]] = set()
    for text, targets in table.patterns():
        shape = templates.parse(text).shape
        if text not in conflicts:
            routed |= {(shape, method.lower()) for target in targets for method in target.methods}
    shapes = {templates.parse(text).path: templates.parse(text).shape for text, _ in table.patterns()}
    assert {(shapes[path], method) for path, method in listed} == routed
    assert all(":" not in path for path, _ in listed)
    assert all(parameter["in"] in ("path", "query") for each in listed.values() for parameter in each.get("parameters", ()))
    ids = [each["operationId"] for each in listed.values()]
    assert len(set(ids)) == len(ids)
    assert all(each.replace("_", "").isalnum() and each.isascii() for each in ids)


@settings(max_examples=100, deadline=None)
@given(_ROUTES)
def test_template_has_the_names_and_the_shape_of_its_pattern(text: str) -> None:
    template = templates.parse(text)
    assert template.own_names == patterns.parse(text).names
    shape = template.path
    for name in template.names:
        shape = shape.replace(f"{{{name}}}", "{}")
    assert shape == template.shape
