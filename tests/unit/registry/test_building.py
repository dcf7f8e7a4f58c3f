"""What needs a build waits for it without anybody waiting for what waits: the previous version answers meanwhile."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from libs import errors
from libs.bus import rpc
from libs.bus.memory import MemoryBus
from libs.clock import ManualClock
from libs.messages import subjects
from libs.messages.builds import BUILD_OPERATION, BuildReply, BuildRequest
from libs.messages.catalog import Bundle, BundleFile, Resolution, VersionEntry
from libs.testing.wait import eventually
from services.registry.audit import Audit
from services.registry.deploys.building import Building
from services.registry.deploys.dependencies import Dependencies, may_need
from services.registry.deploys.deployments import Deployments
from services.registry.deploys.projection import Projection
from services.registry.functions.store import Functions
from services.registry.homes.folder import FolderHome
from services.registry.metrics import Metrics
from services.registry.secrets.sealing import Sealer
from services.registry.source.files import FileSource, Options
from tests.unit.registry.test_deployments import NOON, RING, Stand

NEEDY = "#@requirements leftpad==1\n"
"""Code that begins so is asked about."""


@dataclass(slots=True)
class Executors:
    """The executors' side: answers as it is told, by a text that the code holds."""

    bus: MemoryBus
    id: str = "executor-1"
    answers: dict[str, BuildReply] = field(default_factory=dict[str, BuildReply])
    """Outcomes by bundle; a bundle without one is pending."""
    usual: BuildReply | None = None
    asked: list[BuildRequest] = field(default_factory=list[BuildRequest])
    directly: int = 0
    """How many asks came to this executor, rather than to any."""

    async def any(self, request: BuildRequest, _: str) -> BuildReply:
        """Answer an ask to any executor."""
        self.asked.append(request)
        if not await (await self.bus.objects(subjects.BUNDLE_STORE)).has(request.bundle):
            raise errors.UnavailableError("the bundle is not in the store")
        return self._answer(request)

    async def own(self, request: BuildRequest, _: str) -> BuildReply:
        """Answer an ask to this executor, a little later."""
        self.directly += 1
        await asyncio.sleep(0.01)
        return self._answer(request)

    def _answer(self, request: BuildRequest) -> BuildReply:
        pending = BuildReply(executor=self.id, resolution=Resolution(state="pending"))
        return self.answers.get(request.bundle) or self.usual or pending


def built(layer: str, *, duration_ms: int = 5) -> BuildReply:
    resolution = Resolution(state="ok", tool="pip 25", resolved=("leftpad==1",), duration_ms=duration_ms)
    return BuildReply(executor="executor-1", resolution=resolution, layer=layer, layer_mount=".deps")


def failed(message: str) -> BuildReply:
    return BuildReply(executor="executor-1", resolution=Resolution(state="error", tool="pip 25", message=message))


NOTHING = BuildReply(executor="executor-1", resolution=Resolution())


class BuildingStand(Stand):
    """A registry that asks executors."""

    def __init__(self) -> None:
        super().__init__()
        self.executors = Executors(MemoryBus(self.broker))

    def registry(
        self, *, folder: bool = True, ring: Sealer = RING, reconcile_seconds: float = 30.0
    ) -> tuple[Deployments, Metrics]:
        metrics, clock = Metrics(), ManualClock(NOON)
        functions = Functions(store=self.store, clock=clock)
        bus = MemoryBus(self.broker)
        projection = Projection(bus=bus, bundles=functions.bundle, metrics=metrics)
        deployments = Deployments(
            functions=functions,
            projection=projection,
            sealer=ring,
            clock=clock,
            metrics=metrics,
            audit=Audit(store=self.store, clock=clock),
            source=self.folder if folder else None,
            building=Building(
                dependencies=Dependencies(bus=bus, retry_seconds=0.01, longest_pause=0.05), projection=projection
            ),
            reconcile_seconds=reconcile_seconds,
            retry_seconds=0.01,
        )
        bus.on_state(lambda connected: deployments.bus_is_back() if connected else None)
        return deployments, metrics

    @contextlib.asynccontextmanager
    async def building(self) -> AsyncGenerator[Executors]:
        """Have executors for the length of the block."""
        async with asyncio.TaskGroup() as tasks:
            server = rpc.Server(self.executors.bus, "executor", tasks, queue=subjects.EXECUTORS)
            await server.serve(BUILD_OPERATION, BuildRequest, self.executors.any)
            await server.serve(f"{BUILD_OPERATION}-{self.executors.id}", BuildRequest, self.executors.own)
            try:
                yield self.executors
            finally:
                await server.stop()

    async def version(self, name: str) -> VersionEntry | None:
        """Return what everybody sees of a function."""
        entry = (await self.shown()).get(name)
        return entry.versions[0] if entry else None

    async def becomes(self, name: str, check: Callable[[VersionEntry], bool]) -> VersionEntry:
        """Wait until a function's version is as it should be."""

        async def look() -> VersionEntry | None:
            version = await self.version(name)
            return version if version is not None and check(version) else None

        found = await eventually(look)
        assert found is not None
        return found

    async def bundle(self, name: str) -> str:
        """Return the digest of a function's code as it lies in the folder."""
        (function,) = [each for each in (await self.folder.load()).functions if each.name == name]
        return function.versions[0].bundle


def state(wanted: str) -> Callable[[VersionEntry], bool]:
    return lambda version: version.resolution.state == wanted


@pytest.fixture
def stand() -> BuildingStand:
    """A registry's surroundings."""
    return BuildingStand()


async def test_code_that_needs_nothing_is_deployed_without_asking(stand: BuildingStand) -> None:
    stand.folder.put("plain.py", "x")
    async with stand.building() as executors, stand.running():
        version = await stand.becomes("plain.py", state("none"))
    assert not executors.asked
    assert version.layer == ""


async def test_first_version_is_pending_until_it_is_built(stand: BuildingStand) -> None:
    stand.folder.put("a.py", NEEDY)
    async with stand.building() as executors, stand.running():
        pending = await stand.becomes("a.py", state("pending"))
        executors.usual = built("layer-1")
        done = await stand.becomes("a.py", state("ok"))
    assert (done.layer, done.layer_mount) == ("layer-1", ".deps")
    assert done.resolution.resolved == ("leftpad==1",)
    assert done.digest != pending.digest
    assert executors.asked[0].function == "a.py"
    assert executors.directly > 0


async def test_previous_version_stays_until_the_new_one_is_built(stand: BuildingStand) -> None:
    stand.folder.put("a.py", NEEDY)
    async with stand.building() as executors, stand.running():
        executors.answers[await stand.bundle("a.py")] = built("layer-1")
        first = await stand.becomes("a.py", state("ok"))
        stand.folder.put("a.py", f"{NEEDY}# changed")
        changed = await stand.bundle("a.py")
        await eventually(lambda: any(each.bundle == changed for each in executors.asked))
        assert await stand.version("a.py") == first
        executors.answers[changed] = built("layer-2")
        second = await stand.becomes("a.py", lambda version: version.layer == "layer-2")
    assert second.bundle == changed


async def test_others_are_deployed_while_one_waits(stand: BuildingStand) -> None:
    stand.folder.put("a.py", NEEDY)
    async with stand.building(), stand.running():
        await stand.becomes("a.py", state("pending"))
        stand.folder.put("b.py", "plain")
        await stand.becomes("b.py", state("none"))


async def test_failure_keeps_the_previous_version_and_is_a_problem(stand: BuildingStand) -> None:
    stand.folder.put("a.py", NEEDY)
    async with stand.building() as executors, stand.running():
        executors.answers[await stand.bundle("a.py")] = built("layer-1")
        first = await stand.becomes("a.py", state("ok"))
        executors.usual = failed("Looking\nno such package: leftpadd")
        stand.folder.put("a.py", f"{NEEDY}# changed")

        async def told() -> bool:
            return any("no such package" in problem.message for problem in (await stand.meta()).problems)

        await eventually(told)
        (problem,) = (await stand.meta()).problems
        assert problem.path == "a.py"
        assert problem.message.startswith("dependencies could not be installed (pip 25): ")
        assert await stand.version("a.py") == first


async def test_failure_of_a_first_version_is_shown_with_its_reason(
    stand: BuildingStand, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stand.folder.put("a.py", NEEDY)
    async with stand.building() as executors, stand.running():
        await stand.becomes("a.py", state("pending"))
        executors.usual = failed("no such package")
        version = await stand.becomes("a.py", state("error"))
    assert version.resolution.message == "no such package"
    assert caplog.text.count("a.py (python) waits for its dependencies") == 1
    assert len((await stand.meta()).problems) == 1


@pytest.mark.parametrize(("strict", "state"), [(True, "error"), (False, "none")])
async def test_import_that_nobody_knows_is_a_failure_where_that_is_wanted(
    stand: BuildingStand, tmp_path: Path, strict: bool, state: str
) -> None:
    (tmp_path / "a.py").write_text("import nobody_knows")
    (function,) = (await FileSource(FolderHome(tmp_path), Options(infers=frozenset({"python"}))).load()).functions
    projection = Projection(
        bus=MemoryBus(stand.broker), bundles=Functions(store=stand.store, clock=ManualClock(NOON)).bundle, metrics=Metrics()
    )
    building = Building(dependencies=Dependencies(bus=MemoryBus(stand.broker)), projection=projection, strict=strict)
    bundle = Bundle(files=(BundleFile(path="a.py", data=b"import nobody_knows"),))
    built = await building.of(function, namespace="default", known=None, code={function.versions[0].bundle: bundle})
    assert built["default"].resolution.state == state
    assert ("unresolved imports: nobody_knows" in built["default"].resolution.message) is strict


async def test_failure_is_tried_again_only_when_the_code_changes(stand: BuildingStand) -> None:
    stand.folder.put("a.py", NEEDY)
    async with stand.building() as executors, stand.running():
        executors.usual = failed("no such package")
        await stand.becomes("a.py", state("error"))
        asked = len(executors.asked)
        for number in range(3):
            stand.folder.put("b.py", f"{number}")
            await eventually(stand.shows(a=NEEDY, b=f"{number}"))
        assert len(executors.asked) == asked
        executors.usual = built("layer-1")
        stand.folder.put("a.py", f"{NEEDY}# mended")
        await stand.becomes("a.py", state("ok"))

    assert not (await stand.meta()).problems


async def test_failure_is_tried_again_by_a_registry_that_starts(stand: BuildingStand) -> None:
    stand.folder.put("a.py", NEEDY)
    async with stand.building() as executors:
        executors.usual = failed("the index is down")
        async with stand.running():
            await stand.becomes("a.py", state("error"))
        executors.usual = built("layer-1")
        async with stand.running():
            await stand.becomes("a.py", state("ok"))


async def test_executor_that_starts_later_is_found(stand: BuildingStand) -> None:
    stand.folder.put("a.py", NEEDY)
    async with stand.running():
        await stand.becomes("a.py", state("pending"))
        stand.executors.usual = built("layer-1")
        async with stand.building():
            await stand.becomes("a.py", state("ok"))


async def test_build_of_an_executor_that_dies_is_asked_for_elsewhere(stand: BuildingStand) -> None:
    stand.folder.put("a.py", NEEDY)
    async with stand.running():
        async with stand.building() as executors:
            await eventually(lambda: executors.directly)
        executors.id = "executor-2"
        executors.usual = built("layer-1")
        async with stand.building():
            await stand.becomes("a.py", state("ok"))


async def test_language_decides_that_there_is_nothing_to_build(stand: BuildingStand) -> None:
    stand.folder.put("a.py", NEEDY)
    async with stand.building() as executors, stand.running():
        executors.usual = NOTHING
        version = await stand.becomes("a.py", state("none"))
    assert version.layer == ""


async def test_second_registry_on_the_same_store_changes_nothing(stand: BuildingStand) -> None:
    stand.folder.put("a.py", NEEDY)
    async with stand.building() as executors, stand.running():
        executors.usual = built("layer-1")
        await stand.becomes("a.py", state("ok"))
        first = await stand.shown()
        executors.usual = built("layer-1", duration_ms=99)
        async with stand.running():
            await eventually(lambda: len(executors.asked) > 1)
            assert await stand.shown() == first


async def test_layer_that_executors_make_another_way_now_replaces_the_old_one(stand: BuildingStand) -> None:
    stand.folder.put("a.py", NEEDY)
    async with stand.building() as executors:
        executors.usual = built("layer-of-3.12")
        async with stand.running():
            await stand.becomes("a.py", state("ok"))
        executors.usual = built("layer-of-3.13")
        async with stand.running():
            await stand.becomes("a.py", lambda version: version.layer == "layer-of-3.13")


async def test_code_that_was_offered_for_a_build_is_taken_back_when_it_is_superseded(stand: BuildingStand) -> None:
    stand.folder.put("a.py", "plain")
    async with stand.building() as executors, stand.running():
        await stand.becomes("a.py", state("none"))
        stand.folder.put("a.py", NEEDY)
        offered = await stand.bundle("a.py")
        await eventually(lambda: any(each.bundle == offered for each in executors.asked))
        stand.folder.put("a.py", "plain again")
        await stand.becomes("a.py", lambda version: version.bundle != offered)
        objects = await stand.bus.objects(subjects.BUNDLE_STORE)

        async def gone() -> bool:
            return not await objects.has(offered)

        await eventually(gone)


def bundle(**files: str) -> Bundle:
    names = {name.replace("__", "/").replace("_", "."): data for name, data in files.items()}
    return Bundle(files=tuple(BundleFile(path=path, data=data.encode()) for path, data in names.items()))


@pytest.mark.parametrize(
    ("runtime", "files", "expected"),
    [
        ("python", {"handler_py": "import os"}, False),
        ("python", {"handler_py": "x = 1\n#@requirements requests\n"}, True),
        ("python", {"requirements_txt": "# none\n\n"}, False),
        ("python", {"requirements_txt": "requests"}, True),
        ("python", {"package_json": '{"dependencies": {"x": "1"}}'}, False),
        ("node", {"package_json": '{"type": "module"}'}, False),
        ("node", {"package_json": '{"dependencies": {}}'}, False),
        ("node", {"package_json": '{"dependencies": {"x": "1"}}'}, True),
        ("node", {"lib__package_json": '{"dependencies": {"x": "1"}}'}, True),
        ("node", {"package_json": "{"}, True),
        ("node", {"handler_js": 'import "npm:x"'}, False),
        ("php", {"composer_json": '{"require": {"php": ">=8"}}'}, True),
        ("php", {"handler_php": "<?php"}, False),
        ("rust", {"handler_rs": ""}, True),
        ("deno", {"handler_ts": 'import x from "./x.ts"'}, False),
        ("deno", {"handler_ts": 'import x from "npm:x@1"'}, True),
        ("deno", {"lib__x_ts": "import x from 'jsr:@std/x'"}, True),
        ("deno", {"handler_ts": 'import x from "https://deno.land/x/y.ts"'}, True),
        ("plugged", {"handler_sh": ""}, True),
    ],
)
def test_code_may_need_a_build_by_what_it_declares(runtime: str, files: dict[str, str], *, expected: bool) -> None:
    assert may_need(runtime, "handler.py", bundle(**files)) is expected
