"""What `/_fn/catalog` shows is what the catalogue is, also where most of it was put into JSON before."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from libs.bus.memory import MemoryBroker, MemoryBus
from libs.bus.port import Bucket
from libs.messages import subjects
from libs.testing.fakes import function_entry, project
from libs.testing.wait import eventually
from services.gateway.catalogue import Catalogue
from services.gateway.dialects.fastfn.shown import Shown


@pytest.fixture
def bus() -> MemoryBus:
    """The bus that the registry projects to."""
    return MemoryBus(MemoryBroker())


@pytest.fixture
async def catalogue(bus: MemoryBus) -> AsyncIterator[Catalogue]:
    """A gateway's catalogue, following the bus."""
    followed = Catalogue(max_body_bytes=1024)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(followed.follow(bus))
        yield followed
        task.cancel()


def shown(of: Shown) -> dict[str, Any]:
    of.refresh()
    parts = {"routes": of.routes, "conflicts": of.conflicts, "problems": of.problems, "functions": of.functions}
    return orjson.loads(orjson.dumps(parts))


async def bucket_of(bus: MemoryBus) -> Bucket:
    return await bus.bucket(subjects.CATALOG_BUCKET)


async def test_shown_catalogue_follows_functions_that_are_added_changed_and_removed(
    bus: MemoryBus, catalogue: Catalogue
) -> None:
    view = Shown(catalogue)
    assert shown(view) == {"routes": {}, "conflicts": {}, "problems": [], "functions": {}}
    await project(bus, function_entry("b", "/b"), function_entry("a", "/a"))
    await eventually(lambda: len(catalogue.table.names) == 2)
    before = shown(view)
    assert list(before["routes"]) == ["/a", "/b"]
    assert [each["name"] for each in before["functions"]["python"]] == ["a", "b"]
    await project(bus, function_entry("b", "/b", methods=("POST",)), conflicts=("/twice",))
    await eventually(lambda: catalogue.table.conflicts)
    after = shown(view)
    assert after["routes"]["/a"] == before["routes"]["/a"]
    assert after["routes"]["/b"][0]["methods"] == ["POST"]
    assert after["conflicts"] == {"/twice": True}
    await (await bucket_of(bus)).delete(subjects.catalog_key(namespace="default", runtime="python", function="a"))
    await eventually(lambda: len(catalogue.table.names) == 1)
    assert list(shown(view)["routes"]) == ["/b"]


async def test_shown_catalogue_is_the_same_json_as_long_as_nothing_changes(bus: MemoryBus, catalogue: Catalogue) -> None:
    view = Shown(catalogue)
    await project(bus, function_entry("a", "/a"))
    await eventually(lambda: catalogue.meta)
    view.refresh()
    routes = view.routes
    view.refresh()
    assert view.routes is routes
