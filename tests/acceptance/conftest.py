"""A running fnbus with the examples, shared by the acceptance tests of one worker."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from libs.testing.cluster import Cluster, running_cluster

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
