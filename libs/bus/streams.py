"""The streams and stores of fnbus: what they keep, for how long, and what fits into one message."""

from libs.bus.port import StreamSpec
from libs.messages import subjects

JOBS = StreamSpec(name=subjects.JOBS_STREAM, subjects=("job.>",), work_queue=True)
"""Attempts of jobs that wait for an executor. The job's document is the record of truth; a sweep refills what is lost here."""

EVENTS = StreamSpec(name=subjects.EVENTS_STREAM, subjects=("event.>",), max_bytes=256 * 1024 * 1024, max_age_seconds=24 * 3600)
"""Facts on their way into a store."""

BODY_TTL_SECONDS = 3600.0
"""How long a body that nobody fetched stays in the store of bodies."""

ENVELOPE_BYTES = 64 * 1024
"""Room that a message keeps for everything but its body; a body for which `Bus.max_payload` leaves less goes by reference."""
