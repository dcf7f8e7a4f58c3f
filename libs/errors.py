"""The errors of fnbus: one base, and two branches that decide the fate of a message.

A consumer that meets a `PermanentError` terminates the message and dead-letters it; on a `TemporaryError` it hands the message
back for later. Everything else is a defect: it is logged with its traceback, and tried a few times.
"""


class FnbusError(Exception):
    """Base of every error that fnbus raises on purpose."""


class PermanentError(FnbusError):
    """Trying again cannot help: the input itself is wrong."""


class TemporaryError(FnbusError):
    """Trying again later may help.

    Attributes:
        retry_after: seconds to wait before the next try, or None when the caller's own rule applies.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotFoundError(PermanentError, LookupError):
    """The thing that was named does not exist."""


class ConflictError(PermanentError):
    """The thing exists already, or somebody else changed it first."""


class UnavailableError(TemporaryError, ConnectionError):
    """A server or service that is needed cannot be reached at the moment."""


class DeadlineError(TemporaryError, TimeoutError):
    """The time allowed for an operation was spent before it ended."""
