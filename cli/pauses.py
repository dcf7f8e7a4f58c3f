"""Waiting as long as a gateway asks for: it counts the changes of a client."""

import time
from collections.abc import Callable

from cli.errors import RefusedError
from cli.progress import progress

_TOO_MANY = 429
_PAUSE_SECONDS = 2.0
_MOST_PATIENCE_SECONDS = 120


def patiently[T](ask: Callable[[], T]) -> T:
    """Return what was asked for; again after a pause when the gateway says that it is too often.

    Raises:
        RefusedError: it was refused for another reason, or for too long.
    """
    end = time.monotonic() + _MOST_PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except RefusedError as refusal:
            if refusal.status != _TOO_MANY or time.monotonic() > end:
                raise
        with progress() as show:
            show("the gateway asks for a pause: changes of one client are counted (the admin token is not)")
            time.sleep(_PAUSE_SECONDS)
