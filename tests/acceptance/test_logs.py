"""What a function prints reaches the one who follows it while the call still runs, and is in the execution afterwards."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import pytest

from libs.testing.cluster import Cluster, running_cluster
from libs.testing.wait import eventually

PRINTING = """
import pathlib
import sys
import time


def handler(event):
    query = event["query"]
    print("begin", query["n"], flush=True)
    print("oh", file=sys.stderr, flush=True)
    time.sleep(float(query.get("s", 0)))
    print("end", query["n"])
    return "done"
"""
FLOOD = """
import os


def handler(event):
    piece = b"spam spam spam spam spam spam spam spam\\n" * 25_000
    print("here")
    for _ in range(int(event["query"]["times"])):
        os.write(1, piece)
    return "spammed"
"""
FAILING = "def handler(event):\n    print('about to fail')\n    raise RuntimeError('no')\n"


@pytest.fixture(scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Everything, with functions that print."""
    functions = tmp_path_factory.mktemp("functions")
    (functions / "get.printing.py").write_text(PRINTING)
    (functions / "get.flood.py").write_text(FLOOD)
    (functions / "get.failing.py").write_text(FAILING)
    (functions / "fn.config.json").write_text('{"timeout_ms": 30000, "max_concurrency": 0}')
    async with running_cluster(tmp_path_factory.mktemp("logs"), functions) as cluster:
        yield cluster


@pytest.fixture
async def http(platform: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the platform's gateway."""
    async with httpx.AsyncClient(base_url=platform.url, timeout=60) as made:
        yield made


class Follower:
    """A run of `fnbus logs -f`, and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(json.loads(line))

    @property
    def texts(self) -> list[str]:
        return [line["text"] for line in self.lines]


@contextlib.asynccontextmanager
async def following(platform: Cluster, name: str) -> AsyncGenerator[Follower]:
    command = (sys.executable, "-m", "cli.main", "logs", name, "-f", "--json", "--url", platform.url)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=dict(os.environ))
    follower = Follower(process)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(follower.read())
        try:
            yield follower
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            assert await process.wait() == 0


async def executions(http: httpx.AsyncClient, name: str, **query: str) -> list[dict[str, Any]]:
    answer = await http.get("/_fn/executions", params={"function": name, **query})
    return answer.json()["executions"] if answer.is_success else []


async def test_lines_come_while_the_call_runs_and_again_after_the_gateway_was_restarted(
    platform: Cluster, http: httpx.AsyncClient
) -> None:
    async with following(platform, "get.printing.py") as follower:

        async def hears() -> bool:
            await http.get("/printing", params={"n": "0"})
            return "end 0" in follower.texts

        await eventually(hears)
        call = asyncio.ensure_future(http.get("/printing", params={"n": "1", "s": "3"}))
        await eventually(lambda: "begin 1" in follower.texts)
        assert not call.done()
        assert "end 1" not in follower.texts
        assert (await call).text == "done"
        await eventually(lambda: "end 1" in follower.texts)
        gateway = platform.of("gateway")[0]
        assert await gateway.stop() == 0
        await gateway.start()
        await gateway.ready()

        async def hears_again() -> bool:
            await http.get("/printing", params={"n": "2"})
            return "end 2" in follower.texts

        await eventually(hears_again)
        assert follower.texts.count("begin 1") == follower.texts.count("end 1") == 1
        (error,) = [line for line in follower.lines if line["text"] == "oh" and line["execution"] == _of(follower, "end 1")]
        assert (error["level"], error["stream"]) == ("error", "stderr")


def _of(follower: Follower, text: str) -> str:
    return next(line["execution"] for line in follower.lines if line["text"] == text)


async def test_execution_has_the_lines_and_the_class_of_the_error(http: httpx.AsyncClient) -> None:
    answer = await http.get("/failing")
    assert answer.status_code == 500
    assert "stack" not in answer.json()

    async def told() -> bool:
        return bool(await executions(http, "get.failing.py", failed="1"))

    await eventually(told)
    (found,) = await executions(http, "get.failing.py", failed="1")
    assert (found["code"], found["error_type"], found["status"]) == ("handler_error", "RuntimeError", 500)
    assert "get.failing.py" in found["error"]
    assert [line["text"] for line in found["lines"]][:1] == ["about to fail"]
    assert found["lines"][0]["ms"] >= found["started_at_ms"]


async def test_flood_of_output_delays_nobody_and_is_cut(platform: Cluster, http: httpx.AsyncClient) -> None:
    async with following(platform, "get.flood.py") as follower, asyncio.TaskGroup() as tasks:

        async def hears() -> bool:
            await http.get("/flood", params={"times": "0"})
            return bool(follower.lines)

        await eventually(hears)
        flood = tasks.create_task(http.get("/flood", params={"times": "100"}))
        answers = [await http.get("/printing", params={"n": "3"}) for _ in range(20)]
        assert {answer.text for answer in answers} == {"done"}
        assert (await flood).text == "spammed"

        async def cut() -> list[dict[str, Any]]:
            return [each for each in await executions(http, "get.flood.py") if each["truncated"]]

        await eventually(cut)
        await eventually(lambda: any(text.startswith("spam") for text in follower.texts))
        assert len(follower.lines) < 1_000_000
    (found,) = await cut()
    assert len(found["stdout"]) == 64 * 1024


async def test_logs_of_the_past_are_plain_when_nobody_sees_colours(platform: Cluster, http: httpx.AsyncClient) -> None:
    await http.get("/printing", params={"n": "4"})

    async def shown() -> bool:
        command = (sys.executable, "-m", "cli.main", "logs", "printing", "--url", platform.url)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        printed = (await process.communicate())[0].decode()
        assert process.returncode == 0
        assert "\x1b" not in printed
        return "info   begin 4" in printed and "error  oh" in printed

    await eventually(shown)
