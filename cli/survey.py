"""What this machine offers to functions: languages and isolation, asked of the executor's own code.

Imported late: it loads the executor's runtimes, which most commands do not need.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from libs import errors
from services.executor.runtimes.base import Availability, Runtime
from services.executor.runtimes.installed import runtimes
from services.executor.sandbox import choice
from services.executor.settings import ExecutorSettings, programs


@dataclass(frozen=True, kw_only=True)
class Language:
    """A language and whether functions in it can run here."""

    name: str
    availability: Availability
    program: Path | None = None
    """The one that the settings name, and that is therefore the only one to be tried."""


async def languages() -> tuple[Language, ...]:
    """Probe all runtimes at once, with the programs that the executor would use; sorted as the executor has them."""
    named = programs(_settings())
    return tuple(await asyncio.gather(*(_probe(runtime, named.get(runtime.name)) for runtime in runtimes(named))))


async def isolation(state: Path) -> tuple[str, str]:
    """Return how functions are kept apart here, and why not better; files go below `state`.

    The former is `process`, or bubblewrap with all that holds limits on this machine.
    """
    if _settings().isolation == "process":
        return "process", "FNBUS_ISOLATION says so"
    try:
        sandbox = await choice.probe(state)
    except errors.UnavailableError as error:
        return "process", str(error)
    sandbox.close()
    return sandbox.features, ""


def _settings() -> ExecutorSettings:
    """Return what the executor would be told; as if nothing was where a setting is wrong, which it says itself."""
    try:
        return ExecutorSettings()
    except ValueError:
        return ExecutorSettings.model_construct()


async def _probe(runtime: Runtime, program: Path | None) -> Language:
    return Language(name=runtime.name, availability=await runtime.probe(), program=program)
