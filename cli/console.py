"""What of the services' logs a person at a terminal sees, and how it looks.

The services write JSON lines; here each becomes one readable line, or none: warnings and errors always, of the rest only
what answers to something the person did (a saved file), unless everything is wanted.
"""

import contextlib
import json
from datetime import datetime
from typing import Any, TextIO, cast

import typer

SHOWN = frozenset({
    "version_deployed", "versions_deployed", "function_removed", "source_problem_solved", "version_waits", "build_waits",
})  # fmt: skip
"""Actions at INFO that are shown: they answer to a change in the functions folder."""

BUILDS = frozenset({"build_started", "build_progress", "build_done", "deploy_progress"})
"""Actions at INFO that are shown from the start on: somebody waits for them."""

TOLD_BY_BANNER = frozenset({"source_problem", "runtime_missing", "sandbox_missing", "sandbox_off"})
"""Warnings that the banner tells too: not shown while the platform starts."""

_PLAIN = frozenset({"ts", "level", "service", "logger", "message", "action", "exception"})
_COLOURS = {"warning": typer.colors.YELLOW, "error": typer.colors.RED, "critical": typer.colors.RED}


class Console:
    """The terminal of `fnbus dev`."""

    def __init__(self, stream: TextIO, *, verbose: bool) -> None:
        self._stream = stream
        self._verbose = verbose
        self.settled = False
        """False while the platform starts: what every start brings, and the banner tells anyway, is not shown."""

    def say(self, text: str) -> None:
        """Show a line of the supervisor's own."""
        self._write(_line(datetime.now().astimezone(), "fnbus", text, ""))

    def tell(self, text: str) -> None:
        """Show text as it is."""
        self._write(text)

    def take(self, service: str, line: str) -> None:
        """Show a line that a service wrote, if it is to be seen."""
        record = _parse(line)
        if record is None:
            if line.strip():
                self._write(_line(datetime.now().astimezone(), service, line, ""))
        elif self._wanted(record):
            self._write(_readable(service, record, verbose=self._verbose))

    def _wanted(self, record: dict[str, Any]) -> bool:
        if self._verbose:
            return True
        action = record.get("action")
        if action in BUILDS:
            return True
        if action in SHOWN or (action in TOLD_BY_BANNER and not self.settled):
            return self.settled
        return record.get("level") in _COLOURS

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads any more: no reason to stop serving
            typer.echo(text, file=self._stream)


def _parse(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found: object = json.loads(line)
    except ValueError:
        return None
    record = cast("dict[str, Any]", found)  # a line that starts with a brace and parses is a map
    return record if "message" in record and "ts" in record else None


def _readable(service: str, record: dict[str, Any], *, verbose: bool) -> str:
    try:
        moment = datetime.fromisoformat(str(record["ts"])).astimezone()
    except ValueError:
        moment = datetime.now().astimezone()
    text = str(record["message"])
    if verbose:
        fields = " ".join(f"{name}={value}" for name, value in record.items() if name not in _PLAIN)
        text = f"{text}  ({fields})" if fields else text
    if "exception" in record:
        text = f"{text}\n{record['exception']}"
    return _line(moment, service, text, str(record.get("level", "")))


def _line(moment: datetime, service: str, text: str, level: str) -> str:
    colour = _COLOURS.get(level)
    prefix = typer.style(f"{moment:%H:%M:%S} {service:<9}", dim=True)
    return f"{prefix} {typer.style(text, fg=colour) if colour else text}"
