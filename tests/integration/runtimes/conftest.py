"""Every behaviour is tried on every runtime; a test does not know on which one it is."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from libs.testing import builds
from libs.testing.guests import Answer, Answered, Bench, Sources
from services.executor.profile import Profile
from services.executor.runtimes.base import Runtime
from services.executor.runtimes.installed import runtimes
from services.executor.runtimes.rust import RustRuntime


@pytest.fixture(scope="session", params=[runtime.name for runtime in runtimes()])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    # Programs that are run once are not worth the time it takes to make them fast.
    known = {each.name: each for each in (*runtimes(), RustRuntime(optimised=False))}
    chosen = known[request.param]
    availability = asyncio.run(chosen.probe())
    if not availability.present:
        message = f"{chosen.name} is not here: {availability.hint}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return chosen


@pytest.fixture
def bench(runtime: Runtime, tmp_path: Path) -> Iterator[Bench]:
    def build(root: Path, entrypoint: str) -> None:
        plan = runtime.build(root, entrypoint)
        if plan is not None:
            builds.build(plan, root)

    compiles = runtime.name == "rust"  # what others build is dependencies, which behaviours have none of
    command = runtime.command(Profile())
    bench = Bench(runtime=runtime.name, argv=command.argv, folder=tmp_path, build=build if compiles else None)
    yield bench
    bench.close()


@pytest.fixture
def answered(bench: Bench) -> Answered:
    def answered(
        sources: Sources, *, style: str = "auto", body: bytes = b"", env: Mapping[str, str] | None = None, **head: Any
    ) -> Answer:
        return bench.loaded(sources, style=style, env=env).call(body=body, **head)

    return answered
