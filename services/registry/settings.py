"""What the registry can be told."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from libs.messages.catalog import Policy
from libs.settings import ServiceSettings, fastfn, split_at_commas
from services.registry.source.reading import LARGEST
from services.registry.source.watching import Pace


class RegistrySettings(ServiceSettings):
    """Settings of the registry."""

    functions_root: Annotated[Path | None, Field(validation_alias=fastfn("functions_root"))] = None
    """Folder of functions to keep in step with; none: the files of functions are kept in the registry's own store."""
    namespace_depth: Annotated[int, Field(ge=1, le=5, validation_alias=fastfn("namespace_depth"))] = 3
    """How many folders a function directory's name may have below its runtime's folder."""
    zero_config_ignore_dirs: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(split_at_commas), Field(validation_alias=fastfn("zero_config_ignore_dirs"))
    ] = ()
    """Folder names that hold no routes, commas between them, besides the built-in ones."""
    force_url: Annotated[bool, Field(validation_alias=fastfn("force_url"))] = False
    """Whether configured routes win over file routes everywhere."""
    default_timeout_ms: Annotated[int, Field(ge=1, le=LARGEST, validation_alias=fastfn("default_timeout_ms"))] = 2500
    """How long a call may take, in milliseconds, where no config says otherwise."""
    default_max_concurrency: Annotated[int, Field(ge=0, le=LARGEST, validation_alias=fastfn("default_max_concurrency"))] = 20
    """Calls of a function at once where no config says otherwise; 0: no limit."""
    default_max_body_bytes: Annotated[int, Field(ge=1, le=LARGEST, validation_alias=fastfn("default_max_body_bytes"))] = (
        1_048_576
    )
    """Bytes of a call's body where no config says otherwise."""
    hot_reload: Annotated[bool, Field(validation_alias=fastfn("hot_reload"))] = True
    """False: the folder is read at the start and when `/_fn/reload` says so, not when its files change."""
    hot_reload_watchdog: Annotated[bool, Field(validation_alias=fastfn("hot_reload_watchdog"))] = True
    """False: the folder is looked over every `hot_reload_interval` seconds instead of asking the system for notices."""
    hot_reload_interval: Annotated[float, Field(ge=0.1, le=3600, validation_alias=fastfn("hot_reload_interval"))] = 2.0
    """How often that is, in seconds; also where the system gives no notices."""
    hot_reload_debounce_ms: Annotated[int, Field(ge=1, le=10_000, validation_alias=fastfn("hot_reload_debounce_ms"))] = 30
    """How long nothing may have changed before a change is looked at, in milliseconds."""
    max_asset_bytes: Annotated[int, Field(ge=1, validation_alias=fastfn("max_asset_bytes"))] = 32 * 1024 * 1024
    """Largest static file that is served; larger ones answer 413."""
    auto_infer_py_deps: Annotated[bool, Field(validation_alias=fastfn("auto_infer_py_deps"))] = False
    """Whether the imports of Python's functions tell what they need, where nothing else does."""
    auto_infer_node_deps: Annotated[bool, Field(validation_alias=fastfn("auto_infer_node_deps"))] = False
    """The same for Node's."""
    auto_infer_write_manifest: Annotated[bool, Field(validation_alias=fastfn("auto_infer_write_manifest"))] = True
    """Whether what imports have told is written beside the function, once it has been installed."""
    auto_infer_strict: Annotated[bool, Field(validation_alias=fastfn("auto_infer_strict"))] = True
    """Whether a function with an import of which nobody knows the package is not deployed."""
    reconcile_seconds: Annotated[float, Field(gt=0)] = 30.0
    """How often folder, store and projection are compared in full, in seconds."""
    history_hours: Annotated[float, Field(gt=0)] = 24.0
    """How long executions are kept, in hours."""
    history_max: Annotated[int, Field(ge=1)] = 200_000
    """How many executions are kept at most; the oldest go first, of those functions that have the most."""
    history_per_function: Annotated[int, Field(ge=0)] = 1000
    """How many of its newest executions a function keeps while others have more."""
    audit_days: Annotated[float, Field(gt=0)] = 90.0
    """How long the records of who changed what are kept, in days."""
    audit_max: Annotated[int, Field(ge=1)] = 100_000
    """How many of them are kept at most; the oldest go first."""
    versions_kept: Annotated[int, Field(ge=0)] = 10
    """How many former versions of a function are kept beside those in use."""

    layer_hours: Annotated[float, Field(ge=1)] = 24.0
    """How long what was built for functions is kept after the last version that needed it has gone, in hours."""
    layer_max_mb: Annotated[int, Field(ge=0)] = 4096
    """How much of it is kept for so long, in MB; of more, what was asked for longest ago goes after an hour."""

    @field_validator("functions_root", mode="before")
    @classmethod
    def _no_folder_when_empty(cls, value: object) -> object:
        return None if value == "" else value


def defaults(chosen: RegistrySettings) -> Policy:
    """Return what holds where no config says anything."""
    return Policy(
        timeout_ms=chosen.default_timeout_ms,
        max_concurrency=chosen.default_max_concurrency,
        max_body_bytes=chosen.default_max_body_bytes,
    )


def infers(chosen: RegistrySettings) -> frozenset[str]:
    """Return the languages whose imports tell what code needs."""
    asked = {"python": chosen.auto_infer_py_deps, "node": chosen.auto_infer_node_deps}
    return frozenset(runtime for runtime, wanted in asked.items() if wanted)


def pace(chosen: RegistrySettings) -> Pace:
    """Return how the folder is watched."""
    return Pace(
        poll=not chosen.hot_reload_watchdog,
        poll_ms=round(chosen.hot_reload_interval * 1000),
        quiet_ms=chosen.hot_reload_debounce_ms,
    )
