"""What the registry can be told."""

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from libs.settings import ServiceSettings, split_at_commas


def _fastfn(name: str) -> AliasChoices:
    """Return the names of a setting that FastFN has too: ours first."""
    return AliasChoices(f"FNBUS_{name.upper()}", f"FN_{name.upper()}", name)


class RegistrySettings(ServiceSettings):
    """Settings of the registry."""

    functions_root: Annotated[Path | None, Field(validation_alias=_fastfn("functions_root"))] = None
    """Folder of functions to keep in step with; none: the registry serves what its store holds."""
    namespace_depth: Annotated[int, Field(ge=1, le=5, validation_alias=_fastfn("namespace_depth"))] = 3
    """How many folders a function directory's name may have below its runtime's folder."""
    zero_config_ignore_dirs: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(split_at_commas), Field(validation_alias=_fastfn("zero_config_ignore_dirs"))
    ] = ()
    """Folder names that hold no routes, commas between them, besides the built-in ones."""
    force_url: Annotated[bool, Field(validation_alias=_fastfn("force_url"))] = False
    """Whether configured routes win over file routes everywhere."""
    reconcile_seconds: Annotated[float, Field(gt=0)] = 30.0
    """How often folder, store and projection are compared in full, in seconds."""
    history_hours: Annotated[float, Field(gt=0)] = 24.0
    """How long executions are kept, in hours."""
    history_max: Annotated[int, Field(ge=1)] = 200_000
    """How many executions are kept at most; the oldest go first."""
    audit_days: Annotated[float, Field(gt=0)] = 90.0
    """How long the records of who changed what are kept, in days."""
    audit_max: Annotated[int, Field(ge=1)] = 100_000
    """How many of them are kept at most; the oldest go first."""
    versions_kept: Annotated[int, Field(ge=0)] = 10
    """How many former versions of a function are kept beside those in use."""

    @field_validator("functions_root", mode="before")
    @classmethod
    def _no_folder_when_empty(cls, value: object) -> object:
        return None if value == "" else value
