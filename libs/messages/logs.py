"""What functions print: lines as they are kept with an execution, and as they travel live.

A flood of lines must cost little, so lines are rows of plain values, checked when they are read, and not records of their own.
"""

from typing import Any, NamedTuple, cast

from libs.messages.codec import MalformedMessageError, record

STDOUT, STDERR = "stdout", "stderr"

RUNTIME_LOG, ACCESS_LOG, ERROR_LOG = "runtime", "access", "error"
"""What the lines of a `TailLog` are: what was printed, how each execution ended, those that failed."""

_LEVELS = {STDOUT: "info", STDERR: "error"}


class LogLine(NamedTuple):
    """A line that was printed during an execution."""

    ms: int
    """Epoch milliseconds at which the executor read it."""
    stream: str
    """`stdout` or `stderr`."""
    text: str
    """Without its line end; what is not UTF-8 is replaced."""


class LiveLine(NamedTuple):
    """A line on its way to whoever follows a function."""

    execution: str
    """Id of the execution during which it was read; empty: between two."""
    ms: int
    stream: str
    text: str


@record()
class LogBatch:
    """Lines that a function's workers on one executor printed since its last batch; published, and lost if nobody listens."""

    namespace: str
    function: str
    version: str
    executor: str
    lines: Any
    """`LiveLine`s, each a list of its fields; `live_lines` checks and returns them."""
    dropped: int = 0
    """Lines that were thrown away since the last batch because they were too many."""

    def live_lines(self) -> list[LiveLine]:
        """Return the lines that came.

        Raises:
            MalformedMessageError: they are none.
        """
        return [LiveLine._make(row) for row in _rows(self.lines, _LIVE_TYPES, "LogBatch")]


_LINE_TYPES = [int, str, str]
_LIVE_TYPES = [str, int, str, str]


def level(stream: str) -> str:
    """Return the level of what is written to a stream: `info`, or `error` for stderr."""
    return _LEVELS.get(stream, "info")


def log_lines(rows: Any) -> list[LogLine]:
    """Return the lines of an execution's record.

    Raises:
        MalformedMessageError: they are none.
    """
    return [LogLine._make(row) for row in _rows(rows, _LINE_TYPES, "Execution")]


def _rows(rows: Any, types: list[type[Any]], name: str) -> list[list[Any]]:
    if not isinstance(rows, list | tuple):
        raise MalformedMessageError(record=name, where="lines", fault="expected a list")
    found = cast("list[Any]", rows)
    for at, row in enumerate(found):
        if not isinstance(row, list | tuple) or list(map(type, cast("list[Any]", row))) != types:
            raise MalformedMessageError(record=name, where=f"lines[{at}]", fault="expected a line")
    return found


@record()
class TailLog:
    """Ask the registry for the newest lines of one kind; answered by `TailLines`."""

    namespace: str = "default"
    file: str = RUNTIME_LOG
    function: str = ""
    """Empty: of all functions; so are runtime, version and stream."""
    runtime: str = ""
    version: str = ""
    stream: str = ""
    lines: int = 200


@record()
class TailLine:
    """One line."""

    ms: int
    """Epoch milliseconds."""
    execution: str
    runtime: str
    function: str
    version: str
    stream: str
    """Of what was printed."""
    text: str


@record()
class TailLines:
    """Lines, the oldest first."""

    lines: tuple[TailLine, ...]
