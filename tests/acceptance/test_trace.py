"""One trace from the request to the user's code, read back from a real Jaeger."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from libs.testing.cluster import Cluster, running_cluster
from libs.testing.jaeger import JaegerServer, running_jaeger
from libs.testing.wait import eventually

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"

type Span = dict[str, Any]


@pytest.fixture
async def jaeger() -> AsyncIterator[JaegerServer]:
    async with running_jaeger() as server:
        yield server


@pytest.fixture
async def cluster(tmp_path: Path, jaeger: JaegerServer) -> AsyncIterator[Cluster]:
    functions = tmp_path / "functions"
    (functions / "python" / "tick").mkdir(parents=True)
    (functions / "get.where.py").write_text("def handler(event):\n    return event['context']['traceparent']\n")
    (functions / "get.fail.py").write_text("def handler(event):\n    raise RuntimeError('boom')\n")
    (functions / "python" / "tick" / "handler.py").write_text("def handler(event):\n    return 'tick'\n")
    (functions / "python" / "tick" / "fn.config.json").write_text('{"schedule": {"enabled": true, "every_seconds": 2}}')
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_endpoint}
    async with running_cluster(tmp_path / "cluster", functions, settings=settings) as made:
        yield made


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=cluster.url, timeout=20) as made:
        yield made


async def spans(jaeger: JaegerServer, trace_id: str, *names: str) -> dict[str, Span]:
    """Return the spans of a trace by operation, once all `names` have come."""

    async def look() -> dict[str, Span]:
        found = await jaeger.trace(trace_id)
        assert found is not None, f"no trace {trace_id} yet"
        by_name = {span["operationName"]: span | {"service": service(found, span)} for span in found["spans"]}
        assert set(names) <= set(by_name), sorted(by_name)
        return by_name

    return await eventually(look, every=0.2)


def service(trace: dict[str, Any], span: Span) -> str:
    return str(trace["processes"][span["processID"]]["serviceName"])


def parent(span: Span) -> str:
    return next((str(each["spanID"]) for each in span["references"] if each["refType"] == "CHILD_OF"), "")


def tags(span: Span) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in span["tags"]}


async def test_call_is_one_trace_from_the_caller_to_the_handler(client: httpx.AsyncClient, jaeger: JaegerServer) -> None:
    answer = await client.get("/where", headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})
    assert answer.status_code == 200
    assert answer.headers["traceparent"].split("-")[1] == TRACE
    found = await spans(jaeger, TRACE, "GET /where", "queue", "cold start", "handler")
    server, handler = found["GET /where"], found["handler"]
    assert server["service"] == "fnbus-gateway"
    assert parent(server) == CALLER
    assert tags(server)["span.kind"] == "server"
    assert tags(server)["http.response.status_code"] == 200
    for name in ("queue", "cold start", "handler"):
        assert found[name]["service"] == "fnbus-executor"
        assert parent(found[name]) == server["spanID"]
    assert answer.text == f"00-{TRACE}-{handler['spanID']}-01"


async def test_failing_call_is_marked_as_an_error(client: httpx.AsyncClient, jaeger: JaegerServer) -> None:
    answer = await client.get("/fail")
    assert answer.status_code == 500
    found = await spans(jaeger, answer.headers["traceparent"].split("-")[1], "GET /fail", "handler")
    assert tags(found["handler"]).get("error") is True
    assert tags(found["GET /fail"]).get("error") is True


async def test_each_attempt_of_a_job_is_a_trace_linked_to_its_submission(
    client: httpx.AsyncClient, jaeger: JaegerServer
) -> None:
    body = {"name": "get.fail.py", "max_attempts": 2, "retry_delay_ms": 10}
    accepted = await client.post("/_fn/jobs", json=body, headers={"traceparent": f"00-{TRACE[::-1]}-{CALLER}-01"})
    assert accepted.status_code == 201, accepted.text
    job_id = accepted.json()["id"]

    async def failed() -> bool:
        return (await client.get(f"/_fn/jobs/{job_id}")).json()["status"] == "failed"

    await eventually(failed)
    submit = (await spans(jaeger, TRACE[::-1], "job submit"))["job submit"]
    assert submit["service"] == "fnbus-scheduler"

    async def attempts() -> list[dict[str, Any]]:
        traces = await jaeger.traces("fnbus-scheduler")
        found = [trace for trace in traces if any(tags(span).get("messaging.message.id") == job_id for span in trace["spans"])]
        found = [trace for trace in found if any(span["operationName"] == "job attempt" for span in trace["spans"])]
        assert len(found) == 2, len(found)
        assert all(any(span["operationName"] == "handler" for span in trace["spans"]) for trace in found)
        return found

    for trace in await eventually(attempts, every=0.2):
        root = next(span for span in trace["spans"] if span["operationName"] == "job attempt")
        handler = next(span for span in trace["spans"] if span["operationName"] == "handler")
        links = {(each["traceID"], each["spanID"]) for each in root["references"] if each["refType"] == "FOLLOWS_FROM"}
        assert links == {(TRACE[::-1], submit["spanID"])}
        assert parent(handler) == root["spanID"]
        assert service(trace, handler) == "fnbus-executor"


async def test_tick_is_a_fire_and_then_a_linked_attempt(jaeger: JaegerServer, cluster: Cluster) -> None:
    async def linked() -> bool:
        traces = await jaeger.traces("fnbus-scheduler")
        every = [span for trace in traces for span in trace["spans"]]
        fires = {span["spanID"] for span in every if span["operationName"] == "schedule fire"}
        runs = [span for span in every if span["operationName"] == "job attempt"]
        return any(each["spanID"] in fires for span in runs for each in span["references"])

    assert cluster.of("scheduler")
    await eventually(linked, every=0.3)
