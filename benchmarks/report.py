"""The table that a run prints, and the same figures as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Report:
    """Lines for people, printed as they come, and rows for programs."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.sections: dict[str, list[dict[str, Any]]] = {}
        self._columns: Sequence[str] = ()
        self._rows: list[dict[str, Any]] = []

    def say(self, line: str = "") -> None:
        """Print and keep a line."""
        print(line, flush=True)
        self.lines.append(line)

    def table(self, section: str, *columns: str) -> None:
        """Begin the table of a section; the first column is text, the others are numbers."""
        self._columns = columns
        self._rows = self.sections.setdefault(section, [])
        self.say(f"\n### {section}\n")
        self._print(*columns)
        self._print("---", *("---:" for _ in columns[1:]))

    def row(self, *cells: str | float | None) -> None:
        """Print and keep a row of the table; None is a figure that there is not."""
        self._rows.append(dict(zip(self._columns, cells, strict=True)))
        self._print(*("" if cell is None else _rounded(cell) if isinstance(cell, float) else str(cell) for cell in cells))

    def write(self, path: Path) -> None:
        """Write everything to a file: as JSON when it is called so, else the lines as they were printed."""
        if path.suffix == ".json":
            path.write_text(json.dumps({"conditions": self.lines[0], "sections": self.sections}, indent=2) + "\n")
        else:
            path.write_text("\n".join(self.lines) + "\n")

    def _print(self, *cells: str) -> None:
        self.say(f"| {' | '.join(cells)} |")


def _rounded(value: float) -> str:
    """Return a number with three digits that say something."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
