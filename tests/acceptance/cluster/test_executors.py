"""Executors that are told to stop lose no call; ones that are killed take their workers with them and lose no job."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from benchmarks.load import children
from libs.testing.cluster import Cluster, running_cluster
from libs.testing.wait import eventually

BUDGET_SECONDS = 10
"""`timeout_ms` of the functions."""
_ORPHAN_SECONDS = 20.0
"""It is about one on a machine with nothing else to do."""


@pytest.fixture
async def pair(tmp_path: Path, functions: Path) -> AsyncIterator[Cluster]:
    """One of each service, and two executors."""
    async with running_cluster(tmp_path / "pair", functions, counts={"executor": 2}) as made:
        yield made


def client(cluster: Cluster) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=cluster.url, timeout=60, limits=limits)


def alive(pids: list[int]) -> list[int]:
    """Return which of these processes still run; zombies do not."""
    found: list[int] = []
    for pid in pids:
        try:
            state = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.append(pid)
    return found


async def test_no_call_fails_when_one_of_two_executors_is_told_to_stop_under_load(pair: Cluster) -> None:
    statuses: Counter[int] = Counter()
    enough = asyncio.Event()
    async with client(pair) as http:

        async def caller(path: str) -> None:
            while not enough.is_set():
                statuses[(await http.get(path)).status_code] += 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(6):
                tasks.create_task(caller("/hello"))
                tasks.create_task(caller("/slow?s=0.2"))
            await eventually(lambda: statuses[200] > 100)
            victim, survivor = pair.of("executor")
            assert await victim.stop() == 0
            before = statuses[200]
            await eventually(lambda: statuses[200] > before + 100)
            await survivor.ready()
            enough.set()
    assert set(statuses) == {200}, f"{statuses}\n{victim.tail()}"


async def test_killed_executor_takes_its_workers_with_it_and_loses_no_job(pair: Cluster) -> None:
    async with client(pair) as http:
        submitted = [
            (await http.post("/_fn/jobs", json={"name": "get.slow.py", "query": {"s": "0.5"}, "max_attempts": 3})).json()["id"]
            for _ in range(20)
        ]
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(http.get("/slow", params={"s": "2"})) for _ in range(8)]
            victim = pair.of("executor")[0]
            await eventually(lambda: len(children(victim.pid)) >= 4)
            workers = children(victim.pid)
            os.kill(victim.pid, signal.SIGKILL)
            await eventually(lambda: not alive(workers), within=_ORPHAN_SECONDS)
        statuses = Counter(call.result().status_code for call in calls)
        assert set(statuses) <= {200, 502, 503, 504}, statuses

        async def ended() -> bool:
            states = [(await http.get(f"/_fn/jobs/{each}")).json()["status"] for each in submitted]
            assert "failed" not in states
            return set(states) == {"done"}

        await eventually(ended, within=90, every=0.5)
