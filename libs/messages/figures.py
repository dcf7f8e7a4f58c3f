"""The records of how much ran: sums by hour, asked of the registry."""

from datetime import datetime

from libs.messages.codec import record

HOURS = 24
"""How many hours are told, the one under way included."""


@record()
class FiguresGet:
    """Ask the registry for the last 24 hours; answered by `Figures`."""

    namespace: str = "default"


@record()
class Hour:
    """What ran in one hour."""

    began_at: datetime
    calls: int = 0
    """Executions: calls and attempts of jobs that an executor ran or tried to."""
    failed: int = 0
    """Of them, those without an answer of the handler's own, or with one of 500 and above."""
    micros: int = 0
    """How long they took, waiting and starting included, together."""


@record()
class Figures:
    """The last 24 hours, the oldest first."""

    hours: tuple[Hour, ...]
