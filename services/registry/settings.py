"""What the registry can be told."""

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field

from libs.settings import ServiceSettings


class RegistrySettings(ServiceSettings):
    """Settings of the registry."""

    functions_root: Annotated[
        Path | None,
        Field(validation_alias=AliasChoices("FNBUS_FUNCTIONS_ROOT", "FN_FUNCTIONS_ROOT", "functions_root")),
    ] = None
    """Folder of functions to keep in step with; none: the registry serves what its store holds."""
    reconcile_seconds: Annotated[float, Field(gt=0)] = 30.0
    """How often folder, store and projection are compared in full."""
    history_hours: Annotated[float, Field(gt=0)] = 24.0
    """How long executions are kept."""
    history_max: Annotated[int, Field(ge=1)] = 200_000
    """How many executions are kept at most; the oldest go first."""
    versions_kept: Annotated[int, Field(ge=0)] = 10
    """How many former versions of a function are kept beside those in use."""
