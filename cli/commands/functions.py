"""The commands about functions: what there is, all about one, its values, its end."""

# ruff: noqa: D301  the framework reads \b (keep these lines as they are) in docstrings

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.completion import function_names
from cli.commands.remote import remote
from cli.options import Json, Runtime
from cli.target import Address

app = typer.Typer()
env = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="See and change a function's environment values.")
secret = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Keep secrets, sealed, for functions that ask for them.")

_Name = Annotated[
    str, typer.Argument(help="The function's name, or its route without the slash.", autocompletion=function_names)
]
_Version = Annotated[str, typer.Option("--version", help="A version's label, as in v2.", metavar="LABEL")]
_Keys = Annotated[list[str], typer.Argument(help="One or more.", metavar="KEY...")]


@app.command("list")
@remote
def list_(*, at: Address, json: Json = False) -> None:
    """List the functions.

    \b
    Examples:
      fnbus list
      fnbus list --json
    """
    from cli import functions

    raise typer.Exit(functions.listing(at=at, json=json))


@app.command()
@remote
def show(
    name: _Name,
    *,
    at: Address,
    version: _Version = "",
    runtime: Runtime = "",
    code: Annotated[bool, typer.Option("--code", help="Its handler's text instead.")] = False,
    json: Json = False,
) -> None:
    """Show a function: its routes, limits, values, needs.

    \b
    Examples:
      fnbus show hello
      fnbus show hello --version v2 --code
      fnbus show users/[id].js --json
    """
    from cli import functions

    named = functions.Named(name=name, runtime=runtime, version=version)
    raise typer.Exit(functions.show(named, at=at, code=code, json=json))


@app.command()
@remote
def deploy(
    what: Annotated[
        Path | None,
        typer.Argument(help="A folder of functions, a function's own folder, or a file; else as fastfn.json says, or here."),
    ] = None,
    *,
    at: Address,
    name: Annotated[str, typer.Option("--as", help="Path that a file or a function's folder gets.", metavar="PATH")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove files of these folders that are not here.")] = False,
    wait_seconds: Annotated[
        float, typer.Option("--wait-seconds", min=0, help="How long to wait for dependencies; 0: not at all.")
    ] = 600,
    json: Json = False,
) -> None:
    """Deploy functions to a running platform.

    Only what differs is sent. Waits until what they need is installed. The exit code is 1, and the tool's last lines are
    shown, when that fails. Values that were set there with `fnbus env set` stay, unless an fn.env.json comes along.

    \b
    Examples:
      fnbus deploy functions --profile prod
      fnbus deploy functions/hello --dry-run
      fnbus deploy get.user.js --as 'users/get.[id].js'
    """
    from cli import deploy as work
    from cli import project

    chosen = what or project.find(Path()).functions or Path()
    wanted = work.Wanted(what=chosen, name=name, dry_run=dry_run, prune=prune, wait_seconds=wait_seconds)
    raise typer.Exit(work.run(wanted, at=at, json=json))


@app.command()
@remote
def delete(
    name: _Name,
    *,
    at: Address,
    version: _Version = "",
    runtime: Runtime = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a function with its files, or one version of it.

    \b
    Examples:
      fnbus delete hello
      fnbus delete hello --version v2 --yes
    """
    from cli import functions

    raise typer.Exit(functions.delete(functions.Named(name=name, runtime=runtime, version=version), at=at, sure=yes))


@env.command("list")
@remote
def env_list(name: _Name, *, at: Address, version: _Version = "", runtime: Runtime = "", json: Json = False) -> None:
    """List a function's values; secret ones are never shown.

    \b
    Example:
      fnbus env list hello --json
    """
    from cli import functions, variables

    raise typer.Exit(variables.env_list(functions.Named(name=name, runtime=runtime, version=version), at=at, json=json))


@env.command("set")
@remote
def env_set(
    name: _Name,
    given: Annotated[
        list[str], typer.Argument(help="One or more; a KEY alone is asked for, or read from a pipe.", metavar="KEY=VALUE...")
    ],
    *,
    at: Address,
    secret: Annotated[bool, typer.Option("--secret", help="Store as secret: the values are never shown again.")] = False,
    version: _Version = "",
    runtime: Runtime = "",
) -> None:
    """Set values of a function; the next call has them.

    A value that is not typed on the command line is a secret one.

    \b
    Examples:
      fnbus env set hello GREETING=Ahoy COLOUR=blue
      pass show api-key | fnbus env set hello API_KEY
    """
    from cli import functions, variables

    named = functions.Named(name=name, runtime=runtime, version=version)
    raise typer.Exit(variables.env_set(named, given, secret=secret, at=at))


@env.command("rm")
@remote
def env_rm(name: _Name, keys: _Keys, *, at: Address, version: _Version = "", runtime: Runtime = "") -> None:
    """Remove values of a function.

    \b
    Example:
      fnbus env rm hello GREETING
    """
    from cli import functions, variables

    raise typer.Exit(variables.env_rm(functions.Named(name=name, runtime=runtime, version=version), keys, at=at))


@secret.command("list")
@remote
def secret_list(*, at: Address, json: Json = False) -> None:
    """List the keys of the secrets.

    \b
    Example:
      fnbus secret list
    """
    from cli import variables

    raise typer.Exit(variables.secret_list(at=at, json=json))


@secret.command("set")
@remote
def secret_set(key: Annotated[str, typer.Argument(help="What functions know it by.", metavar="KEY")], *, at: Address) -> None:
    """Set a secret; its value is asked for, or read from a pipe.

    \b
    Examples:
      fnbus secret set STRIPE_KEY
      pass show stripe | fnbus secret set STRIPE_KEY
    """
    from cli import variables

    raise typer.Exit(variables.secret_set(key, at=at))


@secret.command("rm")
@remote
def secret_rm(keys: _Keys, *, at: Address) -> None:
    """Remove secrets.

    \b
    Example:
      fnbus secret rm STRIPE_KEY
    """
    from cli import variables

    raise typer.Exit(variables.secret_rm(keys, at=at))


@secret.command("rotate")
@remote
def secret_rotate(*, at: Address, json: Json = False) -> None:
    """Seal everything anew with the newest key.

    That is the first one of FNBUS_SECRET_KEYS. Secrets, values of functions, and versions that are kept to go back to are then
    under it, and other keys can be taken away. The exit code is 1 when something cannot be opened.

    \b
    Examples:
      fnbus secret rotate
      fnbus secret rotate --json
    """
    from cli import variables

    raise typer.Exit(variables.secret_rotate(at=at, json=json))
