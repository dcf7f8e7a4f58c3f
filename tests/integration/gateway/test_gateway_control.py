"""The control plane over HTTP, with a scheduler that keeps jobs in memory."""

from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from libs.messages import codec, jobs, subjects
from libs.messages.catalog import CatalogMeta
from libs.testing.buses import Net
from libs.testing.fakes import FakeExecutor, FakeScheduler, answer, function_entry, project
from libs.testing.wait import eventually
from services.gateway.assembly import Gateway


@pytest.fixture
async def functions(net: Net, gateway: Gateway) -> None:
    """Two functions and a conflict."""
    hello = function_entry("hello", methods=("GET", "POST"), labels=("default", "v2"))
    await project(
        await net.connect("registry"),
        hello,
        function_entry("users/[id].py", "/users/:id", file_route=True),
        conflicts=("/twice",),
    )
    await eventually(lambda: gateway.catalogue.table.conflicts)


@pytest.mark.usefixtures("functions")
async def test_job_is_accepted_shown_and_listed(client: httpx.AsyncClient, scheduler: FakeScheduler) -> None:
    made = await client.post(
        "/_fn/jobs",
        json={
            "name": "users/[id].py",
            "params": {"id": "5"},
            "query": {"q": 1},
            "context": {"u": 1},
            "max_attempts": 3,
            "body": {"a": 1},
        },
    )
    assert made.status_code == 201
    shown = made.json()
    assert shown | {"created_at_ms": 0, "updated_at_ms": 0} == {
        "id": "job-1",
        "status": "queued",
        "created_at_ms": 0,
        "updated_at_ms": 0,
        "runtime": "python",
        "name": "users/[id].py",
        "method": "GET",
        "route": "/users/5",
        "route_template": "/users/:id",
        "attempt": 0,
        "max_attempts": 3,
        "retry_delay_ms": 1000,
        "runs": 0,
    }
    submitted = scheduler.submitted[0]
    assert (submitted.request.body, submitted.request.query, submitted.request.user_context) == (
        b'{"a":1}',
        {"q": "1"},
        {"u": 1},
    )
    assert submitted.traceparent == made.headers["traceparent"]
    assert (await client.get("/_fn/jobs/job-1")).json() == shown
    assert (await client.get("/_fn/jobs?limit=900")).json() == {"jobs": [shown]}


@pytest.mark.usefixtures("functions")
async def test_job_result_goes_from_not_ready_to_the_answer(client: httpx.AsyncClient, scheduler: FakeScheduler) -> None:
    await client.post("/_fn/jobs", json={"name": "hello"})
    waiting = await client.get("/_fn/jobs/job-1/result")
    assert (waiting.status_code, waiting.json()["error"], waiting.json()["status"]) == (202, "result not ready", "queued")
    done = replace(scheduler.jobs["job-1"], state=jobs.JobState.DONE)
    head = b'[["content-type","text/plain"],["set-cookie","a"],["set-cookie","b"]]'
    scheduler.results["job-1"] = jobs.JobResult(job=done, ready=True, status=200, head=head, body=b"\xff", latency_ms=1.5)
    result = await client.get("/_fn/jobs/job-1/result")
    assert (result.status_code, result.json()) == (
        200,
        {
            "id": "job-1",
            "status": 200,
            "headers": {"content-type": "text/plain", "set-cookie": ["a", "b"]},
            "latency_ms": 1.5,
            "is_base64": True,
            "body_base64": "/w==",
        },
    )
    scheduler.results["job-1"] = jobs.JobResult(job=replace(done, state=jobs.JobState.FAILED), ready=False)
    missing = await client.get("/_fn/jobs/job-1/result")
    assert (missing.status_code, missing.json()["error"], missing.json()["status"]) == (404, "result not found", "failed")


@pytest.mark.usefixtures("functions", "scheduler")
async def test_job_is_canceled_once(client: httpx.AsyncClient) -> None:
    await client.post("/_fn/jobs", json={"name": "hello"})
    first, second = await client.delete("/_fn/jobs/job-1"), await client.delete("/_fn/jobs/job-1")
    assert (first.status_code, first.json()["status"]) == (200, "canceled")
    assert (second.status_code, second.json()["error"]) == (409, "job is not queued")


@pytest.mark.usefixtures("functions")
async def test_job_that_failed_is_retried_once(client: httpx.AsyncClient, scheduler: FakeScheduler) -> None:
    await client.post("/_fn/jobs", json={"name": "hello"})
    early = await client.post("/_fn/jobs/job-1/retry")
    assert (early.status_code, early.json()["error"]) == (409, "job has not failed")
    scheduler.jobs["job-1"] = replace(scheduler.jobs["job-1"], state=jobs.JobState.FAILED)
    first, second = await client.post("/_fn/jobs/job-1/retry"), await client.post("/_fn/jobs/job-1/retry")
    assert (first.status_code, first.json()["status"]) == (200, "queued")
    assert (second.status_code, second.json()["error"]) == (409, "job has not failed")
    unknown = await client.post("/_fn/jobs/none/retry")
    assert (unknown.status_code, unknown.json()["error"]) == (404, "job not found")


@pytest.mark.usefixtures("functions", "scheduler")
@pytest.mark.parametrize("path", ["/_fn/jobs/none", "/_fn/jobs/none/result", "/_fn/jobs/{id}", "/_fn/jobs/{id}/result"])
async def test_unknown_job_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert (response.status_code, response.json()["error"]) == (404, "job not found")


@pytest.mark.usefixtures("functions", "scheduler")
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "/_fn/jobs", b"{", 400, "invalid json body"),
        ("POST", "/_fn/jobs", b"{}", 400, "name is required"),
        ("POST", "/_fn/jobs", b'{"name":"nobody"}', 404, "unknown function or version"),
        ("POST", "/_fn/jobs", b'{"name":"hello","method":"PUT"}', 405, "method not allowed"),
        ("POST", "/_fn/jobs", b'{"name":"users/[id].py"}', 400, "missing required path params: id"),
        ("POST", "/_fn/jobs", b" " * (5 << 20), 413, "payload too large"),
        ("PATCH", "/_fn/jobs", b"", 405, "method not allowed"),
        ("POST", "/_fn/health", b"", 405, "method not allowed"),
        ("PUT", "/_fn/jobs/job-1", b"", 405, "method not allowed"),
        ("GET", "/_fn/jobs/", b"", 404, "not found"),
        ("GET", "/_fn/jobs/job-1/", b"", 404, "not found"),
        ("GET", "/_fn/jobs/job-1/else", b"", 404, "not found"),
        ("GET", "/_fn/nothing", b"", 404, "not found"),
    ],
)
async def test_bad_request_is_refused_with_the_contracts_text(
    client: httpx.AsyncClient, method: str, path: str, body: bytes, status: int, text: str
) -> None:
    response = await client.request(method, path, content=body)
    assert (response.status_code, response.json()["error"]) == (status, text)
    if status == 405:
        assert response.headers["allow"]


@pytest.mark.usefixtures("functions")
@pytest.mark.parametrize("path", ["/_fn/jobs", "/_fn/schedules", "/_fn/executions", "/_fn/dead-letters"])
async def test_management_without_its_service_is_unavailable(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.json()["error"] == "service unavailable"


@pytest.mark.usefixtures("scheduler")
async def test_schedules_and_dead_letters_are_shown(client: httpx.AsyncClient) -> None:
    listing = (await client.get("/_fn/schedules")).json()
    schedule, kept = listing["schedules"][0], listing["keep_warm"][0]
    assert (len(listing["schedules"]), kept["key"], kept["keep_warm"]) == (1, "python/tick@default", {"min_warm": 1})
    assert (kept["state"]["warm_state"], kept["state"]["last_status"]) == ("warm", 200)
    assert (schedule["key"], schedule["schedule"], schedule["state"]["last_status"]) == (
        "python/tick@default",
        {"every_seconds": 1},
        200,
    )
    letter = (await client.get("/_fn/dead-letters")).json()["dead_letters"][0]
    assert (letter["reason"], letter["data_base64"]) == ("not msgpack", "/w==")


@pytest.mark.usefixtures("functions")
async def test_health_and_catalogue_have_fastfns_shape(client: httpx.AsyncClient) -> None:
    await client.get("/hello")
    health = (await client.get("/_fn/health")).json()
    assert health["routing"] == {"mapped_routes": 2, "mapped_route_conflicts": 1}
    assert health["functions"]["summary"] | {"total": 2, "warm": 1, "cold": 1} == health["functions"]["summary"]
    assert health["functions"]["states"][0]["key"] == "python/hello@default"
    assert health["runtimes"]["python"]["health"]["up"] is True
    assert health["python"] == health["runtimes"]["python"]
    catalog = (await client.get("/_fn/catalog")).json()
    assert catalog["mapped_routes"]["/users/:id"] == [
        {"runtime": "python", "fn_name": "users/[id].py", "methods": ["GET"], "source_rank": 1, "force_url": False}
    ]
    assert catalog["mapped_route_conflicts"] == {"/twice": True}
    assert [each["name"] for each in catalog["runtimes"]["python"]["functions"]] == ["hello"]
    assert catalog["runtimes"]["python"]["functions"][0]["versions"] == ["v2"]


async def test_health_is_503_until_an_executor_is_there(client: httpx.AsyncClient, net: Net, gateway: Gateway) -> None:
    await eventually(lambda: gateway.executors.alive())
    assert (await client.get("/_fn/health")).status_code == 200
    await net.crash()
    response = await client.get("/_fn/health")
    assert (response.status_code, response.json()["status"]) == (503, "the bus is not connected")


@pytest.mark.usefixtures("functions")
async def test_invoke_answers_with_an_envelope_and_enforces_limits(client: httpx.AsyncClient, executor: FakeExecutor) -> None:
    executor.behaviour = lambda _: answer(b"hi", status=418, head=b'[["content-type","text/plain"]]')
    body = (await client.post("/_fn/invoke", json={"name": "hello", "version": "v2", "context": {"id": 1}})).json()
    assert (body["status"], body["body"], body["route"], body["headers"]) == (
        418,
        "hi",
        "/hello@v2",
        {"content-type": "text/plain"},
    )
    assert executor.invocations[0].id.startswith("invoke-")
    refused = await client.post("/_fn/invoke", json={"name": "hello", "method": "PUT"})
    assert (refused.status_code, refused.json()["allowed_methods"]) == (405, ["GET", "POST"])


OPEN = {
    "/_fn/health",
    "/system/metrics",
    "/openapi.json",
    "/_fn/openapi.json",
    "/docs",
    "/_fn/docs",
    "/docs/{id}",
    "/_fn/docs/{id}",
}


def endpoints(gateway: Gateway) -> dict[str, list[str]]:
    """Return every path of the control plane with its methods."""
    control = gateway.edge._control  # pyright: ignore[reportPrivateUsage]  a new one has to be among those that are asked
    return {path: [*handlers] for path, handlers in control._endpoints.items()}


async def test_every_endpoint_but_the_open_ones_is_closed_to_strangers(client: httpx.AsyncClient, gateway: Gateway) -> None:
    answered: dict[str, tuple[int, str]] = {}
    for path, methods in endpoints(gateway).items():
        for method in methods:
            answer = await client.request(method, path.replace("{id}", "1"), headers={"x-forwarded-for": "127.0.0.1"})
            if path not in OPEN:
                answered[f"{method} {path}"] = (answer.status_code, answer.json()["error"])
    assert len(answered) > 10
    assert {name: found for name, found in answered.items() if found != (403, "console api local-only")} == {}


async def test_every_write_from_another_site_is_refused(client: httpx.AsyncClient, gateway: Gateway) -> None:
    answered: dict[str, tuple[int, str]] = {}
    for path, methods in endpoints(gateway).items():
        for method in set(methods) - {"GET", "HEAD"}:
            answer = await client.request(method, path.replace("{id}", "1"), headers={"origin": "https://evil.test"})
            answered[f"{method} {path}"] = (answer.status_code, answer.json()["error"])
    assert len(answered) > 5
    assert {name: found for name, found in answered.items() if found != (403, "missing CSRF header")} == {}


async def test_health_tells_strangers_no_path(client: httpx.AsyncClient, net: Net, gateway: Gateway) -> None:
    bucket = await (await net.connect("registry")).bucket(subjects.CATALOG_BUCKET)
    meta = CatalogMeta(generated_at=datetime.now(UTC), functions_root="/srv/functions")
    await bucket.put(subjects.CATALOG_META, codec.encode(meta))
    await eventually(lambda: gateway.catalogue.meta)
    assert (await client.get("/_fn/health")).json()["functions_root"] == "/srv/functions"
    forwarded = await client.get("/_fn/health", headers={"x-forwarded-for": "203.0.113.9"})
    assert forwarded.json()["functions_root"] == ""


async def test_write_from_another_site_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/_fn/jobs", content=b"{}", headers={"origin": "https://evil.test"})
    assert (response.status_code, response.json()["error"]) == (403, "missing CSRF header")


async def test_forwarded_request_is_not_local_without_the_token(client: httpx.AsyncClient) -> None:
    forwarded = {"x-forwarded-for": "127.0.0.1"}
    refused = await client.get("/_fn/catalog", headers=forwarded)
    assert (refused.status_code, refused.json()["error"]) == (403, "console api local-only")
    assert (await client.get("/_fn/catalog", headers=forwarded | {"x-fn-admin-token": "secret"})).status_code == 200
    assert (await client.get("/_fn/health", headers=forwarded)).status_code in (200, 503)


@pytest.mark.usefixtures("functions")
async def test_metrics_count_calls_by_function_and_status(client: httpx.AsyncClient) -> None:
    await client.get("/hello")
    await client.get("/nobody")
    text = (await client.get("/metrics")).text
    assert 'fnbus_gateway_calls_total{function="hello",runtime="python",status="2xx",version="default"} 1.0' in text
    assert 'fnbus_gateway_calls_total{function="",runtime="",status="4xx",version=""} 1.0' in text
    assert "fnbus_bus_connected 1.0" in text


@pytest.mark.parametrize("text", ["!", "é", "AAA"])
async def test_file_that_is_no_base64_is_a_bad_request(client: httpx.AsyncClient, text: str) -> None:
    query = "?runtime=python&name=hello"
    written = await client.put(f"/_fn/function-file-content{query}", json={"path": "a.bin", "content_base64": text})
    assert (written.status_code, written.json()["error"]) == (400, "content_base64 must be base64")
    deployed = await client.put("/_fn/files", json={"put": {"a/b.bin": {"content_base64": text}}})
    assert (deployed.status_code, deployed.json()["error"]) == (400, "content_base64 must be base64")
