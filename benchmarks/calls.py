"""Warm calls: against the floor, traced, at a fixed rate, and with more executors."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path

import httpx

from benchmarks import handlers, load, starts
from benchmarks.load import Load
from benchmarks.report import Report
from libs.ports import unused_port
from libs.testing.cluster import Cluster, running_cluster
from libs.testing.nats import running_nats
from libs.testing.wait import eventually

_CONNECTIONS = (1, 16, 64)
_WORKERS = 16
_WAIT_SECONDS = 0.1
_COLUMNS = ("system", "connections", "requests/s", "of the floor", "p50 ms", "of the floor's", "p99 ms", "errors")


async def floor(root: Path, seconds: float) -> dict[int, Load]:
    """Return what the floor does, by connections."""
    async with running_nats(root / "floor") as nats, _floor(nats.url) as url:
        await load.wrk(url, connections=16, seconds=1)
        return {connections: await _best(url, connections, seconds) for connections in _CONNECTIONS}


async def warm(
    report: Report, cluster: Cluster, languages: Sequence[str], floors: Mapping[int, Load], seconds: float
) -> dict[str, Load]:
    """Warm hello against the floor, the better of two runs each; return each language's at 16 connections."""
    report.table("Warm calls", *_COLUMNS)
    for found in floors.values():
        _row(report, "floor", found, found)
    plain: dict[str, Load] = {}
    for language in languages:
        url = f"{cluster.url}/hello-{language}"
        await load.wrk(url, connections=64, seconds=2)
        for connections in _CONNECTIONS:
            found = await _best(url, connections, seconds)
            _row(report, language, found, floors[connections])
            if connections == _CONNECTIONS[1]:
                plain[language] = found
    await _cpu(report, cluster, f"{cluster.url}/hello-{languages[0]}", seconds)
    return plain


async def traced(
    report: Report, root: Path, functions: Path, languages: Sequence[str], plain: Mapping[str, Load], seconds: float
) -> None:
    """The same with every call traced and recorded, against untraced calls."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    async with running_cluster(root / "traced", functions, settings=settings, jetstream_sync="always") as cluster:
        report.table("Traced calls, 16 connections", "runtime", "requests/s", "of untraced", "p50 ms", "p99 ms", "errors")
        for language in languages:
            url = f"{cluster.url}/hello-{language}"
            await load.wrk(url, connections=64, seconds=2)
            found = await _best(url, 16, seconds)
            report.row(
                language,
                found.per_second,
                found.per_second / plain[language].per_second if language in plain else None,
                found.p50_ms,
                found.p99_ms,
                found.errors,
            )


async def latency(
    report: Report, cluster: Cluster, languages: Sequence[str], plain: Mapping[str, Load], seconds: float
) -> None:
    """Latency at half and four fifths of what a closed loop reached, counted from when a request was due."""
    report.table("Open loop", "runtime", "of capacity", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "errors")
    for language in languages:
        url = f"{cluster.url}/hello-{language}"
        capacity = (plain.get(language) or await _best(url, 16, seconds)).per_second
        for share in (0.5, 0.8):
            found = await _open_loop(url, capacity * share, seconds)
            cells = (found.get(name) for name in ("p50", "p99", "p999"))
            report.row(language, share, found["sent"] / seconds, *cells, int(found["errors"]))


async def executors(report: Report, root: Path, functions: Path, seconds: float) -> None:
    """Throughput of a handler that waits, with 1, 2 and 4 executors that have the same room each."""
    file, text = handlers.WAIT["python"]
    handlers.write(functions, "python", "wait-scale", (file, text % {"seconds": _WAIT_SECONDS}))
    settings = {"FNBUS_MAX_WORKERS": str(_WORKERS)}
    one = 0.0
    async with running_cluster(root / "executors", functions, settings=settings) as cluster:
        report.table(
            f"Executors, {_WORKERS} workers each, a handler that waits {_WAIT_SECONDS:g} s",
            "executors",
            "requests/s",
            "of linear",
            "errors",
        )
        for count in (1, 2, 4):
            while len(cluster.of("executor")) < count:
                await cluster.add("executor")
            await cluster.ready()
            url, connections = f"{cluster.url}/wait-scale", 2 * _WORKERS * count
            await load.wrk(url, connections=connections, seconds=2)
            found = await load.wrk(url, connections=connections, seconds=seconds)
            one = one or found.per_second
            report.row(str(count), found.per_second, found.per_second / one / count, found.errors)


async def hello(report: Report, cluster: Cluster, languages: Sequence[str]) -> tuple[str, ...]:
    """Wait until the hello functions answer; return the languages whose do, and say why the others' do not."""
    good: list[str] = []
    async with httpx.AsyncClient(base_url=cluster.url, timeout=60, trust_env=False) as client:
        await starts.live(client, [f"hello-{language}" for language in languages], within=30)
        for language in languages:
            try:
                await starts.answering(client, f"hello-{language}")
            except RuntimeError as error:
                report.say(f"{language} is left out: {error}")
            else:
                good.append(language)
    return tuple(good)


def _row(report: Report, name: str, found: Load, base: Load) -> None:
    report.row(
        name,
        found.connections,
        found.per_second,
        found.per_second / base.per_second,
        found.p50_ms,
        found.p50_ms / base.p50_ms,
        found.p99_ms,
        found.errors,
    )


async def _cpu(report: Report, cluster: Cluster, url: str, seconds: float) -> None:
    """CPU per call by process, at 16 connections."""
    pids = {replica.service: replica.pid for replica in cluster.replicas} | {"nats": cluster.nats.pid}
    before = {name: load.cpu_seconds(pid) for name, pid in pids.items()}
    workers: dict[int, float] = {}
    for pid in load.children(pids["executor"]):
        with contextlib.suppress(FileNotFoundError):
            workers[pid] = load.cpu_seconds(pid)
    found = await load.wrk(url, connections=16, seconds=seconds)
    calls = found.per_second * seconds
    spent = {name: (load.cpu_seconds(pid) - before[name]) / calls * 1e6 for name, pid in pids.items()}
    spent["workers"] = 0.0
    for pid, used in workers.items():
        with contextlib.suppress(FileNotFoundError):
            spent["workers"] += (load.cpu_seconds(pid) - used) / calls * 1e6
    report.table("CPU per call", "process", "µs")
    for name, cost in spent.items():
        report.row(name, cost)


async def _best(url: str, connections: int, seconds: float) -> Load:
    """Return the faster of two runs: noise only ever slows down."""
    runs = [await load.wrk(url, connections=connections, seconds=seconds) for _ in range(2)]
    return max(runs, key=lambda run: run.per_second)


async def _open_loop(url: str, rate: float, seconds: float) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.openloop", url, str(rate), str(seconds)), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the open loop ended with {process.returncode}")
    found: dict[str, float] = json.loads(output)
    return found


@contextlib.asynccontextmanager
async def _floor(nats_url: str) -> AsyncGenerator[str]:
    port = unused_port()
    commands = (("responder", nats_url), ("gateway", str(port), nats_url))
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.floor", *command), stderr=asyncio.subprocess.DEVNULL
        )
        for command in commands
    ]
    url = f"http://127.0.0.1:{port}/hello"
    try:
        async with httpx.AsyncClient() as client:

            async def up() -> bool:
                try:
                    return (await client.get(url)).is_success
                except httpx.TransportError:
                    return False

            await eventually(up)
        yield url
    finally:
        for process in processes:
            process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))
