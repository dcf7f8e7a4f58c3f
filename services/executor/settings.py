"""What the executor can be told."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, Field
from pydantic_settings import NoDecode

from libs.ports import named_ports
from libs.settings import ServiceSettings, fastfn, split_at_commas

_MIB = 1024 * 1024
_MOST_WORKERS = 512
_BUS_PORT = 4222
"""NATS's own, where an address names none."""
_CONTAINER_BOUNDS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""A container finds its own control group there, by version 2 and 1."""
_SHARE = 0.8
"""Of the memory that is free when the executor starts, what its workers may use."""


type Port = Annotated[int, Field(ge=1, le=65_535)]
type Ports = Annotated[tuple[Port, ...], NoDecode, BeforeValidator(split_at_commas)]


class ExecutorSettings(ServiceSettings):
    """Settings of the executor."""

    isolation: Literal["auto", "required", "process"] = "auto"
    """`auto`: bubblewrap where it works, else plain processes with a warning; `required`: that or no start; `process`: none."""
    max_workers: Annotated[int, Field(ge=0, le=4096)] = 0
    """Worker processes at the same time, whatever they use; 0: 512."""
    memory_mb: Annotated[int, Field(ge=0)] = 0
    """Memory that all workers together may use; 0: four fifths of what is free when the executor starts."""
    max_waiting: Annotated[int, Field(ge=1)] = 1024
    """Calls that may wait for a worker; more are answered busy."""
    job_slots: Annotated[
        int,
        Field(ge=0, le=1024, validation_alias=AliasChoices("FNBUS_JOB_SLOTS", "FN_JOBS_MAX_CONCURRENCY", "job_slots")),
    ] = 32
    """Attempts of jobs held at the same time, for each runtime; 0: this executor runs no jobs."""
    spares: Annotated[int, Field(ge=0, le=64)] = 4
    """Booted guests without code, for each runtime and set of permissions in use; up to five times as many at rest; 0: none."""
    idle_seconds: Annotated[float, Field(gt=0)] = 300
    """How long a worker stays without a call, in seconds."""
    py_pool_idle_ttl_ms: Annotated[int, Field(ge=0, validation_alias=fastfn("py_pool_idle_ttl_ms"))] = 0
    """The same for Python's workers, in milliseconds; 0: as for all."""
    node_pool_idle_ttl_ms: Annotated[int, Field(ge=0, validation_alias=fastfn("node_pool_idle_ttl_ms"))] = 0
    """For Node's."""
    php_pool_idle_ttl_ms: Annotated[int, Field(ge=0, validation_alias=fastfn("php_pool_idle_ttl_ms"))] = 0
    """For PHP's."""
    rust_pool_idle_ttl_ms: Annotated[int, Field(ge=0, validation_alias=fastfn("rust_pool_idle_ttl_ms"))] = 0
    """For Rust's."""
    node_bin: Annotated[Path | None, Field(validation_alias=fastfn("node_bin"))] = None
    """Program to run Node's functions with; none: the wheel's, else the one on PATH."""
    deno_bin: Annotated[Path | None, Field(validation_alias=fastfn("deno_bin"))] = None
    """The same for Deno."""
    php_bin: Annotated[Path | None, Field(validation_alias=fastfn("php_bin"))] = None
    """The same for PHP; none: the one on PATH."""
    composer_bin: Annotated[Path | None, Field(validation_alias=fastfn("composer_bin"))] = None
    """Program that installs what PHP's functions need; none: the one on PATH."""
    ready_seconds: Annotated[float, Field(gt=0)] = 10
    """How long a language may take to boot, in seconds."""
    load_seconds: Annotated[float, Field(gt=0)] = 10
    """How long a function's code may take to load, in seconds."""
    build_seconds: Annotated[float, Field(gt=0)] = 300
    """How long the installation of a function's dependencies, or its compilation, may take, in seconds."""
    rust_build_timeout_s: Annotated[float, Field(ge=0, validation_alias=fastfn("rust_build_timeout_s"))] = 0
    """The same for Rust alone; 0: as for all."""
    auto_requirements: Annotated[bool, Field(validation_alias=fastfn("auto_requirements"))] = True
    """False: what Python's functions declare is not installed."""
    auto_node_deps: Annotated[bool, Field(validation_alias=fastfn("auto_node_deps"))] = True
    """False: what Node's functions declare is not installed."""
    auto_php_deps: Annotated[bool, Field(validation_alias=fastfn("auto_php_deps"))] = True
    """False: what PHP's functions declare is not installed."""
    build_max_mb: Annotated[int, Field(ge=1, le=4096)] = 512
    """Size of what that makes, in MB; while it runs it may have four times as much on disk."""
    build_memory_mb: Annotated[int, Field(ge=64)] = 2048
    """Memory that it may use, in MB."""
    builds_at_once: Annotated[int, Field(ge=1, le=64)] = 2
    """How many builds run at the same time; more wait."""
    build_scripts: bool = False
    """Whether packages may run programs of their own while they are installed, and be built from source."""
    strict_fs_allow: Annotated[
        tuple[Path, ...], NoDecode, BeforeValidator(split_at_commas), Field(validation_alias=fastfn("strict_fs_allow"))
    ] = ()
    """Files and folders of this machine that functions may read besides the system's: absolute paths, commas between them."""
    fence: Literal["platform", "machine"] = "platform"
    """What functions with network do not reach of this machine: the platform's own ports, or none of its ports at all."""
    fenced_ports: Ports = ()
    """Ports of the platform on this machine besides the bus and this executor's, as `8080,27017`. Set by `fnbus dev`."""
    build_local: bool = False
    """Whether builds reach this machine's own addresses; they do when the tools' settings name one (`http://localhost:…`)."""


def worker_limit(chosen: ExecutorSettings) -> int:
    """Return how many workers may exist, whatever they use."""
    return chosen.max_workers or _MOST_WORKERS


def idle_seconds(chosen: ExecutorSettings) -> dict[str, float]:
    """Return how long workers stay without a call, for the languages that have a time of their own."""
    own = {
        "python": chosen.py_pool_idle_ttl_ms,
        "node": chosen.node_pool_idle_ttl_ms,
        "php": chosen.php_pool_idle_ttl_ms,
        "rust": chosen.rust_pool_idle_ttl_ms,
    }
    return {runtime: milliseconds / 1000 for runtime, milliseconds in own.items() if milliseconds}


def allowed(chosen: ExecutorSettings) -> tuple[Path, ...]:
    """Return what functions may read besides the system's own; what is not there, or has no absolute path, is left out."""
    return tuple(path for path in chosen.strict_fs_allow if path.is_absolute() and path.exists())


def programs(chosen: ExecutorSettings) -> dict[str, Path]:
    """Return the programs that were named, by what they are."""
    named = {"node": chosen.node_bin, "deno": chosen.deno_bin, "php": chosen.php_bin, "composer": chosen.composer_bin}
    return {name: program for name, program in named.items() if program is not None}


def uninstalled(chosen: ExecutorSettings) -> frozenset[str]:
    """Return the languages whose functions get nothing installed."""
    installs = {"python": chosen.auto_requirements, "node": chosen.auto_node_deps, "php": chosen.auto_php_deps}
    return frozenset(runtime for runtime, wanted in installs.items() if not wanted)


def fenced(chosen: ExecutorSettings) -> frozenset[int]:
    """Return the ports of this machine that functions do not reach; empty: they reach none."""
    if chosen.fence == "machine":
        return frozenset()
    bus = named_ports(chosen.nats_url, usual=_BUS_PORT)
    return frozenset({*bus, chosen.ops_port, *chosen.fenced_ports} - {0})


def memory_budget(chosen: ExecutorSettings) -> int:
    """Return how many bytes workers may use together: what was set, or most of what is free."""
    return chosen.memory_mb * _MIB or int(_available_bytes() * _SHARE)


def _available_bytes() -> int:
    """Return how much memory could be used without swapping: on Linux that counts what the page cache would give back.

    In a container it is no more than the container may have.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(free, *(_number(path) or free for path in _CONTAINER_BOUNDS))


def _number(path: Path) -> int:
    """Return the number in a file; 0 when there is none (`max`: no bound)."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
