"""`fnbus logs`: what a function has printed lately, and what it prints now.

The past comes from the executions that are kept, the present from the gateway's stream; where they meet, a line that is in both
is shown once. A stream that breaks off is taken up again, with what was printed meanwhile.
"""

import re
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from json import dumps, loads
from operator import itemgetter
from typing import Any, NoReturn

import typer

from cli import output, request
from cli.client import Address, GatewayClient, LostError
from cli.errors import CommandError, RefusedError

type Line = Mapping[str, Any]
type _Key = tuple[Any, ...]

_EXECUTIONS = 200
"""Of so many of the newest executions lines are shown."""
_REMEMBERED = 10_000
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 3.0
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a function prints must not steer the terminal of the one who reads it."""
_FIRST_FAILURE = 500


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which lines."""

    name: str
    """The function's, or its route."""
    lines: int
    """How many of the past at most."""
    since_ms: int = 0
    """Nothing older; epoch milliseconds."""
    executor: str = ""
    """Only of this one; empty: of all."""


def run(wanted: Wanted, *, at: Address, follow: bool, json: bool) -> int:
    """Show lines; with `follow` until the person has seen enough."""
    with GatewayClient(at) as gateway:
        catalog = gateway.ask("GET", "/_fn/catalog")
        name = request.name_of(wanted.name, catalog)
        reader = _Reader(gateway, wanted, name, json=json)
        if not follow:
            if not reader.catch_up() and not request.is_known(name, catalog):
                raise request.unknown(wanted.name, catalog)
            return 0
        try:
            reader.follow()
        except KeyboardInterrupt:
            return 0


def moment(text: str) -> int:
    """Return what `--since` means as epoch milliseconds: `90s`, `10m`, `2h`, `1d` ago, or an ISO date and time; empty: 0.

    Raises:
        CommandError: it is neither.
    """
    if not text:
        return 0
    ago = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if ago is not None:
        return int((time.time() - int(ago[1]) * _UNITS[ago[2]]) * 1000)
    try:
        return int(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise CommandError(f"--since {text}: write 90s, 10m, 2h or 1d, or a date and time as in 2026-01-31T08:00") from None


def lines_of(execution: Mapping[str, Any]) -> list[Line]:
    """Return an execution's lines, each with where it is from; executors of earlier releases tell texts only."""
    about = {name: execution.get(name) for name in ("name", "version", "executor")} | {"execution": execution.get("id")}
    lines: list[Line] = [{**line, **about} for line in execution.get("lines") or ()]
    if lines:
        return lines
    started = execution.get("started_at_ms")
    return [
        {"ms": started, "level": level, "stream": stream, "text": text, **about}
        for stream, level in (("stdout", "info"), ("stderr", "error"))
        for text in str(execution.get(stream) or "").splitlines()
    ]


def show(line: Line) -> None:
    """Print a line for people."""
    at = datetime.fromtimestamp(line["ms"] / 1000, UTC).astimezone()
    level = str(line["level"])
    colour = typer.colors.RED if level == "error" else None
    stamp = typer.style(f"{at:%Y-%m-%d %H:%M:%S}.{line['ms'] % 1000:03d} {level:<5}", dim=True)
    output.line(f"{stamp}  {typer.style(_CONTROL.sub('\ufffd', str(line['text'])), fg=colour)}")


class _Reader:
    """Shows the lines of one function, each once."""

    def __init__(self, gateway: GatewayClient, wanted: Wanted, name: str, *, json: bool) -> None:
        self._gateway = gateway
        self._wanted = wanted
        self._name = name
        self._json = json
        self._since = wanted.since_ms
        self._room = wanted.lines
        self._shown: deque[_Key] = deque(maxlen=_REMEMBERED)
        self._overlap: Counter[_Key] = Counter()
        """Lines of the past that the stream may tell again."""

    def catch_up(self) -> bool:
        """Show what was printed and is not shown yet; return whether there was an execution."""
        query = {"function": self._name, "limit": _EXECUTIONS, "since_ms": self._wanted.since_ms or ""}
        found: list[dict[str, Any]] = self._gateway.ask("GET", "/_fn/executions", query=query).get("executions") or []
        shown = Counter(self._shown)
        lines = sorted((line for execution in found for line in lines_of(execution)), key=itemgetter("ms"))
        lines = [line for line in lines if line["ms"] >= self._since and self._is_wanted(line) and not _taken(shown, line)]
        lines = lines[-self._room :] if self._room else []
        self._overlap = Counter(map(_key, lines))
        self._show(lines)
        return bool(found)

    def follow(self) -> NoReturn:
        """Show what is printed, for ever."""
        pause, told = _FIRST_PAUSE_SECONDS, False
        while True:
            try:
                for event, data in self._gateway.events("/_fn/logs/stream", query={"fn": self._name}):
                    pause, told = _FIRST_PAUSE_SECONDS, False
                    self._take(event, data)
            except LostError as error:
                if not told:
                    output.remark(f"{error}: trying again", fg="yellow")
                told = True
            except RefusedError as error:
                if error.status < _FIRST_FAILURE:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _take(self, event: str, data: str) -> None:
        match event:
            case "following":
                try:
                    self.catch_up()
                except CommandError as error:
                    output.remark(f"what was printed before is not to be had: {error}", fg="yellow")
                self._room = _REMEMBERED
            case "dropped":
                output.remark(f"{loads(data).get('lines')} lines were too many and are not shown", fg="yellow")
            case _:
                line = loads(data)
                if self._is_wanted(line) and not _taken(self._overlap, line):
                    self._show([line])

    def _is_wanted(self, line: Line) -> bool:
        return self._wanted.executor in ("", line["executor"])

    def _show(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._shown.append(_key(line))
            self._since = max(self._since, int(line["ms"]))
            if self._json:
                sys.stdout.write(f"{dumps(line, ensure_ascii=False)}\n")
                sys.stdout.flush()
            else:
                show(line)


def _taken(counted: Counter[_Key], line: Line) -> bool:
    """Take a line out of those that were counted; return whether it was among them."""
    key = _key(line)
    if not counted[key]:
        return False
    counted[key] -= 1
    return True


def _key(line: Line) -> _Key:
    return line["execution"], line["ms"], line["stream"], line["text"]
