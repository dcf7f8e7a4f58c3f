"""How long to wait before a service that died is started again."""

FIRST_SECONDS = 0.2
LONGEST_SECONDS = 10.0
STEADY_SECONDS = 30.0
"""Who was up for so long starts with a clean sheet."""


def pause(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row (from 1): each wait is double the last, up to ten seconds."""
    return min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 16))


def failures_in_row(before: int, *, seconds_up: float) -> int:
    """Return how many failures in a row there are with the one that just happened."""
    return 1 if seconds_up >= STEADY_SECONDS else before + 1
