"""What is added, renamed and deleted in the folder comes and goes everywhere: calls, catalogue, OpenAPI, schedules."""

import json
import shutil
from pathlib import Path

import httpx

from libs.testing.cluster import running_cluster
from libs.testing.wait import eventually

HANDLER = "exports.handler = () => 'here';\n"
CONFIG = {"schedule": {"every_seconds": 86_400}, "invoke": {"methods": ["GET"]}}


async def places(client: httpx.AsyncClient, name: str) -> set[str]:
    """Return where a function is to be found."""
    found = {"calls"} if (await client.get(f"/{name}")).text == "here" else set[str]()
    catalog = (await client.get("/_fn/catalog")).json()
    if f"/{name}" in catalog["mapped_routes"]:
        found.add("routes")
    if any(each["name"] == name for runtime in catalog["runtimes"].values() for each in runtime["functions"]):
        found.add("functions")
    if f"/{name}" in (await client.get("/openapi.json")).json()["paths"]:
        found.add("openapi")
    if any(each["name"] == name for each in (await client.get("/_fn/schedules")).json()["schedules"]):
        found.add("schedules")
    return found


async def test_functions_come_and_go_everywhere_with_their_files(tmp_path: Path) -> None:
    functions = tmp_path / "functions"
    functions.mkdir()
    everywhere = {"calls", "routes", "functions", "openapi", "schedules"}
    async with (
        running_cluster(tmp_path / "fnbus", functions) as cluster,
        httpx.AsyncClient(base_url=cluster.url, timeout=60) as client,
    ):

        async def is_at(name: str, wanted: set[str]) -> None:
            async def check() -> bool:
                found = await places(client, name)
                assert found == wanted, f"{name} is at {sorted(found)}"
                return True

            await eventually(check, within=60, every=0.1)

        folder = functions / "node" / "tick"
        folder.mkdir(parents=True)
        (folder / "fn.config.json").write_text(json.dumps(CONFIG))
        (folder / "handler.js").write_text(HANDLER)
        await is_at("tick", everywhere)
        folder = folder.rename(folder.with_name("tock"))
        await is_at("tock", everywhere)
        await is_at("tick", set())
        (folder / "fn.config.json").write_text('{"schedule": {"every_seconds": 86400}, "invo')
        await is_at("tock", everywhere - {"schedules"})
        shutil.rmtree(folder)
        await is_at("tock", set())
