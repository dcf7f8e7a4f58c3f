"""What the platform costs and does beside calls: memory at rest, jobs, deploys."""

import statistics
import time
from pathlib import Path

import httpx

from benchmarks import load
from benchmarks.report import Report
from libs.testing.cluster import Cluster
from libs.testing.wait import eventually

_SUBMIT = Path(__file__).with_name("submit.lua")


async def memory(report: Report, cluster: Cluster) -> None:
    """Private memory at rest, before the first call."""
    report.table("Memory at rest (unique set size)", "process", "MiB")
    pids = {"nats": cluster.nats.pid} | {replica.service: replica.pid for replica in cluster.replicas}
    sizes = {name: load.resident_mib(pid) for name, pid in pids.items()}
    for name, size in {**sizes, "in all": sum(sizes.values())}.items():
        report.row(name, size)


async def jobs(report: Report, cluster: Cluster, seconds: float) -> None:
    """Jobs durably accepted a second, and done a second until the queue is empty."""
    report.table("Jobs", "measure", "result")
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
        report.row("accepted (stored, fsync) per second, 64 connections", accepted.per_second)
        report.row("errors while accepting", accepted.errors)
        report.row("done per second, while accepting and after", count / elapsed)
        waits = [await _job_and_wait(client) for _ in range(50)]
    report.row("accept → result visible, idle, p50 ms", statistics.median(waits) * 1000)


async def _job_and_wait(client: httpx.AsyncClient) -> float:
    began = time.monotonic()
    job = (await client.post("/_fn/jobs", json={"name": "hello-python"})).json()

    async def done() -> bool:
        return (await client.get(f"/_fn/jobs/{job['id']}")).json()["status"] == "done"

    await eventually(done, every=0.001)
    return time.monotonic() - began


async def deploys(report: Report, cluster: Cluster) -> None:
    """Saved file to live: until the next call answers with the new code."""
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
    report.table("Saved file to live", "saves", "p50 ms", "max ms")
    report.row(str(len(times)), statistics.median(times) * 1000, times[-1] * 1000)
