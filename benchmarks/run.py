"""`make bench`: measures calls, jobs, deploys and memory, and prints one table with its conditions.

Ratios are what counts: systems run one after the other on the same machine in the same run. Nothing here is asserted.
"""

import argparse
import asyncio
import contextlib
import datetime
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from importlib import metadata
from pathlib import Path

import httpx

from benchmarks import load
from benchmarks.load import Load
from libs.ports import unused_port
from libs.testing.cluster import Cluster, running_cluster
from libs.testing.nats import running_nats
from libs.testing.wait import eventually

_HELLO = {
    "get.hello-python.py": 'def handler(event):\n    return {"hello": "world"}\n',
    "get.hello-node.js": 'exports.handler = () => ({ hello: "world" });\n',
    "fn.config.json": '{"max_concurrency": 0}\n',
}
_CONNECTIONS = (1, 16, 64)
_SUBMIT = Path(__file__).with_name("submit.lua")


class Report:
    """Lines of the table, printed as they come."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str = "") -> None:
        """Print and keep a line."""
        print(line, flush=True)
        self.lines.append(line)

    def row(self, *cells: object) -> None:
        """Print and keep a row of the table."""
        self.say("| " + " | ".join(str(cell) for cell in cells) + " |")


async def main() -> None:
    """Measure everything."""
    options = _options()
    report = Report()
    _conditions(report, options.seconds)
    with tempfile.TemporaryDirectory(prefix="fnbus-bench-") as folder:
        root = Path(folder)
        functions = root / "functions"
        functions.mkdir()
        for name, text in _HELLO.items():
            (functions / name).write_text(text)
        if "calls" in options.only:
            await _calls(report, root, functions, options.seconds)
        async with running_cluster(root / "fnbus", functions, jetstream_sync="always") as cluster:
            if "memory" in options.only:
                await _memory(report, cluster)
            if "jobs" in options.only:
                await _jobs(report, cluster, options.seconds)
            if "deploys" in options.only:
                await _deploys(report, cluster)
    if options.output:
        options.output.write_text("\n".join(report.lines) + "\n")


async def _calls(report: Report, root: Path, functions: Path, seconds: float) -> None:
    """Warm calls against the floor, one system after the other, twice, the better of both."""
    floors: dict[int, Load] = {}
    async with running_nats(root / "floor") as nats, _floor(nats.url) as url:
        await load.wrk(url, connections=16, seconds=1)
        for connections in _CONNECTIONS:
            floors[connections] = await _best(url, connections, seconds)
    report.say("\n### Warm calls\n")
    report.row("system", "connections", "requests/s", "of the floor", "p50 ms", "of the floor's", "p99 ms", "errors")
    report.row("---", "---:", "---:", "---:", "---:", "---:", "---:", "---:")
    for floor in floors.values():
        report.row(
            "floor",
            floor.connections,
            f"{floor.per_second:.0f}",
            "1.00",
            f"{floor.p50_ms:.2f}",
            "1.0",
            f"{floor.p99_ms:.2f}",
            floor.errors,
        )
    for traced in (False, True):
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"} if traced else {}
        label = ", traced" if traced else ""
        folder = root / f"calls{'-traced' if traced else ''}"
        async with running_cluster(folder, functions, settings=settings, jetstream_sync="always") as cluster:
            for language in ("python", "node"):
                url = f"{cluster.url}/hello-{language}"
                await load.wrk(url, connections=64, seconds=2)
                for connections in _CONNECTIONS:
                    found, floor = await _best(url, connections, seconds), floors[connections]
                    report.row(f"{language}{label}", *_cells(found, floor))
            await _cpu(report, cluster, f"{cluster.url}/hello-python", seconds)


def _cells(found: Load, floor: Load) -> tuple[str, ...]:
    return (
        str(found.connections),
        f"{found.per_second:.0f}",
        f"{found.per_second / floor.per_second:.2f}",
        f"{found.p50_ms:.2f}",
        f"{found.p50_ms / floor.p50_ms:.1f}",
        f"{found.p99_ms:.2f}",
        str(found.errors),
    )


async def _cpu(report: Report, cluster: Cluster, url: str, seconds: float) -> None:
    """CPU per call by process, at 16 connections."""
    pids = {replica.service: replica.pid for replica in cluster.replicas} | {"nats": cluster.nats.pid}
    before = {name: load.cpu_seconds(pid) for name, pid in pids.items()}
    workers = {pid: load.cpu_seconds(pid) for pid in load.children(pids["executor"])}
    found = await load.wrk(url, connections=16, seconds=seconds)
    calls = found.per_second * seconds
    spent = {name: (load.cpu_seconds(pid) - before[name]) / calls * 1e6 for name, pid in pids.items()}
    with contextlib.suppress(FileNotFoundError):
        spent["workers"] = sum(load.cpu_seconds(pid) - used for pid, used in workers.items()) / calls * 1e6
    report.say("\nCPU per call, µs: " + ", ".join(f"{name} {cost:.0f}" for name, cost in spent.items()) + "\n")


async def _best(url: str, connections: int, seconds: float) -> Load:
    """Return the faster of two runs: noise only ever slows down."""
    runs = [await load.wrk(url, connections=connections, seconds=seconds) for _ in range(2)]
    return max(runs, key=lambda run: run.per_second)


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


async def _jobs(report: Report, cluster: Cluster, seconds: float) -> None:
    """Jobs durably accepted a second, and done a second until the queue is empty."""
    report.say("\n### Jobs\n")
    report.row("measure", "result")
    report.row("---", "---:")
    async with httpx.AsyncClient(base_url=cluster.url, timeout=10) as client:
        await _job_and_wait(client)
        started = time.monotonic()
        accepted = await load.wrk(f"{cluster.url}/_fn/jobs", connections=64, seconds=seconds, script=_SUBMIT)
        count = accepted.per_second * seconds

        async def ended() -> bool:
            lines = (await client.get(f"{cluster.of('scheduler')[0].ops_url}/metrics")).text.splitlines()
            done = [float(line.split()[-1]) for line in lines if line.startswith("fnbus_scheduler_jobs_ended_total{")]
            return sum(done) >= count * 0.999

        await eventually(ended, within=300, every=0.1)
        elapsed = time.monotonic() - started
        report.row("accepted (stored, fsync) per second, 64 connections", f"{accepted.per_second:.0f}")
        report.row("errors while accepting", accepted.errors)
        report.row("done per second, while accepting and after", f"{count / elapsed:.0f}")
        waits = [await _job_and_wait(client) for _ in range(50)]
    report.row("accept → result visible, idle, p50 ms", f"{statistics.median(waits) * 1000:.1f}")


async def _job_and_wait(client: httpx.AsyncClient) -> float:
    began = time.monotonic()
    job = (await client.post("/_fn/jobs", json={"name": "hello-python"})).json()

    async def done() -> bool:
        return (await client.get(f"/_fn/jobs/{job['id']}")).json()["status"] == "done"

    await eventually(done, every=0.001)
    return time.monotonic() - began


async def _deploys(report: Report, cluster: Cluster) -> None:
    """Saved file to live: until the next call answers with the new code."""
    report.say("\n### Saved file to live\n")
    target = cluster.functions / "get.live.py"
    times: list[float] = []
    async with httpx.AsyncClient(base_url=cluster.url, timeout=10) as client:
        for number in range(30):
            target.write_text(f"def handler(event):\n    return 'version {number}'\n")
            saved = time.monotonic()

            async def live(wanted: str = f"version {number}") -> bool:
                return (await client.get("/live")).text == wanted

            await eventually(live, every=0.005)
            times.append(time.monotonic() - saved)
    times.sort()
    report.say(f"p50 {statistics.median(times) * 1000:.0f} ms, max {times[-1] * 1000:.0f} ms ({len(times)} saves)")


async def _memory(report: Report, cluster: Cluster) -> None:
    """Private memory at rest, before the first call."""
    report.say("\n### Memory at rest (unique set size, MiB)\n")
    pids = {"nats": cluster.nats.pid} | {replica.service: replica.pid for replica in cluster.replicas}
    sizes = {name: load.resident_mib(pid) for name, pid in pids.items()}
    report.say(", ".join(f"{name} {size:.0f}" for name, size in sizes.items()) + f"; in all {sum(sizes.values()):.0f}")
    async with httpx.AsyncClient(base_url=cluster.url, timeout=10) as client:
        for language in ("python", "node"):
            before = set(load.children(pids["executor"]))
            await client.get(f"/hello-{language}")
            new = [pid for pid in load.children(pids["executor"]) if pid not in before]
            report.say(f"a warm {language} worker: {sum(load.resident_mib(pid) for pid in new):.0f} ({len(new)} processes)")


def _conditions(report: Report, seconds: float) -> None:
    names = ("nats-py", "uvicorn", "uvloop")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    report.say(
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {versions}; wrk on the same machine, {seconds:g} s a run, better of two."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="length of each run of load")
    parser.add_argument("--only", default="calls,memory,jobs,deploys", help="which measures, with commas between them")
    parser.add_argument("--output", type=Path, help="file to write the table to as well")
    options = parser.parse_args()
    options.only = options.only.split(",")
    return options


if __name__ == "__main__":
    asyncio.run(main())
