"""What the scheduler can be told."""

from typing import Annotated

from pydantic import Field

from libs.settings import ServiceSettings, fastfn


class SchedulerSettings(ServiceSettings):
    """Settings of the scheduler."""

    job_keep_hours: Annotated[float, Field(gt=0)] = 72
    """How long an ended job, its result and its dead letter are kept, in hours."""
    scheduler_enabled: Annotated[bool, Field(validation_alias=fastfn("scheduler_enabled"))] = True
    """False: schedules do not fire; jobs that are submitted run all the same."""
