"""A cluster as in production: real NATS, a real MongoDB-protocol server, several replicas of each service."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.testing.cluster import Cluster, running_cluster
from libs.testing.hostile import FUNCTIONS, write
from libs.testing.mongo import MongoServer, running_mongo

HELLO = 'def handler(event):\n    return {"hello": "world", "executor": __import__("os").getpid()}\n'
SLOW = """
import time


def handler(event):
    time.sleep(float(event["query"].get("s", "0.2")))
    return {"slept": True}
"""


@pytest.fixture
async def mongo(tmp_path: Path) -> AsyncIterator[MongoServer]:
    """A database of the test's own."""
    async with running_mongo(tmp_path / "mongo") as server:
        yield server


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    """A folder with a few functions; tests add to it."""
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / "get.hello.py").write_text(HELLO)
    (folder / "get.slow.py").write_text(SLOW)
    write(folder, {path: text for path, text in FUNCTIONS.items() if path.startswith("python/held/")})
    (folder / "fn.config.json").write_text('{"max_concurrency": 0, "timeout_ms": 10000}')
    return folder


@pytest.fixture
async def cluster(tmp_path: Path, functions: Path, mongo: MongoServer) -> AsyncIterator[Cluster]:
    """Two gateways, three executors, two schedulers, two registries."""
    counts = {"registry": 2, "scheduler": 2, "executor": 3, "gateway": 2}
    settings = {"FNBUS_MONGO_URL": mongo.url}
    async with running_cluster(tmp_path / "cluster", functions, counts=counts, settings=settings) as made:
        yield made
