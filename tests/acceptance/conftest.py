"""A running fnbus with the examples, shared by the acceptance tests of one worker."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from libs.testing import fastfn as contract
from libs.testing.beacon import Beacon, running_beacon
from libs.testing.cluster import Cluster, running_cluster
from libs.testing.hostile import FUNCTIONS, write

EXAMPLES = Path(__file__).parents[2] / "examples" / "functions"


@pytest.fixture(scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Everything, one process each, serving `examples/functions`."""
    async with running_cluster(tmp_path_factory.mktemp("platform"), EXAMPLES) as cluster:
        yield cluster


@pytest.fixture
async def client(platform: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the platform's gateway."""
    async with httpx.AsyncClient(base_url=platform.url, timeout=20) as made:
        yield made


@pytest.fixture(scope="session")
async def hostile(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Everything, serving functions that break all rules, and some that break none; no test may leave it worse than it was."""
    folder = write(tmp_path_factory.mktemp("functions"), FUNCTIONS | contract.FUNCTIONS)
    async with running_cluster(tmp_path_factory.mktemp("hostile"), folder) as cluster:
        yield cluster


@pytest.fixture
async def http(hostile: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the hostile platform's gateway."""
    limits = httpx.Limits(max_connections=None)
    # No certificates are read for it: that takes longer than most tests.
    async with httpx.AsyncClient(base_url=hostile.url, timeout=60, limits=limits, verify=False) as made:
        yield made


@pytest.fixture
async def fastfn(http: httpx.AsyncClient) -> httpx.AsyncClient:
    """The same client, for tests of what FastFN promises: functions that break no rule are beside those that break all."""
    return http


@pytest.fixture
async def beacon() -> AsyncIterator[Beacon]:
    """Where handlers of the hostile platform report."""
    async with running_beacon() as made:
        yield made
