"""Rows to CSV, for answers whose content type is `text/csv` and whose body is a list."""

from __future__ import annotations

from .jsontext import dumps  # noqa: TID252  see the package's docstring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def csv_of(rows: Sequence[Any]) -> bytes:
    """Return the rows as CSV: dicts under a header line of all their keys, lists cell by cell, anything else alone."""
    columns: dict[str, None] = {}
    for row in rows:
        if isinstance(row, dict):
            columns.update(dict.fromkeys(row))  # pyright: ignore[reportUnknownArgumentType]
    lines = [_line(list(columns))] if columns else []
    for row in rows:
        if isinstance(row, dict):
            lines.append(_line([row.get(name) for name in columns]))  # pyright: ignore[reportUnknownMemberType]
        else:
            lines.append(_line(row if isinstance(row, list | tuple) else [row]))  # pyright: ignore[reportUnknownArgumentType]
    return "".join(lines).encode()


def _line(cells: Sequence[Any]) -> str:
    return ",".join(_cell(cell) for cell in cells) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str) else dumps(value).decode()
    if any(character in text for character in ',"\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text
