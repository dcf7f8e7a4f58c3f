"""What the gateway tells of what ran: the dashboard and the logs, with a registry that answers as it is told."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from libs.bus import rpc
from libs.messages.figures import Figures, FiguresGet, Hour
from libs.messages.logs import TailLine, TailLines, TailLog
from libs.testing.buses import Net
from libs.testing.fakes import FakeExecutor, answer, function_entry, project
from libs.testing.wait import eventually
from services.gateway.assembly import Gateway

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MS = int(NOON.timestamp() * 1000)


class FakeRegistry:
    """Answers with what it was given."""

    def __init__(self) -> None:
        self.figures = Figures(hours=tuple(Hour(began_at=NOON + timedelta(hours=at)) for at in range(24)))
        self.lines: tuple[TailLine, ...] = ()
        self.asked: list[TailLog] = []

    async def give_figures(self, _request: FiguresGet, _: str) -> Figures:
        return self.figures

    async def give_lines(self, request: TailLog, _: str) -> TailLines:
        self.asked.append(request)
        return TailLines(lines=self.lines)


@pytest.fixture
async def registry(net: Net, gateway: Gateway) -> AsyncIterator[FakeRegistry]:
    """A registry, and a function that it has."""
    bus = await net.connect("registry")
    made = FakeRegistry()
    async with asyncio.TaskGroup() as tasks:
        server = rpc.Server(bus, "registry", tasks)
        await server.serve("figures", FiguresGet, made.give_figures)
        await server.serve("tail", TailLog, made.give_lines)
        await project(bus, function_entry("hello"))
        await eventually(lambda: gateway.catalogue.meta is not None)
        yield made
        await server.stop()


def line(text: str, *, ms: int = MS, stream: str = "stdout") -> TailLine:
    return TailLine(ms=ms, execution="req-1", runtime="python", function="hello", version="default", stream=stream, text=text)


async def test_dashboard_sums_the_hours_up(client: httpx.AsyncClient, registry: FakeRegistry) -> None:
    quiet = registry.figures.hours[2:]
    registry.figures = Figures(
        hours=(
            Hour(began_at=NOON, calls=3, failed=1, micros=4000),
            Hour(began_at=NOON + timedelta(hours=1), calls=1, micros=2000),
            *quiet,
        )
    )
    told = (await client.get("/_fn/dashboard")).json()
    chart = told.pop("invocations_chart")
    assert told == {"requests_24h": 4, "errors_24h": 1, "avg_latency_ms": 1.5}
    assert (chart["labels"][:2], chart["data"]) == (["12:00", "13:00"], [3, 1, *[0] * 22])


@pytest.mark.usefixtures("registry")
async def test_dashboard_of_a_quiet_day_has_no_latency(client: httpx.AsyncClient) -> None:
    assert (await client.get("/_fn/dashboard")).json()["avg_latency_ms"] == 0


async def test_logs_show_what_functions_print(client: httpx.AsyncClient, registry: FakeRegistry) -> None:
    registry.lines = (line("one"), line("two", stream="stderr"))
    got = await client.get("/_fn/logs?file=runtime&fn=hello&version=default&runtime=python&stream=stdout&lines=9000")
    assert got.headers["content-type"] == "text/plain; charset=utf-8"
    assert got.text == "[python] [fn:hello@default stdout] one\n[python] [fn:hello@default stderr] two\n"
    assert registry.asked == [
        TailLog(file="runtime", function="hello", version="default", runtime="python", stream="stdout", lines=2000)
    ]
    told = (await client.get("/_fn/logs?file=runtime&format=json&fn=hello")).json()
    assert told == {
        "file": "runtime",
        "lines": 200,
        "runtime": None,
        "fn": "hello",
        "version": None,
        "stream": None,
        "data": ["[python] [fn:hello@default stdout] one", "[python] [fn:hello@default stderr] two"],
    }


async def test_logs_of_access_have_what_ran_and_what_was_refused(client: httpx.AsyncClient, registry: FakeRegistry) -> None:
    registry.lines = (line("200 call 1.5ms", stream=""),)
    await client.get("/no%0Awhere", headers={"x-request-id": "lost"})
    await client.post("/hello", headers={"x-request-id": "req-1"})
    ran, refused = (await client.get("/_fn/logs?file=access")).text.splitlines()
    assert ran == "2026-03-01T12:00:00.000Z [python] [fn:hello@default] 200 call 1.5ms req-1"
    assert refused.endswith("Z [gateway] 404 GET /no%0Awhere not found lost")
    assert (await client.get("/_fn/logs?file=access&fn=hello")).text.splitlines() == [ran]


async def test_logs_of_errors_have_calls_that_got_no_answer(
    client: httpx.AsyncClient, registry: FakeRegistry, executor: FakeExecutor
) -> None:
    executor.behaviour = lambda _: answer(head=b"no head")
    await client.get("/hello", headers={"x-request-id": "bad"})
    await client.get("/nowhere")
    (failed,) = (await client.get("/_fn/logs")).text.splitlines()
    assert failed.endswith("[python] [fn:hello@default] 502 GET /hello invalid runtime response bad")
    assert registry.asked[0].file == "error"


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(("query", "error"), [("file=secret", "invalid file"), ("file=runtime&stream=x", "invalid stream")])
async def test_logs_refuse_what_there_is_not(client: httpx.AsyncClient, query: str, error: str) -> None:
    got = await client.get(f"/_fn/logs?{query}")
    assert (got.status_code, got.json()["error"]) == (400, error)
