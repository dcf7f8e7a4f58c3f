"""What the executor can be told."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from libs.settings import ServiceSettings

_WORKER_BYTES = 64 * 1024 * 1024
_MOST_WORKERS, _FEWEST_WORKERS = 256, 4


class ExecutorSettings(ServiceSettings):
    """Settings of the executor."""

    isolation: Literal["auto", "required", "process"] = "auto"
    """`auto`: bubblewrap where it works, else plain processes with a warning; `required`: that or no start; `process`: none."""
    max_workers: Annotated[int, Field(ge=0, le=4096)] = 0
    """Worker processes at the same time; 0: as many as memory allows, at most 256."""
    max_waiting: Annotated[int, Field(ge=1)] = 1024
    """Calls that may wait for a worker; more are answered busy."""
    job_slots: Annotated[int, Field(ge=0, le=1024)] = 32
    """Attempts of jobs held at the same time, for each runtime; 0: this executor runs no jobs."""
    idle_seconds: Annotated[float, Field(gt=0)] = 300
    """How long a worker stays without a call, in seconds."""
    ready_seconds: Annotated[float, Field(gt=0)] = 10
    """How long a language may take to boot, in seconds."""
    load_seconds: Annotated[float, Field(gt=0)] = 10
    """How long a function's code may take to load, in seconds."""


def worker_limit(chosen: ExecutorSettings) -> int:
    """Return how many workers may exist: what was set, or what the free memory has room for."""
    if chosen.max_workers:
        return chosen.max_workers
    return max(_FEWEST_WORKERS, min(_MOST_WORKERS, _available_bytes() // _WORKER_BYTES))


def _available_bytes() -> int:
    """Return how much memory could be used without swapping: on Linux that counts what the page cache would give back."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
