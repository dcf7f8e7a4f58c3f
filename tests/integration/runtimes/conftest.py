"""Every behaviour is tried on every runtime; a test does not know on which one it is."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from libs.testing.guests import Answer, Answered, Bench, Sources
from services.executor.profile import Profile
from services.executor.runtimes.base import Runtime
from services.executor.runtimes.installed import runtimes


@pytest.fixture(scope="session", params=[runtime.name for runtime in runtimes()])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    chosen = next(each for each in runtimes() if each.name == request.param)
    availability = asyncio.run(chosen.probe())
    if not availability.present:
        message = f"{chosen.name} is not here: {availability.hint}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return chosen


@pytest.fixture
def bench(runtime: Runtime, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(runtime=runtime.name, argv=runtime.command(Profile()).argv, folder=tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def answered(bench: Bench) -> Answered:
    def answered(
        sources: Sources, *, style: str = "auto", body: bytes = b"", env: Mapping[str, str] | None = None, **head: Any
    ) -> Answer:
        return bench.loaded(sources, style=style, env=env).call(body=body, **head)

    return answered
