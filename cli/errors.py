"""What the command says when something cannot be done: one line, and an exit code."""

from libs import errors


class CommandError(errors.FnbusError):
    """The command cannot do what was asked; its text is one clear line for the person at the terminal."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
        """The process's exit code."""
