"""Every behaviour is tried on every runtime; a test does not know on which one it is."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from libs.testing import builds
from libs.testing.guests import Answer, Answered, Bench, Sources
from services.executor.profile import Profile
from services.executor.runtimes.base import Runtime
from services.executor.runtimes.installed import runtimes
from tests.integration.runtimes.present import present


@pytest.fixture(scope="session", params=[runtime.name for runtime in runtimes()])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return present(request.param)


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
