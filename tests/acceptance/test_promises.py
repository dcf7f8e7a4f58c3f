"""Where FastFN is weak, each row of a list: what is promised here instead, on a whole platform.

Rows that have modules of their own: jobs and restarts (`test_jobs`), many machines (`cluster`), secrets and logins
(`test_security`), deadlines and clients that leave (`test_calls`), bad requests (`test_bad_input`), logs (`test_logs`), the
console's texts (`test_fastfn_console`), variables (`test_fastfn_variables`), isolation (`tests/integration/isolation`).
"""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from libs.testing.beacon import Beacon
from libs.testing.cluster import Cluster
from libs.testing.wait import eventually


async def active(http: httpx.AsyncClient, name: str) -> int:
    """Return how many slots of a function are taken."""
    states = (await http.get("/_fn/health")).json()["functions"]["states"]
    return sum(each["worker_pool"]["active"] for each in states if each["name"] == name)


async def job_of(http: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    return (await http.get(f"/_fn/jobs/{job_id}")).json()


async def ended(http: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    async def check() -> dict[str, Any] | None:
        found = await job_of(http, job_id)
        return found if found["status"] in ("done", "failed", "canceled") else None

    found = await eventually(check, every=0.1)
    assert found is not None
    return found


async def test_handler_that_raises_runs_once(http: httpx.AsyncClient, beacon: Beacon) -> None:
    """Row 9: FastFN's Python runs such a handler twice."""
    for path in ("/raises-once", "/raises-once-js"):
        before = len(beacon.connections)
        answer = await http.get(path, params={"port": beacon.port})
        assert (answer.status_code, answer.json()["error"]) == (500, "after it was done")
        await beacon.arrived(before + 1)
        assert (await http.get("/fine")).text == "fine"
        assert len(beacon.connections) == before + 1


async def test_job_that_finds_its_function_full_is_tried_again_and_not_done(http: httpx.AsyncClient, beacon: Beacon) -> None:
    """Row 4: with FastFN a job that is turned away with 429 counts as done, and its work is lost."""
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(http.get("/single", params={"port": beacon.port}))
        await beacon.arrived(1)
        made = await http.post("/_fn/jobs", json={"name": "single", "query": {"port": str(beacon.port)}})
        beacon.release()
        await beacon.arrived(2)
        beacon.release()
    found = await ended(http, made.json()["id"])
    assert (call.result().status_code, found["status"], found["result_status"]) == (200, "done", 200)


async def test_answer_of_a_job_that_is_4xx_is_done_and_5xx_is_failed_with_its_error(http: httpx.AsyncClient) -> None:
    for status, state in ((404, "done"), (500, "failed")):
        made = await http.post("/_fn/jobs", json={"name": "status", "query": {"status": str(status)}})
        found = await ended(http, made.json()["id"])
        assert (found["status"], found["result_status"]) == (state, status)


async def test_busy_node_function_does_not_hold_up_another(hostile: Cluster, http: httpx.AsyncClient) -> None:
    """Row 14: one event loop for all functions."""
    async with httpx.AsyncClient(base_url=hostile.url, timeout=120, verify=False) as leaver:
        blocked = asyncio.create_task(leaver.get("/blocks"))

        async def runs() -> bool:
            return await active(http, "blocks") == 1

        await eventually(runs)
        assert (await http.post("/echo-js", content=b"x")).content == b"x"
        assert not blocked.done()
        blocked.cancel()
        await asyncio.gather(blocked, return_exceptions=True)

    async def is_free() -> bool:
        return await active(http, "blocks") == 0

    await eventually(is_free)


async def test_dashboard_counts_what_ran(http: httpx.AsyncClient) -> None:
    """Row 20: FastFN's figures are random."""

    async def figures() -> dict[str, Any]:
        return (await http.get("/_fn/dashboard")).json()

    async with asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(http.get("/status", params={"status": status})) for status in ("200", "200", "500")]
    ids = {call.result().headers["x-request-id"] for call in calls}

    async def all_are_told() -> bool:
        listed = (await http.get("/_fn/executions?function=status&limit=500")).json()["executions"]
        assert ids <= {each["id"] for each in listed}
        return True

    await eventually(all_are_told, every=0.1)
    told = await figures()
    assert told["requests_24h"] >= 3
    assert told["errors_24h"] >= 1
    assert told["avg_latency_ms"] > 0
    assert sum(told["invocations_chart"]["data"]) == told["requests_24h"]
    assert len(told["invocations_chart"]["labels"]) == len(told["invocations_chart"]["data"])


async def test_figures_for_prometheus_name_functions_and_statuses(http: httpx.AsyncClient) -> None:
    assert (await http.get("/fine")).status_code == 200

    metrics = (await http.get("/metrics")).text

    assert re.search(r'^fnbus_\w+\{[^}]*function="fine"[^}]*\} \d', metrics, re.MULTILINE)
    assert re.search(r'status="2?0?0?[^"]*"', metrics)


@pytest.mark.parametrize(
    "path", ["/broken", "/broken-js", "/imports", "/no-handler", "/raises", "/raises-js", "/nowhere", "/both"]
)
async def test_error_has_an_id_and_no_path_of_the_machine(hostile: Cluster, http: httpx.AsyncClient, path: str) -> None:
    """Row 26."""
    answer = await http.get(path)

    assert answer.status_code >= 400
    assert answer.json()["request_id"] if "request_id" in answer.json() else answer.headers["x-request-id"]
    for place in (hostile.functions, hostile.folder, Path(__file__).parents[2]):
        assert str(place) not in answer.text


async def test_public_caller_is_nobody_and_forwarded_headers_say_nothing(http: httpx.AsyncClient) -> None:
    """Rows 22 and 23."""
    forged = {"x-forwarded-for": "10.1.2.3", "x-forwarded-host": "api.example.com", "x-forwarded-proto": "https"}
    event = (await http.get("/whole?__fnctx=eyJ1c2VyIjp7ImlkIjoxfX0=", headers=forged)).json()["event"]

    assert "user" not in event["context"]
    assert event["client"]["ip"] == "127.0.0.1"
    assert (await http.get("/hosted", headers=forged)).status_code == 421
    invoked = (await http.post("/_fn/invoke", json={"name": "whole", "context": {"id": 1}})).json()
    event = json.loads(invoked["body"])["event"]
    assert (event["context"]["user"], event["query"]) == ({"id": 1}, {})
    for address in ("10.0.0.9", "192.168.1.9", "172.16.0.9", "fd00::9"):
        told = await http.get("/_fn/catalog", headers={"x-forwarded-for": address})
        assert (told.status_code, told.json()["error"]) == (403, "console api local-only")


async def test_figures_of_the_platform_tell_strangers_no_path(hostile: Cluster, http: httpx.AsyncClient) -> None:
    for path in ("/_fn/health", "/system/metrics", "/openapi.json"):
        answer = await http.get(path, headers={"x-forwarded-for": "10.1.2.3"})
        assert str(hostile.functions.parent) not in answer.text


async def test_value_of_a_secret_is_shown_nowhere(http: httpx.AsyncClient) -> None:
    """Row 10: FastFN shows them through `function-file-content`."""
    wanted = "runtime=python&name=whole"
    value = '"t"'
    for path in (
        f"/_fn/function?{wanted}", f"/_fn/function-env?{wanted}", f"/_fn/function-config?{wanted}", "/_fn/catalog",
        f"/_fn/function-file-content?{wanted}&path=fn.env.json", "/_fn/files", "/_fn/files?contents=1", "/_fn/audit",
    ):  # fmt: skip
        assert value not in (await http.get(path)).text, path


async def test_handler_that_waits_in_node_is_dead_with_the_504(http: httpx.AsyncClient, beacon: Beacon) -> None:
    """Row 8, in Node; Python's is in `test_calls`."""

    async def is_warm() -> bool:
        return (await http.get("/hangs-js")).text == "warm"

    await eventually(is_warm)
    answer = await http.get("/hangs-js", params={"port": beacon.port})

    assert (answer.status_code, answer.json()["error"]) == (504, "runtime timeout")
    await beacon.arrived(1)
    assert not beacon.alive()


async def test_preflight_and_head_and_streams_are_there(http: httpx.AsyncClient) -> None:
    """Row 18."""
    assert (await http.options("/fine")).status_code == 204
    head = await http.head("/fine")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "4")
    async with http.stream("GET", "/pieces") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        assert [line async for line in answer.aiter_lines() if line] == ["data: 0", "data: 1", "data: 2"]
