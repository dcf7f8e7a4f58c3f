"""FastFN's contract for the console API, on a whole platform: what each endpoint answers, refuses, and in which words."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from libs.testing.wait import eventually

DEMO = "runtime=python&name=written"
CODE = "def handler(event):\n    return {'q': event['query'], 'env': event['env']}\n"


@pytest.fixture
async def written(fastfn: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """The client, with a function of the test's own."""
    made = await fastfn.post(f"/_fn/function?{DEMO}", json={"methods": ["GET"], "code": CODE})
    assert made.status_code == 201, made.text
    assert (await put_config(fastfn, {"timeout_ms": 20000})).status_code == 200
    yield fastfn
    gone = await fastfn.delete(f"/_fn/function?{DEMO}")
    assert gone.status_code in (200, 404), gone.text


async def put_config(client: httpx.AsyncClient, change: Any) -> httpx.Response:
    return await client.put(f"/_fn/function-config?{DEMO}", json=change)


async def test_config_that_does_not_fit_is_400_in_the_contracts_words(written: httpx.AsyncClient) -> None:
    wrong: list[tuple[Any, str]] = [
        ({"timeout_ms": 0}, "timeout_ms must be > 0"),
        ({"max_concurrency": -1}, "max_concurrency must be >= 0"),
        ({"max_body_bytes": 0}, "max_body_bytes must be > 0"),
        ({"routes": ["relative"]}, "invoke.routes must contain valid URL paths (absolute, non-reserved)"),
        ({"routes": ["/"]}, "invoke.routes must contain valid URL paths (absolute, non-reserved)"),
        ({"routes": ["/a/../b"]}, "invoke.routes must contain valid URL paths (absolute, non-reserved)"),
        ({"invoke": {"route": "/_fn/mine"}}, "invoke.routes must contain valid URL paths (absolute, non-reserved)"),
        ({"invoke": {"route": "/console/mine"}}, "invoke.routes must contain valid URL paths (absolute, non-reserved)"),
        ({"invoke": {"handler": "no-name"}}, "invoke.handler must match ^[A-Za-z_][A-Za-z0-9_]*$"),
        ({"invoke": {"allow_hosts": [1]}}, "invoke.allow_hosts must be an array of host strings or null"),
        ({"invoke": {"allow_hosts": ["a/b"]}}, "invoke.allow_hosts must be an array of host strings or null"),
        ({"invoke": {"allow_hosts": ["h" * 201]}}, "invoke.allow_hosts must be an array of host strings or null"),
        ({"edge": {"base_url": ""}}, "edge.base_url must be a non-empty string"),
        ({"edge": {"base_url": "https://a.example", "max_response_bytes": 0}}, "edge.max_response_bytes must be > 0"),
        ({"shared_deps": {"a": 1}}, "shared_deps must be an array of strings, a string, or null"),
        ({"shared_deps": [1]}, "shared_deps must be an array of strings, a string, or null"),
        ({"schedule": 5}, "schedule must be an object"),
        ({"schedule": {"every_seconds": 0}}, "schedule.every_seconds must be > 0"),
        ({"schedule": {"cron": "* *"}}, "schedule.cron must have 5 or 6 fields"),
        ({"schedule": {"every_seconds": 9, "method": "X"}}, "schedule.method must be a valid HTTP method"),
        ({"schedule": {"every_seconds": 9, "retry": 1}}, "schedule.retry must be a boolean, object, or null"),
        ({"schedule": {"every_seconds": 9, "retry": {"max_attempts": 0}}}, "schedule.retry.max_attempts must be >= 1"),
        (
            {"schedule": {"every_seconds": 9, "retry": {"base_delay_seconds": 5, "max_delay_seconds": 1}}},
            "schedule.retry.max_delay_seconds must be >= base_delay_seconds",
        ),
        ({"group": "g" * 81}, "group must be a string of at most 80 characters"),
        ({"group": 7}, "group must be a string of at most 80 characters"),
        ({"tiemout_ms": 7}, "unknown field: tiemout_ms"),
        ({"invoke": {"methods": ["FETCH"]}}, "invoke.methods must be a list of GET, POST, PUT, PATCH, DELETE"),
    ]
    for change, text in wrong:
        answer = await put_config(written, change)
        assert (answer.status_code, answer.json()["error"]) == (400, text), change
    zone = await put_config(written, {"schedule": {"every_seconds": 9, "timezone": "Mars/Olympus"}})
    assert zone.status_code == 400
    assert zone.json()["error"].startswith("schedule.timezone must be UTC, local, Z, ")
    for body in (b"{", b"[]", b"5", b"\xff"):
        answer = await written.put(f"/_fn/function-config?{DEMO}", content=body)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid json body")


async def test_config_is_merged_and_nested_fields_win(written: httpx.AsyncClient) -> None:
    at_top = await put_config(written, {"methods": ["POST"], "routes": ["/written-a"], "timeout_ms": 12000, "group": "demo"})
    assert at_top.status_code == 200, at_top.text
    nested = await put_config(written, {"routes": ["/no"], "invoke": {"methods": ["GET", "POST"], "routes": ["/written-b"]}})

    policy = nested.json()["policy"]
    assert (policy["timeout_ms"], policy["methods"], policy["routes"]) == (12000, ["GET", "POST"], ["/written-b"])
    assert (policy["group"], nested.json()["metadata"]["group"]) == ("demo", "demo")
    assert "code" not in nested.json()
    assert (await written.get("/written-b?x=1")).json()["q"] == {"x": "1"}
    assert (await written.get("/written-a")).status_code == 404
    cleared = await put_config(written, {"routes": [], "schedule": None})
    assert cleared.json()["policy"]["routes"] == ["/written", "/written/*"]
    assert cleared.json()["policy"]["schedule"] is None


async def test_environment_is_merged_masked_and_removed_by_null(written: httpx.AsyncClient) -> None:
    path = f"/_fn/function-env?{DEMO}"
    first = await written.put(path, json={"A": "1", "N": 2, "F": True, "API_KEY": "k", "S": {"value": "s", "is_secret": True}})
    assert first.status_code == 200, first.text
    hidden = {"value": "<hidden>", "is_secret": True}
    assert first.json()["fn_env"] == {
        "A": {"value": "1", "is_secret": False},
        "N": {"value": "2", "is_secret": False},
        "F": {"value": "true", "is_secret": False},
        "API_KEY": hidden,
        "S": hidden,
    }
    second = await written.put(path, json={"A": None, "N": {"value": None}, "S": {"value": "<hidden>"}})
    assert second.json()["fn_env"].keys() == {"F", "API_KEY", "S"}
    assert {"runtime", "name", "version", "fn_env", "metadata", "file_path", "function_dir"} <= second.json().keys()

    async def has_them() -> bool:
        return (await written.get("/written")).json()["env"] == {"F": "true", "API_KEY": "k", "S": "s"}

    await eventually(has_them)
    refused: list[tuple[Any, str]] = [
        ({"A": {"is_secret": True}}, "env entry objects must include value"),
        ({"A": [1]}, "env value must be string|number|boolean|null"),
        ({"A": {"value": {}}}, "env value must be string|number|boolean|null"),
    ]
    for wrong, text in refused:
        answer = await written.put(path, json=wrong)
        assert (answer.status_code, answer.json()["error"]) == (400, text)
    seen = await written.get(f"/_fn/function-file-content?{DEMO}&path=fn.env.json")
    assert (seen.status_code, "k" in seen.json().values()) == (400, False)


async def test_code_is_live_with_its_answer(written: httpx.AsyncClient) -> None:
    changed = await written.put(f"/_fn/function-code?{DEMO}", json={"code": "def handler(event):\n    return 'new'\n"})

    assert changed.status_code == 200, changed.text
    keys = {"runtime", "name", "version", "file_path", "function_dir", "code", "code_truncated", "metadata", "policy"}
    assert keys <= changed.json().keys()
    assert (await written.get("/written")).text == "new"
    for body, text in (({"code": 5}, "code must be a string"), ({}, "code must be a string")):
        answer = await written.put(f"/_fn/function-code?{DEMO}", json=body)
        assert (answer.status_code, answer.json()["error"]) == (400, text)


async def test_code_of_2_mebibytes_is_taken_and_more_is_refused(written: httpx.AsyncClient) -> None:
    start = "def handler(event):\n    return 'large'\n#"
    whole = start + "x" * (2 * 1024 * 1024 - len(start))

    assert (await written.put(f"/_fn/function-code?{DEMO}", json={"code": whole})).status_code == 200
    assert (await written.get("/written")).text == "large"
    more = await written.put(f"/_fn/function-code?{DEMO}", json={"code": whole + "x"})
    assert (more.status_code, more.json()["error"]) == (400, "code exceeds maximum size")


async def test_invocation_of_a_mebibyte_is_taken(fastfn: httpx.AsyncClient) -> None:
    body = "x" * (1024 * 1024)

    taken = await fastfn.post("/_fn/invoke", json={"name": "whole", "method": "POST", "body": body})
    more = await fastfn.post("/_fn/invoke", json={"name": "whole", "method": "POST", "body": body + "x"})

    assert len(json.loads(taken.json()["body"])["event"]["body"]) == len(body)
    assert (more.status_code, more.json()["error"]) == (413, "payload too large")


async def test_files_are_listed_written_read_and_removed(written: httpx.AsyncClient) -> None:
    path = f"/_fn/function-file-content?{DEMO}"
    put = await written.put(path, json={"path": "lib/more notes [1].txt", "content": "text"})
    assert (put.status_code, put.json()) == (200, {"ok": True, "path": "lib/more notes [1].txt"})
    listed = (await written.get(f"/_fn/function-files?{DEMO}")).json()
    assert {"runtime", "name", "function_dir", "files", "versions"} <= listed.keys()
    kinds = {each["path"]: each["type"] for each in listed["files"]}
    assert kinds == {"handler.py": "handler", "fn.config.json": "config", "lib/more notes [1].txt": "file"}
    read = await written.get(f"{path}&path=lib/more notes [1].txt")
    assert read.json() == {"content": "text", "path": "lib/more notes [1].txt", "truncated": False}
    gone = await written.delete(f"{path}&path=lib/more notes [1].txt")
    assert (gone.status_code, gone.json()) == (200, {"ok": True, "path": "lib/more notes [1].txt"})

    bad = "/_fn/function-file-content"
    wrong: list[tuple[str, str, Any, int, str]] = [
        ("GET", f"{bad}?path=a", None, 400, "runtime and name required"),
        ("GET", path, None, 400, "path required"),
        ("GET", f"{path}&path=nothing.txt", None, 404, "file not found"),
        ("DELETE", f"{path}&path=nothing.txt", None, 404, "file not found"),
        ("DELETE", f"{path}&path=handler.py", None, 400, "cannot delete the main handler file"),
        ("DELETE", f"{path}&path=fn.config.json", None, 400, "cannot delete fn.config.json"),
        ("DELETE", f"{path}&path=fn.env.json", None, 400, "cannot delete fn.env.json"),
        ("PUT", path, {"path": "fn.config.json", "content": "{}"}, 400, "use config/env API to modify fn.config.json"),
        ("PUT", path, {"path": "fn.env.json", "content": "{}"}, 400, "use config/env API to modify fn.env.json"),
        ("PUT", path, {"path": "a.txt"}, 400, "content must be a string"),
        ("PUT", path, {"content": "x"}, 400, "path required"),
        ("GET", f"{bad}?runtime=python&name=nobody&path=a", None, 404, "unknown function"),
        ("GET", "/_fn/function-files?runtime=python&name=nobody", None, 404, "unknown function"),
    ]
    for method, at, body, status, text in wrong:
        answer = await written.request(method, at, json=body)
        assert (answer.status_code, answer.json()["error"]) == (status, text), (method, at)


ELSEWHERE = (
    "../escape.txt", "a/../../escape.txt", "/etc/passwd", "a//b", "./a", "a/.", "..", ".", ".hidden", "a/.git/config",
    "a\\..\\b", "a\0b", "a\nb", "%2e%2e/a", "ä.txt", "a\u202eb", "con:fig", "~", "x" * 501, "fn.ENV.json", "FN.CONFIG.JSON",
    "__pycache__", " a", "a ", "\ufb01le", "\ufb00n.env.json",
)  # fmt: skip


async def test_path_that_leads_elsewhere_is_refused_and_writes_nothing(written: httpx.AsyncClient) -> None:
    at = "/_fn/function-file-content"
    before = (await written.get(f"/_fn/function-files?{DEMO}")).json()["files"]

    for path in ELSEWHERE:
        query = {"runtime": "python", "name": "written", "path": path}
        for answer in (
            await written.put(f"{at}?{DEMO}", json={"path": path, "content": "x"}),
            await written.get(at, params=query),
            await written.delete(at, params=query),
        ):
            assert answer.status_code in (400, 404), (path, answer.text)
            assert answer.json()["error"]
    assert (await written.get(f"/_fn/function-files?{DEMO}")).json()["files"] == before


async def test_new_function_is_refused_in_the_contracts_words(fastfn: httpx.AsyncClient) -> None:
    wrong: list[tuple[str, Any, str]] = [
        ("runtime=python&name=whole", {}, "function already exists"),
        ("runtime=cobol&name=a", {}, "unknown runtime"),
        ("runtime=python&name=_private", {}, "invalid function name"),
        ("runtime=python&name=a/b/c/d/e/f", {}, "invalid function name"),
        ("runtime=python&name=vendor", {}, "invalid function name"),
        ("runtime=python&name=a&version=.x", {}, "invalid version"),
        ("runtime=python&name=a", {"filename": "handler.js"}, "invalid filename for runtime"),
        ("runtime=python&name=a", {"filename": "../handler.py"}, "invalid filename for runtime"),
        ("runtime=python&name=a", {"code": "x" * (2 * 1024 * 1024 + 1)}, "code exceeds maximum size"),
        ("runtime=python&name=a", {"code": 5}, "code must be a string"),
        ("runtime=python&name=a", {"routes": ["no"]}, "invoke.routes must contain valid URL paths (absolute, non-reserved)"),
    ]
    for query, body, text in wrong:
        answer = await fastfn.post(f"/_fn/function?{query}", json=body)
        assert (answer.status_code, answer.json()["error"]) == (400, text), query
    for name in ("../a", "a/../b", "/a", "a//b", "a\0b", "a%00b", "ä", "a\u202eb"):
        answer = await fastfn.post("/_fn/function", params={"runtime": "python", "name": name})
        assert answer.status_code == 400, (name, answer.text)
        assert answer.json()["error"] in ("invalid function", "invalid function name")


async def test_name_that_differs_in_case_only_is_its_own_function_or_none(written: httpx.AsyncClient) -> None:
    other = await written.post("/_fn/function?runtime=python&name=Written", json={})

    assert other.status_code in (201, 400)
    if other.status_code == 201:
        assert (await written.delete("/_fn/function?runtime=python&name=Written")).status_code == 200
    assert (await written.get("/written")).status_code == 200


async def test_new_function_has_a_detail_that_can_be_asked_for_again(written: httpx.AsyncClient) -> None:
    shown = (await written.get(f"/_fn/function?{DEMO}")).json()

    keys = {
        "runtime", "name", "version", "function_dir", "file_path", "config_path", "policy", "fn_env", "runtime_health", "code",
        "code_truncated", "metadata",
    }  # fmt: skip
    assert keys <= shown.keys()
    assert (shown["runtime"], shown["name"], shown["version"], shown["code"]) == ("python", "written", None, CODE)
    assert {
        "handler_file", "response", "schedule", "env", "shared_deps", "group", "dependency_resolution", "endpoints", "invoke",
        "python",
    } <= shown["metadata"].keys()  # fmt: skip
    assert shown["metadata"]["invoke"]["summary"] == "Generated function"
    assert shown["metadata"]["endpoints"]["public_route"] == "/written"
    without = (await written.get(f"/_fn/function?{DEMO}&include_code=0")).json()
    assert not without.get("code")


async def test_version_is_made_called_and_removed_alone(written: httpx.AsyncClient) -> None:
    made = await written.post(f"/_fn/function?{DEMO}&version=v2", json={"code": "def handler(event):\n    return 'two'\n"})
    assert (made.status_code, made.json()["version"]) == (201, "v2")

    async def answers() -> bool:  # its own config says nothing of how long its first call may take
        return (await written.get("/written@v2")).text == "two"

    await eventually(answers)
    gone = await written.delete(f"/_fn/function?{DEMO}&version=v2")
    assert gone.json() == {"ok": True, "runtime": "python", "name": "written", "version": "v2"}
    assert (await written.get("/written@v2")).status_code == 404
    assert (await written.get("/written")).status_code == 200


async def test_whoever_is_unknown_is_404_whatever_is_wanted(fastfn: httpx.AsyncClient) -> None:
    query = "runtime=python&name=nobody"
    wanted: list[tuple[str, str, Any, str]] = [
        ("GET", f"/_fn/function?{query}", None, "unknown function"),
        ("DELETE", f"/_fn/function?{query}", None, "function not found"),
        ("GET", f"/_fn/function-config?{query}", None, "unknown function"),
        ("PUT", f"/_fn/function-config?{query}", {"timeout_ms": 5}, "unknown function"),
        ("GET", f"/_fn/function-env?{query}", None, "unknown function"),
        ("PUT", f"/_fn/function-env?{query}", {"A": "1"}, "unknown function"),
        ("PUT", f"/_fn/function-code?{query}", {"code": "x"}, "unknown function"),
        ("GET", "/_fn/function?runtime=b%20d&name=a", None, "invalid runtime"),
        ("GET", "/_fn/function?name=a", None, "invalid runtime"),
        ("GET", "/_fn/function?runtime=python&name=../a", None, "invalid function"),
        ("GET", "/_fn/function?runtime=python", None, "invalid function"),
        ("GET", "/_fn/function?runtime=python&name=whole&version=v9", None, "unknown function"),
        ("GET", "/_fn/function?runtime=python&name=whole&version=a/b", None, "invalid version"),
    ]
    for method, path, body, text in wanted:
        answer = await fastfn.request(method, path, json=body)
        assert (answer.status_code, answer.json()["error"]) == (404, text), (method, path)


async def test_file_route_is_shown_and_not_removed(fastfn: httpx.AsyncClient) -> None:
    query = {"runtime": "python", "name": "users/[id].py"}

    assert (await fastfn.get("/_fn/function", params=query)).json()["metadata"]["endpoints"]["public_route"] == "/users/:id"
    assert (await fastfn.delete("/_fn/function", params=query)).status_code == 400


@pytest.mark.parametrize("path", ["/_fn/invoke", "/_fn/jobs"])
@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"{", 400, "invalid json body"),
        (b"[]", 400, "invalid json body"),
        ({}, 400, "name is required"),
        ({"name": 5}, 400, "name is required"),
        ({"name": "a/../b"}, 400, "invalid name"),
        ({"name": "whole", "runtime": ""}, 400, "runtime"),
        ({"name": "whole", "runtime": 5}, 400, "runtime"),
        ({"name": "whole", "version": "a/b"}, 400, "invalid version"),
        ({"name": "whole", "method": "FETCH"}, 400, "unsupported method"),
        ({"name": "whole", "route": 5}, 400, "route must be a string when provided"),
        ({"name": "whole", "route": "no"}, 400, "invalid route"),
        ({"name": "whole", "route": "/_fn/health"}, 400, "invalid route"),
        ({"name": "whole", "params": []}, 400, "params must be a JSON object"),
        ({"name": "whole", "context": "x"}, 400, "context must be an object"),
        ({"name": "users/[id].py"}, 400, "missing required path params: id"),
        ({"name": "nobody"}, 404, "unknown function or version"),
        ({"name": "whole", "version": "v9"}, 404, "unknown function or version"),
        ({"name": "whole", "route": "/elsewhere"}, 404, "no mapped public route for target"),
        ({"name": "fresh", "method": "POST"}, 405, "method not allowed"),
        ({"name": "small", "method": "POST", "body": "x" * 1001}, 413, "payload too large"),
    ],
)
async def test_invocation_or_job_that_cannot_be_is_refused(
    fastfn: httpx.AsyncClient, path: str, body: Any, status: int, text: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await fastfn.post(path, content=content)

    told = answer.json()
    if "missing" in text and path == "/_fn/invoke":
        text = "missing required path params"
    if text == "runtime":
        text = "runtime must be a non-empty string" if path == "/_fn/invoke" else "invalid runtime"
    assert (answer.status_code, told["error"]) == (status, text)
    if status == 405:
        assert told["allowed_methods"] == ["GET"]
    if "missing" in text:
        assert (told["route"], told["missing_params"]) == ("/users/:id", ["id"])


async def test_invocation_has_an_envelope_and_an_event_of_its_own(fastfn: httpx.AsyncClient) -> None:
    body = {
        "name": "whole",
        "method": "PUT",
        "query": {"a": "1"},
        "headers": {"X-A": "b"},
        "body": {"j": 1},
        "context": {"u": 1},
    }

    told = (await fastfn.post("/_fn/invoke", json=body)).json()

    assert told.keys() >= {"status", "latency_ms", "route", "route_template", "headers", "body"}
    event = json.loads(told["body"])["event"]
    assert event["id"].startswith("invoke-")
    assert (event["method"], event["query"], event["headers"]["x-a"], event["body"]) == ("PUT", {"a": "1"}, "b", '{"j":1}')
    assert (event["client"]["ua"], event["context"]["user"]) == ("fastfn-console-invoke", {"u": 1})
    assert (await fastfn.post("/_fn/invoke", json={"name": "returns", "query": {"what": "error"}})).json()["status"] == 500
    binary = (await fastfn.post("/_fn/invoke", json={"name": "returns", "query": {"what": "binary"}})).json()
    assert (binary["is_base64"], binary["body_base64"]) == (True, "AP8=")
    assert "body" not in binary


async def test_job_has_every_field_of_the_contract(fastfn: httpx.AsyncClient) -> None:
    made = await fastfn.post("/_fn/jobs", json={"name": "whole", "query": {"a": "1"}, "context": {"u": 1}})
    assert made.status_code == 201, made.text
    meta = made.json()
    assert (meta["status"], meta["attempt"], meta["max_attempts"], meta["retry_delay_ms"]) == ("queued", 0, 1, 1000)
    assert (meta["runtime"], meta["name"], meta["method"], meta["route"]) == ("python", "whole", "GET", "/whole")
    assert meta["id"].startswith("job-")
    assert meta["route_template"] == "/whole"

    async def result() -> dict[str, Any] | None:
        answer = await fastfn.get(f"/_fn/jobs/{meta['id']}/result")
        if answer.status_code == 202:
            assert answer.json()["error"] == "result not ready"
            assert {"id", "status", "attempt", "max_attempts", "retry_delay_ms"} <= answer.json().keys()
            return None
        return answer.json()

    told = await eventually(result)
    assert told is not None
    assert told.keys() >= {"id", "status", "headers", "body", "is_base64", "latency_ms"}
    event = json.loads(told["body"])["event"]
    assert event["client"] == {"ip": "127.0.0.1", "ua": "fastfn-jobs"}
    assert (event["query"], event["context"]["user"]) == ({"a": "1"}, {"u": 1})
    assert any(each["id"] == meta["id"] for each in (await fastfn.get("/_fn/jobs?limit=200")).json()["jobs"])
    for path in ("/_fn/jobs/job-1", "/_fn/jobs/job-1/result"):
        assert (await fastfn.get(path)).json()["error"] == "job not found"
    assert (await fastfn.delete(f"/_fn/jobs/{meta['id']}")).json()["error"] == "job is not queued"


async def test_lists_are_lists_when_they_are_empty_and_shapes_are_the_contracts(fastfn: httpx.AsyncClient) -> None:
    assert (await fastfn.get("/whole")).status_code == 200

    async def heard_of() -> bool:  # on a busy machine an executor's heartbeat may be late
        return "python" in (await fastfn.get("/_fn/health")).json()["runtimes"]

    await eventually(heard_of)
    health, catalog, packs, schedules, functions, reloaded = [
        answer.json()
        for answer in await asyncio.gather(
            *(fastfn.get(f"/_fn/{name}") for name in ("health", "catalog", "packs", "schedules", "api/functions", "reload"))
        )
    ]
    assert {"config_loaded_at", "defaults", "functions_root", "socket_base_dir", "runtime_order", "hot_reload", "routing",
            "functions", "runtimes"} <= health.keys()  # fmt: skip
    assert {"enabled", "last_catalog_scan_at", "watchdog"} <= health["hot_reload"].keys()
    for runtime in (health["runtimes"].get("python"), health.get("python")):
        if runtime is not None:
            assert runtime["health"] == {"up": True, "reason": "ok"}
            assert {"index", "uri", "up", "reason"} <= runtime["sockets"][0].keys()
    assert {
        "total", "warm", "stale", "cold", "keep_warm_enabled", "pool_enabled", "pool_active", "pool_queued", "pool_queue_drops",
        "pool_queue_overflow_drops", "pool_queue_timeout_drops",
    } <= health["functions"]["summary"].keys()  # fmt: skip
    state = next(each for each in health["functions"]["states"] if each["key"] == "python/whole@default")
    assert state.keys() >= {"runtime", "name", "state", "keep_warm", "worker_pool"}
    assert {"enabled", "max_workers", "max_queue", "overflow_status", "active", "queued", "queue_drops"} <= state[
        "worker_pool"
    ].keys()
    assert catalog["mapped_routes"]["/users/:id"] == [
        {"runtime": "python", "fn_name": "users/[id].py", "methods": ["GET"], "source_rank": 1, "force_url": False}
    ]
    assert catalog["mapped_route_conflicts"]["/twin"] is True
    whole = next(each for each in catalog["runtimes"]["python"]["functions"] if each["name"] == "whole")
    assert whole.keys() >= {"name", "has_default", "versions", "policy", "versions_policy"}
    assert (whole["has_default"], whole["versions"]) == (True, ["v2"])
    assert not any(each["name"] == "users/[id].py" for each in catalog["runtimes"]["python"]["functions"])
    assert packs["runtimes"]["python"]["packs"] == []
    assert (isinstance(schedules["schedules"], list), isinstance(schedules["keep_warm"], list)) == (True, True)
    assert any((each["runtime"], each["name"]) == ("node", "whole-js") for each in functions)
    assert reloaded.keys() >= {"ok", "reloaded_at", "functions_root", "runtime_order", "catalog_generated_at"}


async def test_unknown_methods_of_the_console_are_405(fastfn: httpx.AsyncClient) -> None:
    for method, path in (
        ("PATCH", "/_fn/function"), ("POST", "/_fn/function-config"), ("DELETE", "/_fn/function-env"),
        ("GET", "/_fn/function-code"), ("POST", "/_fn/function-files"), ("POST", "/_fn/function-file-content"),
        ("POST", "/_fn/catalog"), ("PUT", "/_fn/reload"), ("POST", "/_fn/packs"), ("PUT", "/_fn/schedules"),
        ("PUT", "/_fn/secrets"), ("POST", "/_fn/dashboard"), ("POST", "/_fn/logs"), ("GET", "/_fn/invoke"),
        ("GET", "/_fn/login"), ("GET", "/_fn/logout"), ("PUT", "/_fn/jobs/job-1"), ("POST", "/_fn/health"),
    ):  # fmt: skip
        answer = await fastfn.request(method, path)
        assert (answer.status_code, answer.json()["error"]) == (405, "method not allowed"), (method, path)


async def test_logs_and_secrets_refuse_in_the_contracts_words(fastfn: httpx.AsyncClient) -> None:
    for path, text in (("/_fn/logs?file=passwd", "invalid file"), ("/_fn/logs?file=runtime&stream=x", "invalid stream")):
        answer = await fastfn.get(path)
        assert (answer.status_code, answer.json()["error"]) == (400, text)
    shown = (await fastfn.get("/_fn/logs?file=runtime&format=json&lines=5&fn=whole&stream=stdout")).json()
    assert shown.keys() >= {"file", "lines", "runtime", "fn", "version", "stream", "data"}
    refused = await fastfn.post("/_fn/secrets", json={"key": "A"})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid json body: require key/value")
    assert (await fastfn.delete("/_fn/secrets")).json()["error"] == "missing key parameter"
    made = await fastfn.post("/_fn/secrets", json={"key": "OF_A_TEST", "value": "never-shown"})
    assert (made.status_code, made.json()) == (201, {"status": "created", "key": "OF_A_TEST"})
    listed = await fastfn.get("/_fn/secrets")
    assert "never-shown" not in listed.text
    assert {"key", "created"} <= next(each for each in listed.json() if each["key"] == "OF_A_TEST").keys()
    for _ in range(2):
        gone = await fastfn.delete("/_fn/secrets?key=OF_A_TEST")
        assert (gone.status_code, gone.json()) == (200, {"status": "deleted", "key": "OF_A_TEST"})
    assert (await fastfn.post("/_fn/login", json={})).json()["error"] == "login disabled"
    for method, path in (("PUT", "/_fn/ui-state"), ("POST", "/_fn/secrets")):
        large = await fastfn.request(method, path, content=b" " * (128 * 1024 + 1))
        assert (large.status_code, large.json()["error"]) == (413, "payload too large")
    wrong = await fastfn.put("/_fn/ui-state", json={"ui_enabled": "yes"})
    assert (wrong.status_code, wrong.json()["error"]) == (400, "ui_enabled must be boolean")
