"""The commands below `fnbus executions`."""

# ruff: noqa: D301  the framework reads \b (keep these lines as they are) in docstrings, and options in signatures

from typing import Annotated, NoReturn

import typer

from cli.commands.completion import function_names
from cli.commands.remote import remote
from cli.options import Json, Limit
from cli.target import Address

app = typer.Typer(rich_markup_mode=None)

_Failed = Annotated[bool, typer.Option("--failed", help="Only those that failed.")]


@app.callback(invoke_without_command=True)
@remote
def executions(context: typer.Context, *, at: Address, failed: _Failed = False, limit: Limit = 20, json: Json = False) -> None:
    """List and show what ran: calls, attempts of jobs.

    Lists when no command is named.
    """
    if context.invoked_subcommand is None:
        _list("", at=at, failed=failed, limit=limit, json=json)


@app.command("list")
@remote
def executions_list(
    name: Annotated[str, typer.Argument(help="Only of this function.", autocompletion=function_names)] = "",
    *,
    at: Address,
    failed: _Failed = False,
    limit: Limit = 20,
    json: Json = False,
) -> None:
    """List what ran lately: each with status, duration and error.

    \b
    Examples:
      fnbus executions list
      fnbus executions list hello --failed -n 5 --json
    """
    _list(name, at=at, failed=failed, limit=limit, json=json)


def _list(name: str, *, at: Address, failed: bool, limit: int, json: bool) -> NoReturn:
    from cli import listings

    raise typer.Exit(listings.executions(at=at, function=name, limit=limit, failed=failed, json=json))


@app.command("show")
@remote
def executions_show(
    execution: Annotated[str, typer.Argument(help="The execution's id, which is its call's x-request-id.", metavar="ID")],
    *,
    at: Address,
    json: Json = False,
) -> None:
    """Show one execution: where its time went, what it used, its error's stack, what it printed.

    \b
    Example:
      fnbus executions show req-1760000000000-1-123456
    """
    from cli import executions as work

    raise typer.Exit(work.show(execution, at=at, json=json))
