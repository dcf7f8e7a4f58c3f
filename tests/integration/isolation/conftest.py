"""A whole platform whose functions attack it, shared by all tests here."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from libs.testing.cluster import Cluster, running_cluster
from libs.testing.hostile import write
from libs.testing.wait import eventually
from services.executor.runtimes.installed import runtimes
from tests.integration.isolation.attackers import CONFIGS, SOURCES, functions
from tests.integration.isolation.victim import Victim
from tests.unit.executor.inside import required


async def _present() -> tuple[str, ...]:
    known = runtimes()
    found = await asyncio.gather(*(runtime.probe() for runtime in known))
    return tuple(each.name for each, there in zip(known, found, strict=True) if there.present and each.name in SOURCES)


@pytest.fixture(scope="session")
async def present() -> tuple[str, ...]:
    """Runtimes of this machine that attack."""
    return await _present()


@pytest.fixture(scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory, present: tuple[str, ...]) -> AsyncIterator[Cluster]:
    """One process of each service, with the sandbox."""
    if await required(tmp_path_factory.mktemp("probe")) is None:
        pytest.skip("bubblewrap does not work here")
    folder = write(tmp_path_factory.mktemp("functions"), functions(present))
    settings = {"FNBUS_ISOLATION": "required", "FNBUS_FENCE": "machine"}
    async with running_cluster(tmp_path_factory.mktemp("isolation"), folder, settings=settings) as made:
        if "rust" in present:
            await _built(made.url, [f"rust-{kind}" for kind in CONFIGS])
        yield made


async def _built(url: str, functions: list[str]) -> None:
    """Wait until programs are there: nobody attacks before."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:

        async def answers(function: str) -> bool:
            return (await client.get(f"/{function}", params={"do": "left"})).status_code == 200

        for function in functions:
            await eventually(lambda each=function: answers(each), within=120, every=0.1)


@pytest.fixture(params=sorted(SOURCES))
async def runtime(request: pytest.FixtureRequest, present: tuple[str, ...]) -> str:
    """Every language in turn."""
    if request.param not in present:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{request.param} is not here")
        pytest.skip(f"{request.param} is not here")
    return request.param


@pytest.fixture
async def victim(cluster: Cluster) -> AsyncIterator[Victim]:
    """The platform as an attacker's caller and its neighbours see it."""
    async with httpx.AsyncClient(base_url=cluster.url, timeout=60) as client:
        yield Victim(cluster=cluster, client=client)


@pytest.fixture(scope="session")
def fenced(cluster: Cluster) -> bool:
    """Whether the executor has a fence: one that is root always has it in CI."""
    there = ", fence" in cluster.of("executor")[0].log.read_text()
    assert there or os.environ.get("CI") != "true" or os.geteuid() != 0
    return there


@pytest.fixture
def state(cluster: Cluster) -> Path:
    """Folder with everything that the platform keeps."""
    return cluster.folder
