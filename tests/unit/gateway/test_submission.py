"""Bodies of jobs and invoke requests, and the places they mean."""

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.messages.catalog import FunctionEntry, Policy
from libs.testing.fakes import function_entry
from services.gateway.admission import Gates
from services.gateway.answers import Refusal
from services.gateway.callee import Callee, bind
from services.gateway.dialects.fastfn import submission, targets
from services.gateway.routing.table import Table

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXT = st.text(alphabet="ab/.:{}*", max_size=6)
SCALARS: st.SearchStrategy[object] = st.none() | st.booleans() | st.integers(-5, 5) | TEXT
JSON: st.SearchStrategy[object] = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXT, SCALARS, max_size=3)


def _parse(**fields: Any) -> submission.Submission:
    return submission.parse(orjson.dumps({"name": "hello"} | fields))


def _refused(data: bytes) -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        submission.parse(data)
    return caught.value.status, caught.value.text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": None}, "name is required"),
        ({"name": 3}, "name is required"),
        ({"name": "../x"}, "invalid name"),
        ({"name": "a b"}, "invalid name"),
        ({"version": "v 2"}, "invalid version"),
        ({"version": 2}, "invalid version"),
        ({"runtime": "p y"}, "invalid runtime"),
        ({"runtime": ""}, "invalid runtime"),
        ({"method": "BREW"}, "unsupported method"),
        ({"method": 1}, "unsupported method"),
        ({"route": 1}, "route must be a string when provided"),
        ({"route": "x"}, "invalid route"),
        ({"route": "/a/../b"}, "invalid route"),
        ({"route": "/_fn/jobs"}, "invalid route"),
        ({"params": []}, "params must be a JSON object"),
        ({"params": {"a": {}}}, "params must be a JSON object"),
        ({"context": []}, "context must be an object"),
        ({"query": 1}, "query must be a JSON object"),
        ({"headers": "x"}, "headers must be a JSON object"),
        ({"max_attempts": 0}, "max_attempts must be an integer from 1 to 1000"),
        ({"retry_delay_ms": "1"}, "retry_delay_ms must be an integer from 0 to 86400000"),
    ],
)
def test_parse_refuses_with_the_contracts_text(fields: dict[str, Any], text: str) -> None:
    assert _refused(orjson.dumps({"name": "hello"} | fields)) == (400, text)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b"\xff"])
def test_parse_refuses_what_is_no_json_object(data: bytes) -> None:
    assert _refused(data) == (400, "invalid json body")


def test_parse_makes_values_what_a_request_would_carry() -> None:
    made = _parse(
        query={"a": 1, "flag": True, "off": False, "none": None, "many": [1, "x"], "deep": {"k": 1}},
        headers={"X-A": "1"},
        params={"id": 7},
        body={"a": 1},
        method="post",
        unknown=1,
    )
    assert made.query == {"a": "1", "flag": True, "many": ["1", "x"], "deep": '{"k":1}'}
    assert (made.headers, made.params, made.body, made.method) == ({"x-a": "1"}, {"id": "7"}, b'{"a":1}', "POST")


@PATIENT
@given(st.dictionaries(st.sampled_from(["name", "query", "headers", "params", "body", "route", "context", "method"]), JSON))
def test_parse_never_fails_otherwise(fields: dict[str, Any]) -> None:
    with contextlib.suppress(Refusal):
        submission.parse(orjson.dumps(fields))


def _table(*functions: FunctionEntry) -> Table[Callee]:
    table: Table[Callee] = Table()
    gates = Gates()
    for function in functions:
        key = f"{function.runtime}/{function.name}"
        owners = {
            version.label: bind(function, version, gates.gate(key, function, version), max_body_bytes=1 << 20)
            for version in function.versions
        }
        table.put(key, function, owners)
    return table


TABLE = _table(
    function_entry("hello", "/hello", "/hello/*"),
    function_entry("users/get.[id].py", "/users/:id", file_route=True),
    function_entry("users/put.[id].py", "/users/:id", file_route=True, methods=("PUT",)),
    function_entry("two", labels=("default", "v2"), methods=("POST",), policy=Policy(max_body_bytes=3)),
)


@pytest.mark.parametrize(
    ("fields", "route", "template", "params"),
    [
        ({}, "/hello", "/hello", {}),
        ({"params": {"wildcard": "a/b"}}, "/hello/a/b", "/hello/*", {"wildcard": "a/b"}),
        ({"name": "/users/:id", "params": {"id": 4}}, "/users/4", "/users/:id", {"id": "4"}),
        ({"name": "users/get.[id].py", "route": "/users/5"}, "/users/5", "/users/:id", {"id": "5"}),
        ({"name": "users/:id", "route": "/users/{id}", "params": {"id": "6"}}, "/users/6", "/users/:id", {"id": "6"}),
        ({"name": "two", "version": "v2", "method": "POST"}, "/two@v2", "/two@v2", {}),
    ],
)
def test_resolve_finds_function_and_route(fields: dict[str, Any], route: str, template: str, params: dict[str, str]) -> None:
    place = targets.resolve(TABLE, _parse(**fields))
    assert (place.route, place.template, place.params) == (route, template, params)


def test_resolve_by_route_chooses_the_function_of_the_method() -> None:
    place = targets.resolve(TABLE, _parse(name="/users/:id", method="PUT", params={"id": "1"}))
    assert place.callee.function.name == "users/put.[id].py"


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"name": "nobody"}, 404, "unknown function or version"),
        ({"version": "v9"}, 404, "unknown function or version"),
        ({"runtime": "node"}, 404, "unknown function or version"),
        ({"route": "/elsewhere"}, 404, "no mapped public route for target"),
        ({"method": "POST"}, 405, "method not allowed"),
        ({"name": "users/:id"}, 400, "missing required path params: id"),
        ({"name": "two", "method": "POST", "body": "1234"}, 413, "payload too large"),
    ],
)
def test_resolve_refuses_with_the_contracts_text(fields: dict[str, Any], status: int, text: str) -> None:
    with pytest.raises(Refusal) as caught:
        targets.resolve(TABLE, _parse(**fields))
    assert (caught.value.status, caught.value.text) == (status, text)
