"""A platform of processes whose functions have dependencies, and packages that need no network."""

import io
import json
import zipfile
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest

from libs.testing.cluster import Cluster, running_cluster
from libs.testing.wait import eventually

PATIENCE = 90.0


class Town:
    """A running platform, and its functions folder."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Save files in the functions folder, manifests first and code last, as a person would copy them."""
        for path, data in files.items():
            target = self.cluster.functions / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data.encode() if isinstance(data, str) else data)

    async def get(self, path: str) -> httpx.Response:
        """Call a function."""
        async with httpx.AsyncClient(base_url=self.cluster.url, timeout=30) as client:
            return await client.get(path)

    async def answers(self, path: str, expected: object) -> None:
        """Wait until a function answers just so."""

        async def check() -> bool:
            response = await self.get(path)
            if response.status_code == 500:
                raise RuntimeError(response.text)  # it will not get better by waiting
            assert response.status_code == 200, f"{response.status_code} {response.text[:2000]}"
            assert response.json() == expected
            return True

        try:
            await eventually(check, within=PATIENCE, every=0.2)
        except AssertionError as error:
            tails = "\n".join(each.tail() for service in ("registry", "executor") for each in self.cluster.of(service))
            raise AssertionError(f"{error}\n{tails}") from None

    def told(self, action: str) -> list[dict[str, object]]:
        """Return the log records of all executors and registries that have an action."""
        lines = [
            line
            for service in ("executor", "registry")
            for each in self.cluster.of(service)
            for line in each.log.read_text(errors="replace").splitlines()
            if f'"{action}"' in line
        ]
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A platform with two executors and an empty functions folder."""
    folder = tmp_path_factory.mktemp("town")
    functions = folder / "functions"
    functions.mkdir()
    async with running_cluster(folder, functions, counts={"executor": 2}) as cluster:
        yield Town(cluster)


def wheel(name: str, version: str, code: str) -> bytes:
    """Return a wheel of one module."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in files) + f"{info}/RECORD,,\n"
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)  # without the time, which would make another wheel
    return sink.getvalue()
