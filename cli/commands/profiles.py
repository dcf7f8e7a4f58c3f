"""The commands about gateways elsewhere: profiles, and logging in to one."""

# ruff: noqa: D301, FBT002  the framework reads \b (keep these lines as they are) in docstrings, and options in signatures

from typing import Annotated

import typer

from cli.commands.remote import remote
from cli.options import Json
from cli.target import Address

app = typer.Typer()
group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Keep gateways by name: a URL and what opens it.")

_Name = Annotated[str, typer.Argument(help="What you call the gateway.")]


@group.command("add")
def profile_add(
    name: _Name,
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Where it is, as http://host:port.")],
    token_stdin: Annotated[bool, typer.Option("--token-stdin", help="Read its admin token from standard input.")] = False,
    use: Annotated[bool, typer.Option("--use", help="Use it from now on.")] = False,
) -> None:
    """Add a profile, or change its URL.

    \b
    Examples:
      fnbus profile add prod --url https://functions.example.com --use
      pass show fnbus/token | fnbus profile add prod --url https://functions.example.com --token-stdin
    """
    from cli import access

    raise typer.Exit(access.add(name, url=url, token_stdin=token_stdin, use=use))


@group.command("use")
def profile_use(
    name: Annotated[str, typer.Argument(help="The profile; a dash: none, what runs on this machine.")],
) -> None:
    """Use a profile from now on.

    \b
    Examples:
      fnbus profile use prod
      fnbus profile use -
    """
    from cli import access

    raise typer.Exit(access.use(name))


@group.command("list")
def profile_list(json: Json = False) -> None:
    """List the profiles; never what opens them.

    \b
    Examples:
      fnbus profile list
      fnbus profile list --json
    """
    from cli import access

    raise typer.Exit(access.show(json=json))


@group.command("rm")
def profile_rm(name: _Name) -> None:
    """Remove a profile with its token and login.

    \b
    Example:
      fnbus profile rm prod
    """
    from cli import access

    raise typer.Exit(access.remove(name))


@app.command()
@remote
def login(
    *,
    at: Address,
    username: Annotated[str, typer.Option("--username", "-u", metavar="NAME", help="Asked for when left out.")] = "",
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")] = False,
) -> None:
    """Log in to a gateway; the session is kept in the profile.

    A gateway that has no profile yet gets one, named by its host.

    \b
    Examples:
      fnbus login --profile prod
      fnbus login --url https://functions.example.com -u ada --password-stdin < password.txt
    """
    from cli import access

    raise typer.Exit(access.login(at, username=username, password_stdin=password_stdin))


@app.command()
@remote
def logout(*, at: Address) -> None:
    """End the session of a profile.

    \b
    Example:
      fnbus logout --profile prod
    """
    from cli import access

    raise typer.Exit(access.logout(at))
