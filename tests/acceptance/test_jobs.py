"""Jobs under attack: bad submissions, handlers that die, garbage on the bus, services that are killed."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from libs.bus import jetstream
from libs.bus.port import Bus
from libs.messages import codec, subjects
from libs.messages.calls import FailureCode, Reply
from libs.messages.jobs import JobEvent
from libs.testing.beacon import Beacon, running_beacon
from libs.testing.cluster import Cluster, running_cluster
from libs.testing.hostile import FUNCTIONS, write
from libs.testing.wait import eventually

ENDED = ("done", "failed", "canceled")
GARBAGE = [b"", b"\xff" * 100, b"{}", bytes(range(256)) * 64]
NAMES = ["empty", "no msgpack", "json", "bytes"]


async def submit(http: httpx.AsyncClient, name: str, **fields: object) -> str:
    answer = await http.post("/_fn/jobs", json={"name": name, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def job_of(http: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    answer = await http.get(f"/_fn/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ended(http: httpx.AsyncClient, job_id: str, *, within: float = 60) -> dict[str, Any]:
    """Wait until a job has ended and return it."""

    async def check() -> dict[str, Any] | None:
        found = await job_of(http, job_id)
        return found if found["status"] in ENDED else None

    found = await eventually(check, within=within, every=0.1)
    assert found is not None
    return found


async def letters(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await http.get("/_fn/dead-letters", params={"limit": 200})
    assert answer.status_code == 200, answer.text
    return answer.json()["dead_letters"]


@pytest.fixture
async def bus(hostile: Cluster) -> AsyncIterator[Bus]:
    """A connection to the platform's bus that may say anything."""
    made = await jetstream.connect(url=hostile.nats.url, user="", password="", name="attacker")
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "invalid json body"),
        (b"{", "invalid json body"),
        (b"[]", "invalid json body"),
        (b"\xff", "invalid json body"),
        (b'{"name": ' + b"[" * 3000, "invalid json body"),
        (b"{}", "name is required"),
        (b'{"name": 7}', "name is required"),
        (b'{"name": "a b"}', "invalid name"),
        (b'{"name": "../fine"}', "invalid name"),
        (b'{"name": "fine", "version": "a b"}', "invalid version"),
        (b'{"name": "fine", "runtime": "p y"}', "invalid runtime"),
        (b'{"name": "fine", "method": "FETCH"}', "unsupported method"),
        (b'{"name": "fine", "route": 7}', "route must be a string when provided"),
        (b'{"name": "fine", "route": "fine"}', "invalid route"),
        (b'{"name": "fine", "route": "/../fine"}', "invalid route"),
        (b'{"name": "fine", "route": "/_fn/jobs"}', "invalid route"),
        (b'{"name": "fine", "params": []}', "params must be a JSON object"),
        (b'{"name": "/items/:id"}', "missing required path params: id"),
        (b'{"name": "fine", "context": []}', "context must be an object"),
    ],
)
@pytest.mark.parametrize("path", ["/_fn/jobs", "/_fn/invoke"])
async def test_bad_submission_is_400_with_what_is_wrong(http: httpx.AsyncClient, path: str, body: bytes, text: str) -> None:
    answer = await http.post(path, content=body)

    if path == "/_fn/invoke":  # names them beside the text
        text = text.removesuffix(": id")
    assert (answer.status_code, answer.json()["error"]) == (400, text)
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": "nobody"}, "unknown function or version"),
        ({"name": "fine", "version": "v9"}, "unknown function or version"),
        ({"name": "fine", "runtime": "cobol"}, "unknown function or version"),
        ({"name": "fine", "route": "/elsewhere"}, "no mapped public route for target"),
    ],
)
async def test_submission_for_nobody_is_404(http: httpx.AsyncClient, fields: dict[str, str], text: str) -> None:
    answer = await http.post("/_fn/jobs", json=fields)

    assert (answer.status_code, answer.json()["error"]) == (404, text)


async def test_wrong_method_is_405_with_the_right_ones(http: httpx.AsyncClient) -> None:
    target = await http.post("/_fn/jobs", json={"name": "fine", "method": "POST"})
    endpoint = await http.put("/_fn/jobs", json={"name": "fine"})
    options = await http.options("/_fn/jobs")

    assert (target.status_code, target.headers["allow"], target.json()["error"]) == (405, "GET", "method not allowed")
    assert (endpoint.status_code, endpoint.headers["allow"]) == (405, "POST, GET")
    assert (options.status_code, options.headers["allow"]) == (204, "POST, GET")


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "small", "method": "POST", "body": "x" * 1001},
        {"name": "fine", "query": {"q": "x" * 2_000_000}},
        {"name": "fine", "context": {"q": "x" * 2_000_000}},
        {"name": "items/[id].py", "params": {"id": "x" * 20_000}},
        {"name": "fine", "body": "x" * 13_000_000},
    ],
    ids=["body", "query", "context", "params", "all"],
)
async def test_submission_too_large_is_413(http: httpx.AsyncClient, fields: dict[str, object]) -> None:
    answer = await http.post("/_fn/jobs", json=fields)

    assert (answer.status_code, answer.json()["error"]) == (413, "payload too large")


async def test_jobs_are_listed_however_much_was_sent_with_them(http: httpx.AsyncClient) -> None:
    ids = [await submit(http, "fine", query={"q": "x" * 1_000_000}) for _ in range(10)]

    listed = await http.get("/_fn/jobs", params={"limit": 200})

    assert listed.status_code == 200, listed.text
    assert set(ids) <= {job["id"] for job in listed.json()["jobs"]}
    assert {(await ended(http, job_id))["status"] for job_id in ids} == {"done"}


async def test_job_that_nobody_has_is_404_on_every_path(http: httpx.AsyncClient) -> None:
    for path in ("/_fn/jobs/job-1-2-3", "/_fn/jobs/job-1-2-3/result", "/_fn/jobs/%ff%00"):
        answer = await http.get(path)
        assert (answer.status_code, answer.json()["error"]) == (404, "job not found")
    assert (await http.delete("/_fn/jobs/job-1-2-3")).status_code == 404


@pytest.mark.parametrize(
    ("name", "query", "reason"),
    [
        ("exits", {"how": "_exit"}, "exit code 3"),
        ("exits", {"how": "kill"}, "signal 9"),
        ("spins", {}, "did not answer in time"),
        ("get.raises.py", {}, "boom"),
        ("nonsense", {"what": "status"}, "status must be"),
    ],
)
async def test_job_whose_handler_fails_ends_failed_with_the_reason_in_a_dead_letter(
    http: httpx.AsyncClient, name: str, query: dict[str, str], reason: str
) -> None:
    job_id = await submit(http, name, query=query, max_attempts=2, retry_delay_ms=10)

    job = await ended(http, job_id)

    assert (job["status"], job["attempt"], job["runs"]) == ("failed", 2, 2)
    assert reason in job["last_error"]

    async def letter() -> list[str]:
        return [letter["reason"] for letter in await letters(http) if letter["job_id"] == job_id]

    assert reason in (await eventually(letter))[0]


async def test_job_with_a_long_error_keeps_the_list_short(http: httpx.AsyncClient) -> None:
    job = await ended(http, await submit(http, "long-error"))

    assert job["status"] == "failed"
    assert 100 < len(job["last_error"]) < 2000


async def test_large_and_binary_results_come_back_whole(http: httpx.AsyncClient) -> None:
    size = 3 * 1024 * 1024
    expected = hashlib.shake_256(b"fnbus").digest(size)
    binary = await submit(http, "large", query={"size": str(size), "binary": "1"})
    text = await submit(http, "large", query={"size": str(size // 2)})
    assert {(await ended(http, job_id))["status"] for job_id in (binary, text)} == {"done"}

    for _ in range(2):  # a result can be read again
        whole = (await http.get(f"/_fn/jobs/{binary}/result")).json()
        assert whole["is_base64"]
        assert base64.b64decode(whole["body_base64"]) == expected
    assert (await http.get(f"/_fn/jobs/{text}/result")).json()["body"] == expected[: size // 2].hex()


async def test_canceled_running_job_has_no_worker_left_and_a_queued_one_never_runs(
    http: httpx.AsyncClient, beacon: Beacon
) -> None:
    running = await submit(http, "patient", query={"port": str(beacon.port)})
    await beacon.arrived(1)
    queued = await submit(http, "patient", query={"port": str(beacon.port)})  # it has one slot
    assert (await http.get(f"/_fn/jobs/{queued}/result")).status_code == 202

    for job_id in (queued, running):
        answer = await http.delete(f"/_fn/jobs/{job_id}")
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")

    await eventually(lambda: not beacon.alive(0))
    again = await http.delete(f"/_fn/jobs/{running}")
    assert (again.status_code, again.json()["error"]) == (409, "job is not queued")
    last = await submit(http, "patient", query={"port": str(beacon.port)})
    await beacon.arrived(2)
    assert len(beacon.connections) == 2
    await http.delete(f"/_fn/jobs/{last}")
    for job_id in (running, queued):
        assert (await job_of(http, job_id))["status"] == "canceled"
        assert (await http.get(f"/_fn/jobs/{job_id}/result")).status_code == 404


async def queue_is_empty(bus: Bus) -> bool:
    """Whether nothing lies in the work queue, to be delivered or delivered again."""
    answer = await bus.request(f"$JS.API.STREAM.INFO.{subjects.JOBS_STREAM}", b"", timeout=20)
    return orjson.loads(answer.data)["state"]["messages"] == 0


@pytest.mark.parametrize("data", [*GARBAGE, b"\xc1" * (8 * 1024 * 1024 - 100)], ids=[*NAMES, "largest"])
async def test_garbage_on_the_work_queue_is_dead_lettered_with_its_bytes(
    http: httpx.AsyncClient, bus: Bus, data: bytes
) -> None:
    subject = subjects.job(runtime="python", namespace="default", function="fine")
    await bus.append(subject, data)

    async def found() -> list[dict[str, Any]]:
        start = base64.b64encode(data[:3000]).decode()
        return [each for each in await letters(http) if each["subject"] == subject and each["data_base64"].startswith(start)]

    letter = (await eventually(found))[0]
    assert letter["reason"].startswith("JobEvent")
    assert (await ended(http, await submit(http, "fine")))["status"] == "done"
    await eventually(lambda: queue_is_empty(bus))


async def test_event_of_a_job_that_nobody_submitted_is_dropped(http: httpx.AsyncClient, bus: Bus) -> None:
    event = JobEvent(
        job_id="job-forged",
        attempt=1,
        max_attempts=1,
        namespace="default",
        runtime="python",
        function="fine",
        version="default",
        timeout_ms=1000,
        head=b"{}",
    )
    await bus.append(subjects.job(runtime="python", namespace="default", function="fine"), codec.encode(event))

    assert (await ended(http, await submit(http, "fine")))["status"] == "done"
    assert (await http.get("/_fn/jobs/job-forged")).status_code == 404
    await eventually(lambda: queue_is_empty(bus))


@pytest.mark.parametrize("data", GARBAGE, ids=NAMES)
async def test_garbage_on_the_event_stream_is_kept_as_a_dead_letter(http: httpx.AsyncClient, bus: Bus, data: bytes) -> None:
    await bus.append(subjects.EXECUTION_FINISHED, data)
    await bus.append(subjects.DEAD_LETTER, data)

    async def kept() -> bool:
        encoded = base64.b64encode(data).decode()
        found = {each["subject"] for each in await letters(http) if each["data_base64"] == encoded}
        return {subjects.EXECUTION_FINISHED, subjects.DEAD_LETTER} <= found

    await eventually(kept)


@pytest.mark.parametrize("data", GARBAGE, ids=NAMES)
async def test_garbage_to_an_executor_or_a_service_is_answered_as_such(http: httpx.AsyncClient, bus: Bus, data: bytes) -> None:
    invoke = subjects.invoke(runtime="python", namespace="default", function="fine")

    reply = codec.decode(Reply, (await bus.request(invoke, data, timeout=20)).data)

    assert reply.code is FailureCode.MALFORMED
    for subject in ("rpc.scheduler.submit", "rpc.scheduler.claim", "rpc.scheduler.outcome", "rpc.registry.executions"):
        answer = await bus.request(subject, data, timeout=20)
        assert b"permanent" in answer.data, answer.data
    for subject in (subjects.CANCEL_JOB, subjects.CANCEL_INVOCATION, subjects.HEARTBEAT):
        await bus.publish(subject, data)
    assert (await http.get("/fine")).text == "fine"
    assert (await ended(http, await submit(http, "fine")))["status"] == "done"


class Flood:
    """Clients that submit jobs, whatever happens, and remember which were accepted."""

    def __init__(self, cluster: Cluster, *, wanted: int) -> None:
        self.cluster = cluster
        self.wanted = wanted
        self.accepted: list[str] = []
        self.enough = asyncio.Event()

    async def run(self) -> None:
        """Submit until as many as wanted have been accepted, and at least until `enough`."""
        async with httpx.AsyncClient(base_url=self.cluster.url, timeout=30) as http:
            while len(self.accepted) < self.wanted or not self.enough.is_set():
                try:
                    answer = await http.post("/_fn/jobs", json={"name": "fine", "max_attempts": 1})
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
                    continue
                if answer.status_code == 201:
                    self.accepted.append(answer.json()["id"])
                # The full measure is not needed to be at work the whole time.
                await asyncio.sleep(0.05 if answer.status_code != 201 or len(self.accepted) >= self.wanted else 0)


async def test_every_accepted_job_ends_once_while_each_service_is_killed_in_turn(tmp_path: Path) -> None:
    files = {path: text for path, text in FUNCTIONS.items() if path.split("/")[1:2] in (["fine"], ["held"])}
    functions = write(tmp_path / "functions", files)
    async with running_beacon() as beacon, running_cluster(tmp_path / "cluster", functions) as cluster:
        flood = Flood(cluster, wanted=500)
        async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as http, asyncio.TaskGroup() as tasks:
            held = await submit(http, "held", query={"port": str(beacon.port)})
            await beacon.arrived(1)
            for _ in range(4):
                tasks.create_task(flood.run())
            for service in ("gateway", "registry", "scheduler", "executor"):
                (replica,) = cluster.of(service)
                before = len(flood.accepted)
                await eventually(lambda before=before: len(flood.accepted) > before)
                await replica.kill()
                await replica.start()
                await replica.ready()
            flood.enough.set()

        async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as http:
            await beacon.arrived(2, within=90)
            beacon.release()
            for job_id in flood.accepted:
                job = await ended(http, job_id, within=120)
                assert (job["status"], job["attempt"]) == ("done", 1), job
            again = await ended(http, held, within=90)
            assert (again["status"], again["attempt"], again["runs"]) == ("done", 1, 2), again
            assert len(flood.accepted) >= flood.wanted
            assert len(set(flood.accepted)) == len(flood.accepted)


async def test_job_ends_when_the_scheduler_is_killed_the_moment_it_was_accepted(tmp_path: Path) -> None:
    files = {path: text for path, text in FUNCTIONS.items() if "/fine/" in path}
    functions = write(tmp_path / "functions", files)
    async with running_cluster(tmp_path / "cluster", functions) as cluster:
        (scheduler,) = cluster.of("scheduler")
        async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as http:
            job_id = await submit(http, "fine")
            await scheduler.kill()
            await scheduler.start()
            await scheduler.ready()
            job = await ended(http, job_id, within=90)
            assert (job["status"], job["attempt"]) == ("done", 1)
