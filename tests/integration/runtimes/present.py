"""The runtimes that tests run functions in."""

import asyncio
import os

import pytest

from services.executor.runtimes.base import Runtime
from services.executor.runtimes.installed import runtimes
from services.executor.runtimes.rust import RustRuntime


def present(name: str) -> Runtime:
    """Return a runtime; without its language the test is skipped, or fails where all languages have to be there."""
    # Programs that are run once are not worth the time it takes to make them fast.
    known = {each.name: each for each in (*runtimes(), RustRuntime(optimised=False))}
    chosen = known[name]
    availability = asyncio.run(chosen.probe())
    if not availability.present:
        message = f"{chosen.name} is not here: {availability.hint}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return chosen
