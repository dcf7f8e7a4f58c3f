"""Attackers take more than is theirs: the call fails and says why, and the neighbours do not notice."""

import asyncio
from pathlib import Path

import pytest

from libs.testing.cluster import Cluster
from libs.testing.wait import eventually
from tests.integration.isolation.victim import Victim

_MEMORY_BOMBS = ("memory", "memory_children", "memory_memfd", "memory_shm")


async def test_memory_bomb_ends_its_worker_and_says_so(victim: Victim, runtime: str) -> None:
    answer = await victim.attack(f"{runtime}-small", "memory", mb=600)
    assert answer.status_code == 502
    assert answer.json()["error"].startswith("runtime error: memory limit of 96 MB exceeded")
    assert (await victim.failure(answer))["code"] == "memory_limit"
    assert await victim.done(f"{runtime}-small", "left") == []


@pytest.mark.parametrize("bomb", _MEMORY_BOMBS[1:])
async def test_memory_bomb_in_other_forms_ends_its_worker(victim: Victim, bomb: str) -> None:
    answer = await victim.attack("python-small", bomb)
    if answer.status_code == 200:
        assert "PermissionError" in answer.json()["failed"]  # no memory that belongs to no process, where nothing counts it
    else:
        assert answer.status_code == 502
        assert (await victim.failure(answer))["code"] == "memory_limit"


async def test_fork_bomb_is_stopped(victim: Victim) -> None:
    answer = await victim.attack("python-small", "forks")
    if answer.status_code == 200:
        assert "BlockingIOError" in answer.json()["failed"]
    else:
        assert answer.json()["error"] == "runtime error: process limit of 40 exceeded"
        assert (await victim.failure(answer))["code"] == "process_limit"


async def test_fork_bomb_of_a_shell_is_stopped(victim: Victim) -> None:
    bomb = "f() { i=0; while [ $i -lt 3 ]; do f & i=$((i+1)); done; sleep 5; }; f; sleep 5"
    answer = await victim.attack("python-crowd", "shell", script=bomb)
    if answer.status_code == 200:
        assert "Cannot fork" in answer.text  # it collapsed before anybody had to look
    else:
        assert answer.json()["error"] == "runtime error: process limit of 40 exceeded"
    await victim.fine()


async def test_calls_after_a_fork_bomb_meet_a_whole_worker(victim: Victim) -> None:
    for _ in range(3):
        bomb = await victim.attack("python-crowd", "forks")
        assert bomb.status_code in (200, 502)
        calls = (victim.client.get("/python-crowd", params={"do": "shell", "script": "echo whole"}) for _ in range(2))
        answers = await asyncio.gather(*calls)
        assert [(each.status_code, each.json()) for each in answers] == [(200, {"done": "whole\n"})] * 2


async def test_disk_bomb_fills_only_its_own_tmp(victim: Victim) -> None:
    assert await victim.done("python-small", "disk") <= 16 + 16


async def test_log_flood_does_no_harm(victim: Victim, cluster: Cluster, runtime: str) -> None:
    before = _most_resident(cluster.of("executor")[0].pid)
    answer = await victim.attack(f"{runtime}-closed", "flood", mb=1024 if runtime == "python" else 128)
    assert answer.status_code == 200
    record = await victim.failure(answer)
    assert record["truncated"]
    assert _most_resident(cluster.of("executor")[0].pid) - before < 100 * 1024 * 1024


async def test_header_bomb_is_no_answer(victim: Victim, cluster: Cluster) -> None:
    before = _most_resident(cluster.of("executor")[0].pid)
    answer = await victim.attack("python-closed", "headers")
    assert answer.status_code == 502
    assert _most_resident(cluster.of("executor")[0].pid) - before < 100 * 1024 * 1024
    await victim.fine()


async def test_sockets_are_bounded(victim: Victim) -> None:
    assert "OSError: [Errno 24]" in str(await victim.done("python-small", "sockets"))


async def test_call_ends_when_its_processor_time_is_spent(victim: Victim, runtime: str) -> None:
    answer = await victim.attack(f"{runtime}-quick", "spin")
    assert answer.status_code == 502
    assert answer.json()["error"] == "runtime error: cpu limit of 300 ms exceeded"
    assert (await victim.failure(answer))["code"] == "cpu_limit"


@pytest.mark.parametrize("name", ["python", "node", "rust"])
async def test_computing_after_the_answer_ends_the_worker(
    victim: Victim, cluster: Cluster, name: str, present: tuple[str, ...]
) -> None:
    if name not in present:
        pytest.skip(f"{name} is not here")
    await victim.done(f"{name}-twin", "background")
    executor = cluster.of("executor")[0]
    await eventually(lambda: "went on computing after the answer" in executor.log.read_text())
    assert await victim.done(f"{name}-twin", "left") == []


async def test_children_after_the_answer_end_with_the_worker(victim: Victim, cluster: Cluster) -> None:
    await victim.done("python-twin", "child")
    assert _named("sleep", "120")
    await eventually(lambda: not _named("sleep", "120"))
    assert "went on after the answer" in cluster.of("executor")[0].log.read_text()


async def test_forged_frames_answer_nobody(victim: Victim) -> None:
    for _ in range(3):
        await victim.fine()  # by now ids of calls are beyond those that are forged
    answer = await victim.attack("python-closed", "forge")
    assert "x-forged" not in answer.headers
    assert (answer.status_code, "which nobody asked for" in answer.text) == (502, True)
    await victim.fine()
    answer = await victim.attack("python-closed", "forge", fd=1)
    assert (answer.status_code, answer.json()) == (200, {"done": "forged"})  # what is printed is output, whatever it says
    assert "x-forged" in (await victim.failure(answer))["stdout"]


async def test_nothing_is_left_when_the_executor_is_killed(cluster: Cluster, victim: Victim) -> None:
    extra = await cluster.add("executor", FNBUS_JOB_SLOTS="0")
    await extra.ready()
    await asyncio.gather(*(victim.done(f"python-{kind}", "environ") for kind in ("closed", "twin")))
    family = await eventually(lambda: _below(extra.pid))
    await extra.kill()
    await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), every=0.005)
    cluster.replicas.remove(extra)
    follower = await cluster.add("executor", FNBUS_JOB_SLOTS="0")
    await follower.ready()
    assert _groups(extra.pid) == []
    await follower.kill()
    cluster.replicas.remove(follower)
    await victim.fine()


def _groups(executor: int) -> list[Path]:
    """Return the control groups that an executor has made."""
    return list(Path("/sys/fs/cgroup").glob(f"**/fnbus-{executor}.*"))


def _most_resident(pid: int) -> int:
    """Return the most memory that a process has ever had (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _named(*words: str) -> list[str]:
    """Return the processes whose command line ends with these words."""
    wanted = b"\0".join(word.encode() for word in words) + b"\0"
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if line.endswith(wanted):
                found.append(entry.name)
    return found


def _below(pid: int) -> list[int]:
    """Return the processes below one, all generations."""
    found: list[int] = []
    pending = [pid]
    while pending:
        parent = pending.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            children = [int(child) for child in task.read_text().split()]
            found += children
            pending += children
    return found
