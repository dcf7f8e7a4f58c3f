"""The runtimes that come with fnbus: the one list that a new language is added to."""

from services.executor.runtimes.base import Runtime
from services.executor.runtimes.deno import DenoRuntime
from services.executor.runtimes.node import NodeRuntime
from services.executor.runtimes.python import PythonRuntime


def runtimes() -> tuple[Runtime, ...]:
    """Return a new object for each runtime, present on this machine or not."""
    return (PythonRuntime(), NodeRuntime(), DenoRuntime())
