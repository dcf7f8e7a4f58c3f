"""`docs/cli.md` names commands and options that there are, with the texts of their help.

The table of commands is written by `python -m tests.architecture.test_cli_page`; the rest of the page is prose.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.core import TyperGroup
from typer.main import get_command

from cli.main import app

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
HEADING = "| command | what it does | options |\n|---|---|---|\n"
COMMON = frozenset({"--url", "--token", "--profile", "--help"})


def commands(group: TyperGroup, *above: str) -> Iterator[tuple[str, Any]]:
    """Yield every command as it is typed, in the order of the help."""
    for name in group.list_commands(None):  # pyright: ignore[reportArgumentType]  our order needs no context
        command = group.commands[name]
        if isinstance(command, TyperGroup):
            yield from commands(command, *above, name)
        else:
            yield " ".join((*above, name)), command


def row(name: str, command: Any) -> str:
    """Return the line of a command."""
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    shown = [(each.metavar or each.name.upper()).removesuffix("...") for each in arguments]
    words = [text if each.required else f"[{text}]" for each, text in zip(arguments, shown, strict=True)]
    words += [f"{each.opts[0]} {each.metavar}" for each in command.params if each.required and each not in arguments]
    options = [each.opts[0] for each in command.params if each.param_type_name == "option"]
    listed = " ".join(f"`{option}`" for option in options if option not in COMMON)
    summary = command.get_short_help_str(200)
    return f"| `{' '.join(('fnbus', name, *words))}` | {summary} | {listed} |"


def rows() -> dict[str, str]:
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    return {name: row(name, command) for name, command in commands(root)}


def test_page_s_table_says_what_the_help_says() -> None:
    written = PAGE.read_text().partition(HEADING)[2].strip().splitlines()
    real = set(rows().values())
    assert len(written) > 30
    assert [line for line in written if line not in real] == [], "write it anew: python -m tests.architecture.test_cli_page"


def test_page_s_prose_names_commands_and_options_that_there_are() -> None:
    known = rows()
    text = PAGE.read_text().partition(HEADING)[0]
    typed = [" ".join(words) for words in re.findall(r"fnbus ([a-z]+)(?: ([a-z-]+))?", text)]
    heads = {name.split()[0] for name in known} | {"profile", "env", "secret", "jobs"}
    assert [each for each in typed if each.split()[0] not in heads] == []
    options = set(re.findall(r"--[a-z][a-z-]+", text)) - COMMON - {"--install-completion"}
    assert [option for option in sorted(options) if not any(f"`{option}`" in line for line in known.values())] == []


def write() -> None:
    """Write the table anew."""
    prose = PAGE.read_text().partition(HEADING)[0]
    PAGE.write_text(f"{prose}{HEADING}" + "\n".join(rows().values()) + "\n")


if __name__ == "__main__":
    write()
