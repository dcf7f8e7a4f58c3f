"""Thousands of functions: how long a start takes, what looking and saving cost then, and that calls do not notice."""

import asyncio
import json
import os
import statistics
import time
from pathlib import Path

import httpx

from benchmarks import handlers, load
from benchmarks.report import Report
from libs.testing.cluster import Cluster, running_cluster
from libs.testing.wait import eventually

_LANGUAGES = ("python", "node", "deno", "php")
_HELLO = "hello"
_LIVE_SECONDS = 30
_QUIET_SECONDS = 300
_LOOKS = 50
_SAVES = 20
_ROUNDS = 8
_CONFIGURED = 10
"""Every so many functions have a config, …"""
_WITH_ENV = 20
"""… and values."""


def folder(functions: Path, count: int) -> None:
    """Write `count` functions: half of them files that are routes, half directories, in several languages, some with config.

    Args:
        functions: the folder, which is made.
        count: how many.
    """
    for number in range(count):
        language = _LANGUAGES[number // 2 % len(_LANGUAGES)]
        if number % 2:
            place = functions / language / f"team-{number % 50}" / f"fn-{number}"
            file, text = handlers.HELLO[language]
        else:
            language = "node" if language == "deno" else language  # a file route of Deno's lies below deno/
            place = functions / f"area-{number // 100}"
            ending = handlers.HELLO[language][0].partition(".")[2]
            method = ("get.", "post.", "")[number % 3]
            file = f"{method}item-{number}.[id].{ending}" if number % 4 else f"{method}item-{number}.{ending}"
            text = handlers.HELLO[language][1]
        place.mkdir(parents=True, exist_ok=True)
        comment = "#" if language == "python" else "//"
        (place / file).write_text(f"{text}{comment} {number}\n")
        if number % 2 and number // 2 % _CONFIGURED == 0:
            (place / "fn.config.json").write_text(json.dumps({"timeout_ms": 5000, "group": "benchmark"}))
        if number % 2 and number // 2 % _WITH_ENV == 0:
            (place / "fn.env.json").write_text(json.dumps({"NUMBER": number, "API_KEY": {"value": "x", "is_secret": True}}))


async def compare(report: Report, root: Path, count: int, seconds: float) -> None:
    """Start a platform with `count` functions beside one with a single one, and look at both."""
    few, many = root / "few", root / "many"
    for functions in (few, many):
        handlers.write(functions, "python", _HELLO, handlers.HELLO["python"])
    folder(many, count)
    report.table(f"{count:,} functions", "measure", "result")
    async with running_cluster(root / "fnbus-few", few, jetstream_sync="always") as small:
        await _answers(small, f"/{_HELLO}")
        began = time.monotonic()
        async with running_cluster(root / "fnbus-many", many, jetstream_sync="always") as large:
            await _answers(large, f"/{_HELLO}")
            report.row("start with an empty state folder, s", time.monotonic() - began)
            spent = sum(load.cpu_seconds(each.pid) for each in (large.nats, *large.replicas))
            report.row("CPU of it, all processes, s", spent)
            await _until_quiet(large, count)
            for service in ("registry", "gateway", "executor", "scheduler"):
                before, after = load.resident_mib(small.of(service)[0].pid), load.resident_mib(large.of(service)[0].pid)
                report.row(f"{service}: memory, MiB, and with one function {before:.0f}", after)
            await _looks(report, large)
            await _saves(report, large)
            await _calls(report, small, large, seconds)
    report.say(f"\nThe load average was {os.getloadavg()[0]:.1f} then.")


async def _looks(report: Report, cluster: Cluster) -> None:
    async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as client:
        for path in ("/_fn/health", "/_fn/catalog"):
            times: list[float] = []
            size, before = 0, load.cpu_seconds(cluster.of("gateway")[0].pid)
            for _ in range(_LOOKS):
                began = time.perf_counter()
                size = len((await client.get(path)).content)
                times.append((time.perf_counter() - began) * 1000)
            times.sort()
            spent = load.cpu_seconds(cluster.of("gateway")[0].pid) - before
            report.row(f"{path} ({size / 1024:.0f} KiB), p50 ms", statistics.median(times))
            report.row(f"{path}, CPU of the gateway, ms", spent / _LOOKS * 1000)


async def _saves(report: Report, cluster: Cluster) -> None:
    """Saved file to live, for a file that was there and for files that were not."""
    registry = cluster.of("registry")[0].pid
    await asyncio.to_thread((cluster.functions / "get.live.py").write_text, "")
    async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as client:
        for what, name in (("changed", "live"), ("added", "new-{}")):
            times: list[float] = []
            before = load.cpu_seconds(registry)
            for number in range(_SAVES):
                route = name.format(number)
                times.append(await _live(client, cluster.functions / f"get.{route}.py", f"/{route}", f"version {number}"))
            report.row(f"{what} file to live, p50 ms", statistics.median(times))
            report.row(f"{what} file, CPU of the registry, ms", (load.cpu_seconds(registry) - before) / _SAVES * 1000)


async def _live(client: httpx.AsyncClient, target: Path, path: str, answer: str) -> float:
    await asyncio.to_thread(target.write_text, f"def handler(event):\n    return {answer!r}\n")
    saved = time.monotonic()

    async def live() -> bool:
        return (await client.get(path)).text == answer

    await eventually(live, within=_LIVE_SECONDS, every=0.005)
    return (time.monotonic() - saved) * 1000


async def _calls(report: Report, small: Cluster, large: Cluster, seconds: float) -> None:
    """Calls of one function in both platforms, in turns: what the machine does beside counts for both."""
    times: dict[str, list[float]] = {small.url: [], large.url: []}
    spent = dict.fromkeys(times, 0.0)
    calls = dict.fromkeys(times, 0.0)
    for _ in range(_ROUNDS):
        for cluster in (small, large):
            pids = [cluster.of(service)[0].pid for service in ("gateway", "executor")]
            before = sum(map(load.cpu_seconds, pids))
            found = await load.wrk(f"{cluster.url}/{_HELLO}", connections=1, seconds=seconds)
            spent[cluster.url] += sum(map(load.cpu_seconds, pids)) - before
            calls[cluster.url] += found.per_second * seconds
            times[cluster.url].append(found.p50_ms)
    for what, cluster in (("of one", small), ("of all", large)):
        report.row(f"one function {what}, p50 ms", min(times[cluster.url]))  # the machine only ever adds to it
        report.row(f"one function {what}, CPU of gateway and executor, µs", spent[cluster.url] / calls[cluster.url] * 1e6)
    report.row("ratio of p50", min(times[large.url]) / min(times[small.url]))


async def _answers(cluster: Cluster, path: str) -> None:
    async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as client:

        async def answered() -> bool:
            return (await client.get(path)).is_success

        await eventually(answered, within=_LIVE_SECONDS)


async def _until_quiet(cluster: Cluster, count: int) -> None:
    """Wait until the executor has fetched all code in advance: it does so one by one, and would do so beside the calls."""
    kept = Path(cluster.of("executor")[0].env["FNBUS_DATA_DIR"]) / "executor" / "bundles"

    async def quiet() -> bool:
        return len(await asyncio.to_thread(os.listdir, kept)) >= count

    await eventually(quiet, within=_QUIET_SECONDS, every=1)
