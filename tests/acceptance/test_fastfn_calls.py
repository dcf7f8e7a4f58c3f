"""FastFN's contract for calls, on a whole platform: routes, the event, what may be returned, headers, errors."""

import asyncio
import base64
import json
import re
import time
from typing import Any

import httpx
import pytest

from libs.testing.beacon import Beacon
from libs.testing.wait import eventually


async def event_of(fastfn: httpx.AsyncClient, path: str, *, method: str = "GET", **more: Any) -> dict[str, Any]:
    answer = await fastfn.request(method, path, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["event"]


@pytest.mark.parametrize("path", ["/whole", "/whole-js"])
async def test_event_has_every_field_of_the_contract(fastfn: httpx.AsyncClient, path: str) -> None:
    headers = [("user-agent", "tester"), ("x-many", "1"), ("x-many", "2"), ("cookie", "sid=abc; theme=dark")]
    event = await event_of(fastfn, f"{path}?a=1&a=2&flag&b=x%20y", method="POST", headers=headers, content='{"x": 1}')

    assert re.fullmatch(r"req-\d{13}-\d+-\d{6}", event["id"])
    assert abs(event["ts"] / 1000 - time.time()) < 600
    assert (event["method"], event["path"], event["raw_path"]) == ("POST", path, f"{path}?a=1&a=2&flag&b=x%20y")
    assert event["query"] == {"a": ["1", "2"], "flag": True, "b": "x y"}
    assert (event["headers"]["user-agent"], event["headers"]["x-many"]) == ("tester", ["1", "2"])
    assert event["body"] == '{"x": 1}'
    assert event["params"] == event["path_params"] == {}
    assert event["session"] == {"id": "abc", "raw": "sid=abc; theme=dark", "cookies": {"sid": "abc", "theme": "dark"}}
    assert event["client"] == {"ip": "127.0.0.1", "ua": "tester"}
    assert event["env"] == {"WORD": "w", "NUMBER": "7", "FLAG": "true", "OWN_TOKEN": "t"}
    assert event["secrets"] == {"OWN_TOKEN": "t"}
    assert "version" not in event


@pytest.mark.parametrize(("path", "runtime", "name"), [("/whole", "python", "whole"), ("/whole-js", "node", "whole-js")])
async def test_context_has_every_field_of_the_contract(fastfn: httpx.AsyncClient, path: str, runtime: str, name: str) -> None:
    event = await event_of(fastfn, path)

    context = event["context"]
    named = (context["request_id"], context["runtime"], context["function_name"], context["version"])
    assert named == (event["id"], runtime, name, "default")
    assert (context["timeout_ms"], context["max_concurrency"], context["max_body_bytes"]) == (20000, 20, 1048576)
    assert context["worker_pool"] == {
        "enabled": True,
        "min_warm": 0,
        "idle_ttl_seconds": 300,
        "max_workers": 20,
        "max_queue": 0,
        "queue_timeout_ms": 0,
        "queue_poll_ms": 20,
        "overflow_status": 429,
    }
    assert context["gateway"]["worker_pid"] > 0
    assert context["debug"] == {"enabled": False}
    assert "user" not in context
    assert "trigger" not in context


@pytest.mark.parametrize("path", ["/whole", "/whole-js"])
async def test_event_without_body_cookie_and_query_says_so(fastfn: httpx.AsyncClient, path: str) -> None:
    event = await event_of(fastfn, path)

    assert (event.get("body"), event["query"], event["raw_path"]) == (None, {}, path)
    assert "session" not in event


@pytest.mark.parametrize("path", ["/whole", "/whole-js"])
async def test_event_has_bytes_that_are_no_text_in_base64(fastfn: httpx.AsyncClient, path: str) -> None:
    event = await event_of(fastfn, path, method="PUT", content=b"\x00\xff\xfe")

    assert (event.get("body"), event["is_base64"], base64.b64decode(event["body_base64"])) == (None, True, b"\x00\xff\xfe")


async def test_event_names_the_version_only_when_it_was_pinned(fastfn: httpx.AsyncClient) -> None:
    event = await event_of(fastfn, "/whole@v2")

    assert (event["version"], event["context"]["version"]) == ("v2", "v2")


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/users/7", {"id": "7"}),
        ("/users/a%20b", {"id": "a b"}),
        ("/docs/a/b/c", {"slug": "a/b/c"}),
        ("/shop", {}),
        ("/shop/x/y", {"rest": "x/y"}),
        ("/whole/deep/er", {"wildcard": "deep/er"}),
        ("/alice/demo/9", {"id": "9"}),
        ("/api/v1/anything/here", {"wildcard": "anything/here"}),
        ("//users//7/", {"id": "7"}),
    ],
)
async def test_path_has_the_parameters_of_its_pattern(fastfn: httpx.AsyncClient, path: str, params: dict[str, str]) -> None:
    event = await event_of(fastfn, f"{fastfn.base_url.copy_with(raw_path=path.encode())}")

    assert event["params"] == event["path_params"] == params


@pytest.mark.parametrize("path", ["/docs", "/users", "/users/a/b", "/users/a%2Fb", "/Users/7", "/both-methods", "/braced"])
async def test_path_that_no_pattern_has_is_404(fastfn: httpx.AsyncClient, path: str) -> None:
    answer = await fastfn.get(path)
    if path == "/docs":  # the folder has a catch-all, which is for one segment and more: this is the platform's own page
        assert "swagger" in answer.text.lower()
        return
    assert (answer.status_code, answer.json()["error"]) == (404, "not found")


async def test_names_of_files_are_made_fit_for_paths(fastfn: httpx.AsyncClient) -> None:
    assert (await fastfn.get("/node/my-tool/my-cool/thing")).text == "cool"


async def test_namespaced_function_is_below_its_namespace(fastfn: httpx.AsyncClient) -> None:
    event = await event_of(fastfn, "/acme/orders")

    assert event["context"]["function_name"] == "acme/orders"


@pytest.mark.parametrize("path", ["/whole@v9", "/nobody@v2", "/acme/orders@v2"])
async def test_version_that_there_is_not_is_404(fastfn: httpx.AsyncClient, path: str) -> None:
    answer = await fastfn.get(path)

    assert answer.status_code == 404
    assert answer.json()["error"] in ("not found", "unknown function")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/fresh", {"GET"}),
        ("DELETE", "/users/7", {"GET"}),
        ("POST", "/whole@v2", set[str]()),
        ("TRACE", "/fresh", {"GET"}),
        ("PUT", "/_fn/invoke", {"POST"}),
        ("PUT", "/_fn/jobs", {"GET", "POST"}),
    ],
)
async def test_method_that_is_not_taken_is_405_with_those_that_are(
    fastfn: httpx.AsyncClient, method: str, path: str, allow: set[str]
) -> None:
    answer = await fastfn.request(method, path)
    if path == "/whole@v2":  # has what its function has
        assert answer.status_code == 200
        return
    assert (answer.status_code, answer.json()["error"]) == (405, "method not allowed")
    assert set(answer.headers["allow"].split(", ")) == allow


async def test_route_of_two_runtimes_is_409_and_either_can_be_invoked(fastfn: httpx.AsyncClient) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await fastfn.request(method, "/twin")
        assert (answer.status_code, answer.json()["error"]) == (409, "ambiguous function")
    for runtime in ("python", "node"):
        invoked = (await fastfn.post("/_fn/invoke", json={"name": "twin", "runtime": runtime})).json()
        assert (invoked["status"], invoked["body"]) == (200, runtime)
    job = await fastfn.post("/_fn/jobs", json={"name": "twin", "runtime": "node"})
    assert (job.status_code, job.json()["error"]) == (404, "no mapped public route for target")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("api.example.com", 200),
        ("API.example.com:8080", 200),
        ("a.b.example.org", 200),
        ("example.org", 421),
        ("other.example.com", 421),
        ("127.0.0.1", 421),
    ],
)
async def test_host_that_a_function_does_not_answer_for_is_421(fastfn: httpx.AsyncClient, host: str, status: int) -> None:
    answer = await fastfn.get("/hosted", headers={"host": host, "x-forwarded-host": "api.example.com"})

    assert answer.status_code == status
    if status == 421:
        assert answer.json()["error"] == "host not allowed"


@pytest.mark.parametrize("path", ["/returns", "/returns-js"])
@pytest.mark.parametrize(
    ("what", "status", "kind", "body"),
    [
        ("object", 200, "application/json", b'{"a":1}'),
        ("list", 200, "application/json", b'[1,"two"]'),
        ("text", 200, "text/plain", b"plain"),
        ("html", 200, "text/html", b"<!doctype html><p>x"),
        ("number", 200, "text/plain", b"7"),
        ("true", 200, "text/plain", b"true"),
        ("nothing", 200, "", b""),
        ("bytes", 200, "application/octet-stream", b"\x00\xff"),
        ("envelope", 202, "text/plain", b"said"),
        ("lambda", 203, "", b"\x00\xff"),
        ("object-body", 200, "application/json", b'{"b":[1]}'),
        ("binary", 200, "image/png", b"\x00\xff"),
        ("csv", 200, "text/csv", b"id,name\n1,a\n"),
        ("redirect", 302, "", b""),
        ("active", 502, "application/json", b""),
        ("zero", 502, "application/json", b""),
        ("no-file", 404, "application/json", b""),
        ("error", 500, "application/json", b""),
    ],
)
async def test_what_is_returned_is_answered_as_the_contract_says(
    fastfn: httpx.AsyncClient, path: str, what: str, status: int, kind: str, body: bytes
) -> None:
    answer = await fastfn.get(path, params={"what": what})

    assert answer.status_code == status, answer.text
    assert answer.headers.get("content-type", "").startswith(kind)
    if status < 400:
        written = json.dumps(answer.json(), separators=(",", ":")).encode() if kind == "application/json" else answer.content
        assert written == body
    else:
        expected = {502: "invalid runtime response", 500: "boom"}.get(status)
        assert answer.json()["error"] == expected if expected else answer.json()["error"]


async def test_python_has_tuples_and_statuses_for_exceptions(fastfn: httpx.AsyncClient) -> None:
    made = await fastfn.get("/returns", params={"what": "tuple"})
    refused = await fastfn.get("/returns", params={"what": "value-error"})

    assert (made.status_code, made.json(), made.headers["x-made"]) == (201, {"a": 1}, "yes")
    assert (refused.status_code, refused.json()["error"]) == (400, "no such thing")


@pytest.mark.parametrize("path", ["/returns", "/returns-js"])
async def test_cookies_of_a_function_are_headers_each_and_never_the_session(fastfn: httpx.AsyncClient, path: str) -> None:
    answer = await fastfn.get(path, params={"what": "cookies"})

    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


async def test_state_of_a_function_is_told_and_its_first_success_once(fastfn: httpx.AsyncClient) -> None:
    first, second = await fastfn.get("/first"), await fastfn.get("/first")

    assert first.headers["x-fastfn-warmed"] == "true"
    assert first.headers["x-fastfn-function-state"] in ("cold", "warm")
    assert second.headers["x-fastfn-function-state"] == "warm"
    assert "x-fastfn-warmed" not in second.headers


async def test_debug_headers_are_those_of_the_contract(fastfn: httpx.AsyncClient) -> None:
    answer = await fastfn.get("/debugged")

    headers = {name: value for name, value in answer.headers.items() if name.startswith("x-fn-")}
    assert headers.pop("x-fn-request-id") == answer.headers["x-request-id"]
    assert float(headers.pop("x-fn-latency-ms")) > 0
    assert headers.pop("x-fn-stdout").strip() == "said"
    assert headers == {
        "x-fn-runtime": "python",
        "x-fn-runtime-routing": "queue_group",
        "x-fn-runtime-socket-index": "1",
        "x-fn-function": "debugged",
        "x-fn-version": "default",
        "x-fn-worker-pool-max-workers": "3",
        "x-fn-worker-pool-max-queue": "2",
    }
    assert not [name for name in (await fastfn.get("/fresh")).headers if name.startswith("x-fn-")]


@pytest.mark.parametrize(("size", "coding"), [(1023, None), (1024, "gzip")])
async def test_texts_of_a_kibibyte_are_compressed(fastfn: httpx.AsyncClient, size: int, coding: str | None) -> None:
    answer = await fastfn.get("/long-text", params={"size": size}, headers={"accept-encoding": "gzip"})

    assert (answer.headers.get("content-encoding"), answer.text) == (coding, "x" * size)


async def test_every_error_has_its_text_and_the_id_of_its_request(fastfn: httpx.AsyncClient) -> None:
    answer = await fastfn.get("/nowhere", headers={"x-request-id": "mine-7"})

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"error": "not found", "request_id": "mine-7"}


async def test_call_that_has_to_wait_says_so_and_one_too_many_is_503_where_that_is_asked_for(
    http: httpx.AsyncClient, beacon: Beacon
) -> None:
    params = {"port": beacon.port}

    async def queued() -> bool:
        states = (await http.get("/_fn/health")).json()["functions"]["states"]
        return any(each["name"] == "queueing" and each["worker_pool"]["queued"] == 1 for each in states)

    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(http.get("/queueing", params=params))
        await beacon.arrived(1)
        second = tasks.create_task(http.get("/queueing", params=params))
        await eventually(queued)
        third = await http.get("/queueing", params=params)
        beacon.release()
        await beacon.arrived(2)
        beacon.release()
    assert (third.status_code, third.json()["error"], third.headers["retry-after"]) == (503, "worker pool overflow", "1")
    assert (first.result().status_code, second.result().status_code) == (200, 200)
    assert "x-fastfn-queued" not in first.result().headers
    assert second.result().headers["x-fastfn-queued"] == "true"


async def test_document_has_the_routes_and_the_types_that_handlers_give(fastfn: httpx.AsyncClient) -> None:
    document = (await fastfn.get("/openapi.json")).json()

    assert (document["openapi"], document["info"]) == ("3.1.0", {"title": "fastfn API", "version": "1.0.0"})
    assert not [path for path in document["paths"] if ":" in path or path.startswith("/_fn")]
    assert "/twin" not in document["paths"]  # nobody answers there
    order = document["paths"]["/typed/orders/{id}"]["get"]
    assert (order["operationId"], order["summary"]) == ("get_python_typed_get_orders__id__py_default", "One order")
    assert order["parameters"] == [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}]
    methods = {path: set(item) for path, item in document["paths"].items()}
    assert (methods["/users/{id}"], methods["/whole"]) == ({"get"}, {"get", "post", "put", "patch", "delete"})
    assert {"200", "404", "405", "413", "429", "502", "503", "504"} <= order["responses"].keys()
