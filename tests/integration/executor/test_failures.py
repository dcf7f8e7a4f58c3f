"""What breaks around calls: guests at every moment, code that cannot be had, a disk that takes nothing, deploys without end."""

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from libs import errors
from libs.bus.port import ObjectStore
from libs.messages.calls import FailureCode
from libs.messages.catalog import KeepWarm, Policy, WorkerPoolPolicy
from libs.testing.buses import MemoryNet
from libs.testing.memory import resident_bytes
from libs.testing.objects import PassingObjects
from libs.testing.wait import eventually
from services.executor import catalogue
from tests.integration.executor.harness import PATIENCE, Platform


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Platform]:
    """A platform in memory that nobody has started yet."""
    net = MemoryNet()
    yield Platform(net, tmp_path)
    await net.close()


async def test_worker_that_dies_idle_costs_no_call(alone: Platform) -> None:
    async with alone.running(spares=1) as platform:
        version = await platform.deploy()
        for _ in range(10):
            pid = int((await platform.call(version, b"pid")).body)
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: platform.executor.dispatch.pool.workers == 0, within=PATIENCE)
        assert platform.executor.dispatch.counts["answer"] == 10
        assert platform.executor.dispatch.counts["failure"] == 0


async def test_worker_that_dies_while_it_loads_fails_each_waiting_call_once(alone: Platform) -> None:
    async with alone.running() as platform:
        version = await platform.deploy(runtime="load-dies")
        replies = await asyncio.gather(*(platform.call(version, runtime="load-dies") for _ in range(10)))
        assert {(reply.code, reply.message) for reply in replies} == {(FailureCode.CRASH, "worker ended with exit code 7")}
        pool = platform.executor.dispatch.pool
        await eventually(lambda: pool.workers == 0, within=PATIENCE)
        assert (pool.reserved, pool.waiting) == (0, 0)


async def test_worker_that_dies_in_a_call_fails_that_call_alone(alone: Platform) -> None:
    async with alone.running() as platform:
        version = await platform.deploy(policy=Policy(max_concurrency=4))
        bodies = [b"exit 3" if number % 4 == 0 else b"fine" for number in range(20)]
        replies = await asyncio.gather(*(platform.call(version, body) for body in bodies))
        assert [reply.code is FailureCode.CRASH for reply in replies] == [body == b"exit 3" for body in bodies]
        assert sum(reply.status == 200 for reply in replies) == 15


async def test_answer_counts_when_the_worker_dies_right_after_it(alone: Platform) -> None:
    async with alone.running() as platform:
        version = await platform.deploy()
        for _ in range(10):
            assert (await platform.call(version, b"answer-and-exit")).status == 200
            await eventually(lambda: platform.executor.dispatch.pool.workers == 0, within=PATIENCE)
        assert platform.executor.dispatch.counts["failure"] == 0


class Unsteady(PassingObjects):
    """A store that can be gone, and that gives nonsense as often as it is told."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.gone = False
        self.answers = asyncio.Event()
        """Whether it gives anything at all yet: a slow one does so later."""
        self.answers.set()
        self.nonsense = 0
        self.reads = 0

    async def get(self, key: str) -> bytes:
        self.reads += 1
        await self.answers.wait()
        if self.gone:
            raise errors.UnavailableError("the store is gone")
        if self.nonsense:
            self.nonsense -= 1
            return b"nonsense"
        return await self.inner.get(key)


@contextlib.asynccontextmanager
async def unsteady(alone: Platform) -> AsyncGenerator[tuple[Platform, Unsteady]]:
    """Run an executor whose store of bundles is unsteady."""
    stores: list[Unsteady] = []

    def wrapped(store: ObjectStore) -> Unsteady:
        stores.append(Unsteady(store))
        return stores[0]

    alone.bundles = wrapped
    async with alone.running() as platform:
        yield platform, stores[0]


async def test_code_that_is_here_runs_while_the_store_is_gone(alone: Platform) -> None:
    async with unsteady(alone) as (platform, store):
        version = await platform.deploy()
        assert (await platform.call(version)).status == 200
        store.gone = True
        for _ in range(5):
            assert (await platform.call(version, b"exit 3")).code is FailureCode.CRASH
            reply = await platform.call(version)
            assert (reply.status, reply.cold) == (200, True)
        other = await platform.deploy("other")
        reply = await platform.call(other, function="other")
        assert (reply.code, "the store is gone" in reply.message) == (FailureCode.UNAVAILABLE, True)
        store.gone = False
        assert (await platform.call(other, function="other")).status == 200


async def test_slow_store_holds_up_nobody_whose_code_is_here(alone: Platform) -> None:
    async with unsteady(alone) as (platform, store):
        version = await platform.deploy()
        assert (await platform.call(version)).status == 200
        store.answers.clear()
        other = await platform.deploy("other")
        reply = await platform.call(other, function="other", budget_ms=300)
        assert (reply.code, reply.stage) == (FailureCode.TIMEOUT, "cold")
        waiting = asyncio.create_task(platform.call(other, function="other"))
        await eventually(lambda: platform.executor.dispatch.unfinished, within=PATIENCE)
        for body, code in ((b"", FailureCode.NONE), (b"exit 3", FailureCode.CRASH), (b"", FailureCode.NONE)):
            assert (await platform.call(version, body)).code is code
        assert not waiting.done()
        store.answers.set()
        assert (await waiting).status == 200


async def test_deploy_fetches_code_before_anybody_calls(alone: Platform) -> None:
    async with unsteady(alone) as (platform, store):
        version = await platform.deploy()
        await eventually(lambda: store.reads == 1, within=PATIENCE)
        assert (await platform.call(version)).status == 200
        assert store.reads == 1


async def test_bundle_that_arrives_corrupt_is_fetched_once_more(alone: Platform) -> None:
    async with unsteady(alone) as (platform, store):
        store.nonsense = 1
        assert (await platform.call(await platform.deploy())).status == 200
        assert store.reads == 2
        store.nonsense = 4
        other = await platform.deploy("other")
        await eventually(lambda: store.reads == 4, within=PATIENCE)
        reply = await platform.call(other, function="other")
        assert (reply.code, other.bundle[:12] in reply.message) == (FailureCode.UNAVAILABLE, True)
        assert store.reads in (4, 6)  # twice for the deploy, twice for the call unless that came while the deploy's went on


async def test_bundle_whose_folder_was_removed_is_fetched_again(alone: Platform) -> None:
    async with alone.running() as platform:
        version = await platform.deploy()
        assert (await platform.call(version)).status == 200
        folder = platform.folder / "data" / "executor" / "bundles" / version.bundle
        folder.rename(folder.with_name("elsewhere"))
        assert (await platform.call(version, b"exit 3")).code is FailureCode.CRASH
        assert (await platform.call(version)).status == 200


async def test_calls_that_need_no_disk_go_on_when_it_takes_nothing(alone: Platform) -> None:
    async with alone.running() as platform:
        warm, cold = await platform.deploy(), await platform.deploy("cold")
        assert (await platform.call(warm)).status == 200
        workers = next((platform.folder / "data" / "executor" / "workers").glob("executor-*"))
        aside = workers.rename(workers.with_name("aside"))
        workers.write_bytes(b"no folder any more")
        reply = await platform.call(cold, function="cold")
        assert (reply.code, "there is no place for a worker" in reply.message) == (FailureCode.UNAVAILABLE, True)
        assert [(await platform.call(warm)).status for _ in range(10)] == [200] * 10
        workers.unlink()
        aside.rename(workers)
        assert (await platform.call(cold, function="cold")).status == 200


def folders(platform: Platform, kind: str) -> list[Path]:
    """Return what lies in a folder of the executor's."""
    return list((platform.folder / "data" / "executor").glob(kind))


async def test_thousand_deploys_of_one_function_leave_nothing_behind(alone: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "KEEP_SECONDS", 0.05)
    async with alone.running(spares=1) as platform:

        async def deploys(first: int, last: int) -> None:
            for number in range(first, last):
                version = await platform.deploy(files={"handler.py": b"%d" % number})
                if number % 50 == 0:
                    assert (await platform.call(version)).status == 200

        async def settled() -> None:
            await eventually(lambda: len(folders(platform, "bundles/*")) == 1, within=PATIENCE)
            await eventually(lambda: platform.executor.dispatch.pool.workers <= 1, within=PATIENCE)
            await eventually(lambda: platform.executor.dispatch.spares >= 1, within=PATIENCE)

        await deploys(0, 101)
        await settled()
        gc.collect()
        descriptors, memory = len(os.listdir("/proc/self/fd")), resident_bytes()
        await deploys(101, 1001)
        await settled()
        assert len(folders(platform, "workers/executor-*/*/code")) <= 6
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 30  # what a few more spares have open
        gc.collect()
        assert resident_bytes() - memory < 40 << 20


async def test_kept_workers_are_there_before_the_first_call_and_again_when_one_dies(alone: Platform) -> None:
    async with alone.running(idle_seconds=0.2) as platform:
        pool = platform.executor.dispatch.pool
        kept = await platform.deploy(policy=Policy(worker_pool=WorkerPoolPolicy(min_warm=2)))
        await eventually(lambda: pool.idle == 2, within=PATIENCE)
        reply = await platform.call(kept, b"pid")
        assert not reply.cold
        os.kill(int(reply.body), signal.SIGKILL)
        await eventually(lambda: pool.workers == 1 or pool.idle == 2, within=PATIENCE)
        await eventually(lambda: pool.idle == 2, within=PATIENCE)
        await platform.deploy("other", policy=Policy(keep_warm=KeepWarm(enabled=True, min_warm=1)))
        await eventually(lambda: pool.idle == 3, within=PATIENCE)
