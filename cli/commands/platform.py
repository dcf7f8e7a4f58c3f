"""The commands about the platform on this machine: run it, look whether it can run."""

# ruff: noqa: D301, FBT002  the framework reads \b (keep these lines as they are) in docstrings, and options in signatures

from pathlib import Path
from typing import Annotated

import typer

from cli.options import STATE, DataDir, Host, Json, Port

app = typer.Typer()


@app.command()
def dev(
    folder: Annotated[Path, typer.Argument(help="Folder of functions.")] = Path(),
    port: Port = 8080,
    data: DataDir = STATE,
    host: Host = "127.0.0.1",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show everything that the services log.")] = False,
) -> None:
    """Run the whole platform here, for a folder of functions.

    Starts a NATS server, registry, scheduler, executor and gateway, and follows what changes in the folder. Ctrl-C stops
    them all; state is kept between runs.

    \b
    Examples:
      fnbus dev examples/functions
      fnbus dev functions --port 9000 --data /tmp/state
    """
    from cli.dev import Options, run

    raise typer.Exit(run(Options(folder=folder, data=data, host=host, port=port, verbose=verbose)))


@app.command()
def doctor(
    folder: Annotated[Path | None, typer.Argument(help="Folder of functions to look at, too.")] = None,
    port: Port = 8080,
    data: DataDir = STATE,
    host: Host = "127.0.0.1",
    json: Json = False,
) -> None:
    """Check what fnbus needs on this machine.

    Says how to get what is missing, and what in a folder of functions does not work as written. The exit code is 1 when
    something fails.

    \b
    Examples:
      fnbus doctor
      fnbus doctor examples/functions --json
    """
    from cli.doctor import Circumstances, run

    raise typer.Exit(run(Circumstances(folder=folder, data=data, host=host, port=port), json=json))


@app.command("hash-password")
def hash_password() -> None:
    """Make a password's hash, for a gateway's login.

    It is what FNBUS_CONSOLE_LOGIN_PASSWORD_HASH takes. Asks for the password, or reads a line from stdin; it is never an
    argument, which others on the machine could see.

    \b
    Examples:
      fnbus hash-password
      fnbus hash-password < password.txt > password.hash
    """
    from cli.hashing import run

    raise typer.Exit(run())


@app.command()
def version() -> None:
    """Print the version.

    \b
    Example:
      fnbus version
    """
    from importlib.metadata import version as installed

    typer.echo(f"fnbus {installed('fnbus')}")
