"""What the command says when something cannot be done: one line, and an exit code."""

from collections.abc import Mapping
from typing import Any

from libs import errors


class CommandError(errors.FnbusError):
    """The command cannot do what was asked; its text is one clear line for the person at the terminal."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
        """The process's exit code."""


class RefusedError(CommandError):
    """A gateway has said no; the text is its own."""

    def __init__(self, message: str, *, status: int, answer: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status."""
        self.answer = answer
        """The body of its answer."""
