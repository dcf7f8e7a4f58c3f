"""The commands about functions that are there: call one, see what it prints, what leads to it, what documents it."""

# ruff: noqa: D301  the framework reads \b (keep these lines as they are) in docstrings, and options in signatures

from typing import Annotated

import typer

from cli.commands.completion import function_names
from cli.commands.remote import remote
from cli.options import Data, Header, Json, Method, Query
from cli.target import Address

app = typer.Typer()


@app.command()
@remote
def invoke(
    name: Annotated[str, typer.Argument(help="A function's name, or a path such as /users/42.", autocompletion=function_names)],
    *,
    at: Address,
    method: Method = None,
    data: Data = None,
    query: Query = None,
    header: Header = None,
    version: Annotated[str, typer.Option("--version", help="A version's label, as in v2.", metavar="LABEL")] = "",
    json: Json = False,
) -> None:
    """Call a function and show its answer.

    The status goes to stderr, the body to stdout; the exit code is 1 when the status is 400 or above.

    \b
    Examples:
      fnbus invoke hello -q name=Ada
      fnbus invoke /users/42 --json
      fnbus invoke orders -d '{"item": "tea"}' -H 'x-tenant: a'
      fnbus invoke hello --version v2
    """
    from cli.invoke import Call, run

    call = Call(name=name, method=method, data=data, query=query or (), headers=header or (), version=version)
    raise typer.Exit(run(call, at=at, json=json))


@app.command()
@remote
def routes(*, at: Address, json: Json = False) -> None:
    """List the routes and the functions behind them.

    \b
    Examples:
      fnbus routes
      fnbus routes --json
    """
    from cli import listings

    raise typer.Exit(listings.routes(at=at, json=json))


@app.command()
@remote
def docs(*, at: Address, print_only: Annotated[bool, typer.Option("--print", help="Open no browser.")] = False) -> None:
    """Open the page that documents the functions (OpenAPI).

    \b
    Examples:
      fnbus docs
      fnbus docs --print --profile prod
    """
    from cli import docs as page

    raise typer.Exit(page.show(at=at, open_it=not print_only))


@app.command()
@remote
def logs(
    name: Annotated[
        str, typer.Argument(help="A function's name, or its route without the slash.", autocompletion=function_names)
    ],
    *,
    at: Address,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is printed now; Ctrl-C ends it.")] = False,
    since: Annotated[
        str, typer.Option("--since", help="Nothing older: 90s, 10m, 2h, 1d, or a date and time.", metavar="TIME")
    ] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines of the past at most.")] = 100,
    executor: Annotated[str, typer.Option("--executor", help="Only what ran on this executor.", metavar="ID")] = "",
    json: Json = False,
) -> None:
    """Show what a function prints: its stdout and stderr.

    A line with its time and level: info for stdout, error for stderr. With --json a line is a JSON object.

    \b
    Examples:
      fnbus logs hello
      fnbus logs hello -f
      fnbus logs users/[id].js --since 10m --json
    """
    from cli import logs as work

    wanted = work.Wanted(name=name, lines=lines, since_ms=work.moment(since), executor=executor)
    raise typer.Exit(work.run(wanted, at=at, follow=follow, json=json))
