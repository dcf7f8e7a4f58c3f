"""The commands about releases: which versions are kept, roll back, split calls among versions, see who changed what."""

# ruff: noqa: D301  the framework reads \b (keep these lines as they are) in docstrings, and options in signatures

from typing import Annotated

import typer

from cli.commands.remote import remote
from cli.options import Json, Limit, Runtime
from cli.target import Address

app = typer.Typer()
alias = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Labels of your own that lead to versions, by weight.")

_Name = Annotated[str, typer.Argument(help="A function's name, or its route without the slash.", metavar="NAME")]
_Label = Annotated[str, typer.Option("--version", help="The label to change.", metavar="LABEL")]


@app.command()
@remote
def versions(name: _Name, *, at: Address, runtime: Runtime = "", limit: Limit = 20, json: Json = False) -> None:
    """List a function's kept versions, newest first.

    A version is what a worker holds: code, environment, limits. With what is in use, and what was rolled back.

    \b
    Examples:
      fnbus versions hello
      fnbus versions hello -n 100 --json
    """
    from cli import releases

    raise typer.Exit(releases.versions(name, at=at, runtime=runtime, limit=limit, json=json))


@app.command()
@remote
def rollback(
    name: _Name,
    digest: Annotated[
        str, typer.Argument(help="The version, by 8 or more digits; else the one before.", metavar="DIGEST")
    ] = "",
    *,
    at: Address,
    label: _Label = "default",
    undo: Annotated[
        bool, typer.Option("--undo", help="Take a rollback back: what the function's files say runs again.")
    ] = False,
    runtime: Runtime = "",
    json: Json = False,
) -> None:
    """Run an earlier version, at once and everywhere.

    It stays until the function's files make a new version (the next deploy), or until --undo.

    \b
    Examples:
      fnbus rollback hello
      fnbus rollback hello 9f2c41d07a55
      fnbus rollback hello --version v2
      fnbus rollback hello --undo
    """
    from cli import releases

    wanted = releases.Rollback(name=name, digest=digest, label=label, runtime=runtime, undo=undo)
    raise typer.Exit(releases.rollback(wanted, at=at, json=json))


@app.command()
@remote
def audit(
    name: Annotated[str, typer.Argument(help="Only of this function.", metavar="NAME")] = "",
    *,
    at: Address,
    before: Annotated[str, typer.Option("--before", help="Go on with what is older than this record.", metavar="ID")] = "",
    limit: Limit = 20,
    json: Json = False,
) -> None:
    """List who changed what, newest first.

    Digests and names of fields; no value is ever kept. With --json also what was before and after.

    \b
    Examples:
      fnbus audit
      fnbus audit hello -n 100 --json
    """
    from cli import releases

    raise typer.Exit(releases.audit(name, at=at, before=before, limit=limit, json=json))


@alias.command("list")
@remote
def alias_list(name: _Name, *, at: Address, runtime: Runtime = "", json: Json = False) -> None:
    """List the aliases of a function.

    \b
    Example:
      fnbus alias list hello
    """
    from cli import releases

    raise typer.Exit(releases.aliases(name, at=at, runtime=runtime, json=json))


@alias.command("set")
@remote
def alias_set(
    name: _Name,
    label: Annotated[str, typer.Argument(help="The alias; `default` is what the public routes lead to.", metavar="ALIAS")],
    shares: Annotated[
        list[str],
        typer.Argument(help="Versions, by label or 8 or more digits, with their weights.", metavar="VERSION[=WEIGHT]…"),
    ],
    *,
    at: Address,
    runtime: Runtime = "",
    json: Json = False,
) -> None:
    """Have an alias lead to a version, or to several by weight.

    \b
    Examples:
      fnbus alias set hello stable 9f2c41d07a55
      fnbus alias set hello default default=90 v2=10
    """
    from cli import releases

    raise typer.Exit(releases.set_alias(name, label, shares, at=at, runtime=runtime, json=json))


@alias.command("rm")
@remote
def alias_rm(
    name: _Name,
    label: Annotated[str, typer.Argument(help="The alias.", metavar="ALIAS")],
    *,
    at: Address,
    runtime: Runtime = "",
    json: Json = False,
) -> None:
    """Remove an alias.

    \b
    Example:
      fnbus alias rm hello stable
    """
    from cli import releases

    raise typer.Exit(releases.remove_alias(name, label, at=at, runtime=runtime, json=json))
