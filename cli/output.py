"""How listings look: aligned columns for people, JSON for programs; results on stdout, remarks on stderr."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import typer

from cli.errors import CommandError

type Row = Mapping[str, Any]
type Column = tuple[str, Callable[[Row], str]]
"""Heading, and how a cell is made of a row."""

_LONGEST_CELL = 60


def as_json(value: object) -> None:
    """Print a value as JSON that people can read, too."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def table(columns: Sequence[Column], rows: Iterable[Row], *, empty: str) -> None:
    """Print rows as columns that are as wide as they need to be; `empty` says on stderr that there are none."""
    cells = [[_short(cell(row)) for _, cell in columns] for row in rows]
    if not cells:
        remark(empty)
        return
    widths = [max(len(heading), *(len(line[number]) for line in cells)) for number, (heading, _) in enumerate(columns)]
    typer.echo(typer.style(_align([heading.upper() for heading, _ in columns], widths), dim=True))
    for line in cells:
        typer.echo(_align(line, widths))


def facts(named: Mapping[str, str]) -> None:
    """Print what is known of one thing, a line each; what is empty is left out, more lines stand below the first."""
    shown = {name: text for name, text in named.items() if text}
    width = max(map(len, shown), default=0)
    for name, text in shown.items():
        for number, part in enumerate(text.splitlines()):
            line(f"{'' if number else name:<{width}}  {part}")


def confirmed(question: str, *, option: str) -> bool:
    """Ask a person whether they mean it.

    Raises:
        CommandError: there is nobody to ask; `option` says it without a question.
    """
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Say so with {option}: there is no terminal to ask at")
    return typer.confirm(question, err=True)


def line(text: str) -> None:
    """Print a line of a result."""
    typer.echo(text)


def remark(text: str, *, fg: str | None = None) -> None:
    """Say something to the person that is not a result."""
    typer.secho(text, err=True, fg=fg)


def field(*names: str) -> Callable[[Row], str]:
    """Return a cell made of the first of these fields that is there and not empty."""

    def cell(row: Row) -> str:
        return next((str(row[name]) for name in names if row.get(name) not in (None, "")), "")

    return cell


def moment(*names: str) -> Callable[[Row], str]:
    """Return a cell that shows a time as local time: epoch milliseconds when the field's name ends in `_ms`, else seconds."""

    def cell(row: Row) -> str:
        for name in names:
            value = row.get(name)
            if isinstance(value, int | float) and value:
                at = datetime.fromtimestamp(value / 1000 if name.endswith("_ms") else value, UTC)
                return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        return "-"

    return cell


def _align(line: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _short(text: str) -> str:
    first = text.partition("\n")[0]
    return first if len(first) <= _LONGEST_CELL else f"{first[: _LONGEST_CELL - 1]}…"
