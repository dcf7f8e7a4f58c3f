"""How `fnbus --help` lists its commands: by what a person wants to do, most wanted first."""

from collections.abc import Mapping, Sequence
from typing import Any

from typer.core import TyperGroup

SECTIONS: Mapping[str, Sequence[str]] = {
    "Start": ("init", "dev", "run", "doctor", "docs"),
    "Functions": ("list", "show", "routes", "deploy", "delete", "env", "secret"),
    "Releases": ("versions", "rollback", "alias", "audit", "export", "import"),
    "Runs": ("invoke", "logs", "executions", "jobs", "schedules"),
    "Access": ("profile", "login", "logout", "hash-password"),
    "One service each, for a cluster": ("gateway", "registry", "executor", "scheduler"),
}
"""Headings, and what stands below them; a command that is in none comes at the end."""
_REST = "More"


class Sections(TyperGroup):
    """The group of all commands."""

    def list_commands(self, ctx: object) -> list[str]:
        """Return the names in the order of the help text."""
        placed = [name for names in SECTIONS.values() for name in names if name in self.commands]
        return [*placed, *(name for name in self.commands if name not in placed)]

    def format_commands(self, ctx: object, formatter: Any) -> None:
        """Write the sections."""
        placed = {name for names in SECTIONS.values() for name in names}
        rest = [name for name in self.commands if name not in placed]
        width = max(map(len, self.commands))
        room = formatter.width - 6 - width
        for heading, names in {**SECTIONS, _REST: rest}.items():
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(room)) for name in names if name in self.commands
            ]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
