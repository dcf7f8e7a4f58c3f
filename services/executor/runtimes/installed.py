"""The runtimes that there are: those that come with fnbus, and those that other distributions plug in.

A plug-in is an entry point of the group `fnbus.runtimes` (docs/adding-a-runtime.md): its name is the runtime's, its object a
class, or function, that is called without arguments and returns the runtime. One that cannot be loaded is left out with a
warning: the other languages must not suffer from it.
"""

import logging
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from libs import runtime_names
from services.executor.runtimes.base import Runtime
from services.executor.runtimes.deno import DenoRuntime
from services.executor.runtimes.node import NodeRuntime
from services.executor.runtimes.php import PhpRuntime
from services.executor.runtimes.python import PythonRuntime
from services.executor.runtimes.rust import RustRuntime

log = logging.getLogger(__name__)


def runtimes(programs: Mapping[str, Path] | None = None) -> tuple[Runtime, ...]:
    """Return a new object for each runtime, present on this machine or not: the built-in ones first.

    Args:
        programs: those that are to be used, by what they are (`node`, `deno`, `php`, `composer`); others are looked for.
    """
    chosen = programs or {}
    return (
        PythonRuntime(),
        NodeRuntime(chosen.get("node")),
        DenoRuntime(chosen.get("deno")),
        PhpRuntime(chosen.get("php"), composer=chosen.get("composer")),
        RustRuntime(),
        *_plugged_in(),
    )


def _plugged_in() -> tuple[Runtime, ...]:
    found: dict[str, Runtime] = {}
    for entry in sorted(metadata.entry_points(group=runtime_names.GROUP), key=lambda entry: entry.name):
        name = entry.name.lower()
        try:
            runtime = _loaded(entry)
        except Exception as error:  # noqa: BLE001  whatever is wrong with somebody else's code, ours goes on
            log.warning(
                "runtime %s of %s cannot be used: %s",
                name,
                entry.dist.name if entry.dist else entry.value,
                error,
                extra={"action": "runtime_broken", "runtime": name},
            )
        else:
            found[runtime.name] = runtime
    return tuple(found.values())


def _loaded(entry: metadata.EntryPoint) -> Runtime:
    """Return the runtime of an entry point.

    Raises:
        ValueError: it has a name that is taken, or calls itself otherwise than its entry point does.
        Exception: whatever its code raises.
    """
    if entry.name.lower() in runtime_names.BUILT_IN:
        raise ValueError(f"the name {entry.name} is that of a built-in runtime")
    make: Callable[[], Runtime] = entry.load()
    runtime = make()
    if runtime.name != entry.name.lower():
        raise ValueError(f"it calls itself {runtime.name}")
    return runtime
