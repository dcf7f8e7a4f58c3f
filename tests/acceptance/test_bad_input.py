"""Requests, configurations and settings that are wrong: each is answered with what is wrong, and hurts nobody else."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterable
from pathlib import Path

import httpx
import pytest

from libs.testing.cluster import Cluster
from libs.testing.hostile import FUNCTIONS, write
from libs.testing.wait import eventually

HOST = b" HTTP/1.1\r\nhost: x\r\n"
LAST = b"connection: close\r\n\r\n"


class Wire:
    """A client that says exactly what it is told."""

    def __init__(self, port: int) -> None:
        self._port = port

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect for the length of the block."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def ask(self, *pieces: bytes) -> bytes:
        """Send and return everything that comes until the server closes."""
        async with self.open() as (reader, writer), asyncio.timeout(60):
            said = b""
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    said += data
            return said


def status_of(said: bytes) -> int:
    assert said.startswith(b"HTTP/1.1 "), said[:200]
    return int(said[9:12])


def body_of(said: bytes) -> bytes:
    return said.partition(b"\r\n\r\n")[2]


@pytest.fixture
def wire(hostile: Cluster) -> Wire:
    """A raw client of the gateway."""
    return Wire(httpx.URL(hostile.url).port or 0)


async def is_well(http: httpx.AsyncClient) -> bool:
    return (await http.get("/fine")).text == "fine"


async def test_unknown_route_is_404(http: httpx.AsyncClient) -> None:
    for path in ("/nowhere", "/fine@v9", "/_fn/nowhere", "/items"):
        answer = await http.get(path)
        assert (answer.status_code, answer.json()["error"]) == (404, "not found")


async def test_wrong_method_is_405_with_the_right_ones(http: httpx.AsyncClient) -> None:
    for method in ("POST", "DELETE", "TRACE"):
        answer = await http.request(method, "/fine")
        assert (answer.status_code, answer.headers["allow"], answer.json()["error"]) == (405, "GET", "method not allowed")
    assert (await http.get("/echo")).headers["allow"] == "POST, PUT"


async def test_head_and_options_are_answered_without_a_body(http: httpx.AsyncClient) -> None:
    head, options = await http.head("/fine"), await http.options("/fine")

    assert (head.status_code, head.headers["content-length"], head.content) == (200, "4", b"")
    assert (options.status_code, options.content) == (204, b"")
    assert {"GET", "HEAD", "OPTIONS"} == set(options.headers["allow"].split(", "))


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_route_of_two_owners_is_409(http: httpx.AsyncClient, method: str) -> None:
    answer = await http.request(method, "/both")

    assert (answer.status_code, answer.json()["error"]) == (409, "ambiguous function")


async def test_body_too_large_is_413_by_its_header_before_it_is_sent(wire: Wire) -> None:
    said = await wire.ask(b"POST /small" + HOST + b"content-length: 1001\r\nexpect: 100-continue\r\n" + LAST)

    assert status_of(said) == 413
    assert json.loads(body_of(said))["error"] == "payload too large"


async def test_body_too_large_is_413_by_its_bytes(http: httpx.AsyncClient) -> None:
    async def pieces(size: int) -> AsyncIterable[bytes]:
        for _ in range(size // 100):
            yield b"x" * 100

    answer = await http.post("/small", content=pieces(1100))
    fitting = await http.post("/small", content=pieces(1000))

    assert (answer.status_code, answer.json()["error"]) == (413, "payload too large")
    assert (fitting.status_code, fitting.headers["x-length"]) == (200, "1000")


async def test_connection_goes_on_after_a_body_that_was_too_large(wire: Wire) -> None:
    large = b"POST /small" + HOST + b"content-length: 1001\r\n\r\n" + b"x" * 1001

    said = await wire.ask(large + b"GET /fine" + HOST + LAST)

    assert said.count(b"HTTP/1.1 413 ") == said.count(b"HTTP/1.1 200 ") == 1
    assert said.endswith(b"fine")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/../../etc/passwd", 400),
        (b"/items/%2e%2e", 400),
        (b"/items/..%2f..%2fetc%2fpasswd", 404),
        (b"/items/%2e%2e/%2e%2e/fine", 400),
        (b"/items/a%00b", 400),
        (b"/items/%ff%fe", 400),
        (b"/items/\xff\xfe", 400),
        (b"/items/" + b"y" * 200_000, 400),
        (b"/a" * 5000, 404),
        (b"*", 404),
    ],
    ids=["raw", "encoded", "slash", "middle", "nul", "not utf-8", "not ascii", "huge", "deep", "star"],
)
async def test_bad_path_is_refused_and_runs_nothing(wire: Wire, http: httpx.AsyncClient, target: bytes, status: int) -> None:
    said = await wire.ask(b"GET " + target + HOST + LAST)

    assert status_of(said) == status
    assert json.loads(body_of(said))["error"]
    assert b"root:" not in said
    assert await is_well(http)


async def test_names_with_dots_and_backslashes_are_only_names(http: httpx.AsyncClient) -> None:
    answer = await http.get("/items/..%5C..%5Cetc")

    assert answer.json()["event"]["params"] == {"id": "..\\..\\etc"}


async def test_bytes_that_are_not_utf8_in_headers_and_query_reach_the_handler_as_text(wire: Wire) -> None:
    said = await wire.ask(b"GET /request?a=%ff&b=%zz&c&d=1&d=2" + HOST + b"x-raw: \xff\xfe\r\nx-utf: \xe2\x9c\x93\r\n" + LAST)

    assert status_of(said) == 200
    event = json.loads(body_of(said))["event"]
    assert (event["headers"]["x-raw"], event["headers"]["x-utf"]) == ("ÿþ", "✓")
    assert event["query"] == {"a": "�", "b": "%zz", "c": True, "d": ["1", "2"]}


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /fine" + HOST + b"".join(b"x-%d: 1\r\n" % number for number in range(1000)) + LAST,
        b"GET /fine" + HOST + b"x: " + b"y" * 100_000 + b"\r\n" + LAST,
        b"FETCH /fine" + HOST + LAST,
        b"CONNECT elsewhere:80" + HOST + LAST,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /fine HTTP/1.1\r\nhost : x\r\n" + LAST,
        b"POST /echo" + HOST + b"content-length: 3\r\ncontent-length: 4\r\n" + LAST + b"abcd",
        b"POST /echo" + HOST + b"content-length: -3\r\n" + LAST + b"abc",
        b"POST /echo" + HOST + b"content-length: 99999999999999999999999999\r\n" + LAST + b"abc",
        b"POST /echo" + HOST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n" + LAST + b"3\r\nabc\r\n0\r\n\r\n",
        b"POST /echo" + HOST + b"transfer-encoding: chunked\r\n" + LAST + b"zz\r\nabc\r\n0\r\n\r\n",
    ],
    ids=[
        "1,000 headers",
        "100 KB header",
        "method",
        "connect",
        "tls",
        "http2",
        "space before colon",
        "two lengths",
        "negative length",
        "huge length",
        "length and chunks",
        "bad chunk",
    ],
)
async def test_what_is_no_request_is_400_and_closes(wire: Wire, http: httpx.AsyncClient, request_text: bytes) -> None:
    said = await wire.ask(request_text)

    assert status_of(said) == 400
    assert b"connection: close" in said
    assert json.loads(body_of(said))["error"]
    assert await is_well(http)


async def test_expectation_is_met_before_the_body(wire: Wire) -> None:
    async with wire.open() as (reader, writer), asyncio.timeout(60):
        writer.write(b"POST /echo" + HOST + b"content-length: 3\r\nexpect: 100-continue\r\n" + LAST)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        said = await reader.read()

    assert (status_of(said), body_of(said)) == (200, b"abc")


async def test_chunks_with_extensions_and_trailers_are_one_body(wire: Wire) -> None:
    chunks = b'3;name="x"\r\nabc\r\n2\r\nde\r\n0\r\nx-after: 1\r\n\r\n'

    said = await wire.ask(b"POST /echo" + HOST + b"transfer-encoding: chunked\r\ntrailer: x-after\r\n" + LAST + chunks)

    assert (status_of(said), body_of(said)) == (200, b"abcde")


async def test_http_1_0_is_answered_and_closed(wire: Wire) -> None:
    said = await wire.ask(b"GET /fine HTTP/1.0\r\n\r\n")

    assert (status_of(said), body_of(said)) == (200, b"fine")


async def test_pipelined_requests_are_answered_in_their_order(wire: Wire) -> None:
    several = b"".join(b"GET /items/n%d" % number + HOST + b"\r\n" for number in range(20))

    said = await wire.ask(several + b"GET /fine" + HOST + LAST)

    places = [said.index(b'"/items/n%d"' % number) for number in range(20)]
    assert places == sorted(places)
    assert said.endswith(b"fine")


@pytest.mark.parametrize("given", ["two words", "a" * 129, "semi;colon", "ü"], ids=["space", "long", "mark", "latin"])
async def test_request_id_that_is_no_plain_one_is_replaced(http: httpx.AsyncClient, given: str) -> None:
    answer = await http.get("/items/1", headers={b"x-request-id": given.encode("latin-1")})

    assert answer.headers["x-request-id"].startswith("req-")
    assert answer.json()["event"]["id"] == answer.headers["x-request-id"]


async def test_slow_senders_hold_no_slot(wire: Wire, http: httpx.AsyncClient) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            _, header = await stack.enter_async_context(wire.open())
            header.write(b"POST /single" + HOST + b"x-slow: ")
            _, body = await stack.enter_async_context(wire.open())
            body.write(b"POST /single" + HOST + b"content-length: 10\r\n\r\nabc")
            await header.drain()
            await body.drain()

        async def state() -> list[int]:
            states = (await http.get("/_fn/health")).json()["functions"]["states"]
            return [each["worker_pool"]["active"] for each in states if each["name"] == "single"]

        # It has one slot, and fails for want of a port to report to: a 429 would mean that a sender holds it.
        assert (await http.get("/single")).status_code == 500
        assert await state() == [0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("not-json", "is not JSON"),
        ("list-config", "must be a JSON object"),
        ("deep-config", "is not JSON"),
        ("wrong-type", "timeout_ms must be > 0"),
        ("wrong-type", "max_concurrency must be >= 0"),
        ("wrong-type", "invoke.methods must be"),
        ("not-a-cron", "schedule.cron must have 5 or 6 fields"),
        ("cron-range", "schedule.cron"),
        ("no-zone", "schedule.timezone"),
    ],
)
async def test_config_that_is_wrong_is_named_and_the_function_keeps_its_defaults(
    http: httpx.AsyncClient, name: str, message: str
) -> None:
    problems = (await http.get("/_fn/catalog")).json()["problems"]
    answer = await http.get(f"/{name}")

    path = f"python/{name}/fn.config.json"
    assert any(message in problem["message"] for problem in problems if problem["path"] == path), problems
    assert (answer.status_code, answer.text) == (200, "2500")


async def test_schedule_that_is_wrong_never_fires(http: httpx.AsyncClient) -> None:
    schedules = (await http.get("/_fn/schedules")).json()["schedules"]

    assert not {"not-a-cron", "cron-range", "no-zone"} & {schedule["name"] for schedule in schedules}


def test_doctor_names_what_is_wrong_with_the_functions(tmp_path: Path) -> None:
    folder = write(tmp_path / "functions", FUNCTIONS)
    env = {name: value for name, value in os.environ.items() if not name.startswith("FNBUS_")}

    told = subprocess.run(
        [sys.executable, "-m", "cli.main", "doctor", str(folder), "--data", str(tmp_path / "data"), "--json"],
        capture_output=True,
        text=True,
        env=env,
        timeout=60,
        check=False,
    )

    findings = [check["message"] for check in json.loads(told.stdout)["checks"] if check["id"] == "project.discovery"]
    for path, message in (
        ("python/not-json/fn.config.json", "is not JSON"),
        ("python/wrong-type/fn.config.json", "timeout_ms"),
        ("python/not-a-cron/fn.config.json", "schedule.cron"),
        ("get.both.js", "409"),
    ):
        assert any(path in text and message in text for text in findings), (path, findings)


@pytest.mark.parametrize("service", ["gateway", "registry", "executor", "scheduler"])
@pytest.mark.parametrize(
    ("name", "value"), [("FNBUS_OPS_PORT", "eighty"), ("FNBUS_MAX_BODY_BYTES", "-1"), ("FNBUS_LOG_FORMAT", "xml")]
)
def test_setting_that_is_wrong_is_named_with_exit_code_2(service: str, name: str, value: str, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "FNBUS_DATA_DIR": str(tmp_path), name: value}

    told = subprocess.run(
        [sys.executable, "-m", f"services.{service}"], capture_output=True, text=True, env=env, timeout=60, check=False
    )

    assert told.returncode == 2, told.stderr
    assert f"setting {name}: " in told.stderr
    assert value in told.stderr
    assert "Traceback" not in told.stderr


async def test_file_that_breaks_while_in_use_is_told_and_repaired_by_the_next_save(
    hostile: Cluster, http: httpx.AsyncClient
) -> None:
    file = hostile.functions / "get.edited.py"

    async def answers(status: int, text: str) -> None:
        async def check() -> bool:
            answer = await http.get("/edited")
            return answer.status_code == status and text in answer.text

        await eventually(check, every=0.05)

    file.write_text("def handler(event):\n    return 'first'\n")
    await answers(200, "first")
    file.write_text("def handler(event):\n    return 'second\n")
    await answers(500, "get.edited.py:2")
    file.write_bytes(b"\xff\xfe\0\0 not python")
    await answers(500, "get.edited.py")
    file.write_text("def handler(event):\n    return 'third'\n")
    await answers(200, "third")
    file.unlink()
    await answers(404, "not found")
