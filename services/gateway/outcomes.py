"""What may come of a call, and who waits for it."""

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import NamedTuple

from libs.messages import calls
from services.gateway.pieces import Streamed

BACKSTOP_SECONDS = 1.0
"""The executor enforces the budget; this much later the gateway stops waiting for it."""
CLIENT_LEFT = "client closed request"

type Gone = Callable[[], Awaitable[None]]
"""Returns when the client has gone away."""


class Trouble(Enum):
    """Why there is no reply."""

    NO_RESPONDERS = auto()
    """Nobody listens: no executor has the runtime."""
    DISCONNECTED = auto()
    """The bus is, or went, away. A call that was under way may have run."""
    TIMEOUT = auto()
    """The executor did not even report that the budget was spent."""
    CLIENT_GONE = auto()
    """The client went away; the worker is being killed."""
    MALFORMED = auto()
    """The reply could not be parsed, or its body could not be fetched."""
    TOO_LARGE = auto()
    """The request's head does not fit into a message."""


class Failed(NamedTuple):
    """There is no answer from the guest."""

    status: int
    text: str
    retry: int = 0
    """Seconds after which trying again may help; 0: it will not."""
    code: str = ""
    """For programs, where the text is not enough."""


type Outcome = calls.Reply | Streamed | Trouble
type Done = Callable[[Outcome], None]


class Waiter:
    """A call under way."""

    __slots__ = ("again", "began", "deadline", "done", "gone", "invocation", "reply", "subject", "token", "traceparent")

    def __init__(
        self,
        *,
        subject: str,
        invocation: calls.Invocation,
        traceparent: str,
        token: str,
        reply: str,
        began: float,
        gone: Gone | None,
        done: Done,
    ) -> None:
        self.subject = subject
        self.invocation = invocation
        self.traceparent = traceparent
        self.token = token
        self.reply = reply
        self.began = began
        self.deadline = began + invocation.budget_ms / 1000 + BACKSTOP_SECONDS
        self.gone = gone
        self.done = done
        self.again = False
        """Whether it was sent a second time."""
