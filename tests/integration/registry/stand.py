"""A functions folder, registries as processes, and the eyes of a gateway on what they project."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from libs.bus.jetstream import JetStreamBus, connect
from libs.bus.port import Entry
from libs.messages import codec, subjects
from libs.messages.catalog import Bundle, CatalogMeta, FunctionEntry
from libs.testing.cluster import Cluster, running_cluster
from libs.testing.mongo import MongoServer


@dataclass(slots=True, kw_only=True)
class Stand:
    """What a test looks at."""

    functions: Path
    cluster: Cluster
    bus: JetStreamBus
    mongo: MongoServer | None

    def save(self, name: str, code: str) -> None:
        """Write a file of the functions folder."""
        path = self.functions / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)

    async def keys(self) -> dict[str, Entry]:
        """Return all entries of the bucket, with their revisions."""
        bucket = await self.bus.bucket(subjects.CATALOG_BUCKET)
        entries = [await bucket.get(key) for key in await bucket.keys()]
        return {entry.key: entry for entry in entries if entry is not None}

    async def shown(self) -> dict[str, FunctionEntry]:
        """Return the functions of the bucket, by name."""
        found = [
            codec.decode(FunctionEntry, entry.value or b"")
            for key, entry in (await self.keys()).items()
            if key != subjects.CATALOG_META
        ]
        return {entry.name: entry for entry in found}

    async def meta(self) -> CatalogMeta:
        return codec.decode(CatalogMeta, (await self.keys())[subjects.CATALOG_META].value or b"")

    async def code(self, entry: FunctionEntry) -> dict[str, str]:
        """Return the files of a function, as an executor would get them."""
        objects = await self.bus.objects(subjects.BUNDLE_STORE)
        bundle = codec.decode(Bundle, await objects.get(entry.versions[0].bundle))
        return {file.path: file.data.decode() for file in bundle.files}

    def shows(self, code: dict[str, str]) -> Callable[[], Awaitable[bool]]:
        """Return a check that exactly these functions are there, each one file with this code."""

        async def check() -> bool:
            shown = await self.shown()
            assert set(shown) == set(code)
            for name, text in code.items():
                assert await self.code(shown[name]) == {name: text}
            return True

        return check

    async def readiness(self, replica: int = 0) -> tuple[int, str]:
        """Return status and text of a registry's `/readyz`."""
        async with httpx.AsyncClient(timeout=10) as client:
            answer = await client.get(f"{self.cluster.of('registry')[replica].ops_url}/readyz")
        return answer.status_code, answer.text

    async def written(self, replica: int = 0) -> float:
        """Return how often a registry has written to the projection since it started."""
        async with httpx.AsyncClient(timeout=10) as client:
            answer = await client.get(f"{self.cluster.of('registry')[replica].ops_url}/metrics")
        name = "fnbus_registry_projection_writes_total{"
        return sum(float(line.rpartition(" ")[2]) for line in answer.text.splitlines() if line.startswith(name))


@asynccontextmanager
async def running_stand(folder: Path, *, mongo: MongoServer | None, registries: int = 1) -> AsyncGenerator[Stand]:
    """Run NATS and registries on a folder with one function, `get.hello.py`."""
    functions = folder / "functions"
    functions.mkdir()
    (functions / "get.hello.py").write_text("one")
    settings = {"FNBUS_RECONCILE_SECONDS": "2"} | ({"FNBUS_MONGO_URL": mongo.url} if mongo else {})
    counts = {"registry": registries, "scheduler": 0, "executor": 0, "gateway": 0}
    async with running_cluster(folder / "cluster", functions, counts=counts, settings=settings) as cluster:
        bus = await connect(url=cluster.nats.url, user="", password="", name="test")
        try:
            yield Stand(functions=functions, cluster=cluster, bus=bus, mongo=mongo)
        finally:
            await bus.close()
