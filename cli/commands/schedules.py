"""The commands below `fnbus schedules`."""

# ruff: noqa: D301  the framework reads \b (keep these lines as they are) in docstrings, and options in signatures

from typing import Annotated, NoReturn

import typer

from cli.commands.completion import function_names
from cli.commands.remote import remote
from cli.options import Json
from cli.target import Address

app = typer.Typer(rich_markup_mode=None)

_Name = Annotated[str, typer.Argument(help="The function's name.", autocompletion=function_names)]
_Label = Annotated[str, typer.Option("--version", help="Of this version, as in v2.", metavar="LABEL")]


@app.callback(invoke_without_command=True)
@remote
def schedules(context: typer.Context, *, at: Address, json: Json = False) -> None:
    """List, show and run what the clock starts.

    Lists when no command is named.
    """
    if context.invoked_subcommand is None:
        _list(at=at, json=json)


@app.command("list")
@remote
def schedules_list(*, at: Address, json: Json = False) -> None:
    """List the schedules: when each fires next, and how it went last.

    \b
    Example:
      fnbus schedules list --json
    """
    _list(at=at, json=json)


def _list(*, at: Address, json: bool) -> NoReturn:
    from cli import listings

    raise typer.Exit(listings.schedules(at=at, json=json))


@app.command("show")
@remote
def schedules_show(name: _Name, *, at: Address, label: _Label = "", json: Json = False) -> None:
    """Show a function's schedule.

    \b
    Example:
      fnbus schedules show tick
    """
    from cli import schedules as work

    raise typer.Exit(work.show(name, at=at, version=label, json=json))


@app.command("run")
@remote
def schedules_run(name: _Name, *, at: Address, label: _Label = "", json: Json = False) -> None:
    """Run a schedule now: submit a job with its request.

    Its timetable stays as it is.

    \b
    Example:
      fnbus schedules run tick --json
    """
    from cli import schedules as work

    raise typer.Exit(work.run(name, at=at, version=label, json=json))
