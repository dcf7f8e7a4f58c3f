"""The streams of fnbus: what they keep and for how long."""

from libs.bus.port import StreamSpec
from libs.messages import subjects

JOBS = StreamSpec(name=subjects.JOBS_STREAM, subjects=("job.>",), work_queue=True)
"""Attempts of jobs that wait for an executor. The job's document is the record of truth; a sweep refills what is lost here."""

EVENTS = StreamSpec(name=subjects.EVENTS_STREAM, subjects=("event.>",), max_bytes=256 * 1024 * 1024, max_age_seconds=24 * 3600)
"""Facts on their way into a store."""
