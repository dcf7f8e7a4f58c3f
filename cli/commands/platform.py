"""The commands about the platform on this machine: run it, look whether it can run."""

# ruff: noqa: D301  the framework reads \b (keep these lines as they are) in docstrings, and options in signatures

from pathlib import Path
from typing import Annotated

import typer

from cli.options import STATE, DataDir, Host, Json, Port

app = typer.Typer()


_Folder = Annotated[
    Path | None, typer.Argument(help="Folder of functions, or of a project with a fastfn.json; else here.", show_default=False)
]
_Port = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Port to serve on; 0: any free one.  [default: 8080]")
]
_Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The project's file, instead of its fastfn.json.")
]
_ForceUrl = Annotated[bool, typer.Option("--force-url", help="Configured routes win over file routes.")]
_Runtime = Annotated[str, typer.Option("--template", "-t", metavar="LANGUAGE", help="python, node, deno, php or rust.")]


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="The function's name, which is also its route.")],
    *,
    runtime: _Runtime = "python",
    folder: Annotated[
        Path | None, typer.Option("--path", metavar="FOLDER", help="Where functions lie; else here, or as fastfn.json says.")
    ] = None,
) -> None:
    """Write a new function that runs at once.

    A folder with its handler and its fn.config.json. A running `fnbus dev` serves it at once; what is
    there already is never overwritten.

    \b
    Examples:
      fnbus init hello
      fnbus init orders -t node --path functions
    """
    from cli.init import run

    raise typer.Exit(run(name, runtime=runtime, folder=folder))


@app.command()
def dev(
    folder: _Folder = None,
    *,
    port: _Port = None,
    data: DataDir = STATE,
    host: Host = "127.0.0.1",
    force_url: _ForceUrl = False,
    config: _Config = None,
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

    options = Options(folder=folder, data=data, host=host, port=port, verbose=verbose, force_url=force_url, config=config)
    raise typer.Exit(run(options))


@app.command("run")
def run_(
    folder: _Folder = None,
    *,
    port: _Port = None,
    data: DataDir = STATE,
    host: Host = "127.0.0.1",
    force_url: _ForceUrl = False,
    hot_reload: Annotated[bool, typer.Option("--hot-reload", help="Deploy files when they are saved, as dev does.")] = False,
    config: _Config = None,
) -> None:
    """Run the whole platform here, for others to use.

    Like dev, but the functions stay as they are when it starts, the control plane takes no changes without the admin token
    (FN_ADMIN_TOKEN), logs are JSON lines, and work under way is finished before it stops.

    \b
    Examples:
      FN_ADMIN_TOKEN=… fnbus run functions --host 0.0.0.0
      fnbus run functions --hot-reload --data /var/lib/fnbus
    """
    from cli.dev import Options, run

    options = Options(
        folder=folder,
        data=data,
        host=host,
        port=port,
        force_url=force_url,
        hot_reload=hot_reload or None,
        config=config,
        developing=False,
    )
    raise typer.Exit(run(options))


@app.command()
def doctor(
    folder: Annotated[Path | None, typer.Argument(help="Folder of functions to look at, too; or the word domains.")] = None,
    *,
    port: Port = 8080,
    data: DataDir = STATE,
    host: Host = "127.0.0.1",
    fix: Annotated[bool, typer.Option("--fix", help="Fix what can be fixed: missing folders, permissions, leftovers.")] = False,
    domain: Annotated[list[str] | None, typer.Option("--domain", help="With domains: which one.", metavar="NAME")] = None,
    expected_target: Annotated[
        str, typer.Option("--expected-target", help="With domains: where it should lead.", metavar="HOST")
    ] = "",
    enforce_https: Annotated[bool, typer.Option("--enforce-https", help="With domains: http must redirect to https.")] = False,
    json: Json = False,
) -> None:
    """Check what fnbus needs here, or where a domain leads.

    Says how to get what is missing, and what in a folder of functions does not work as written. The exit code is 1 when
    something fails.

    \b
    Examples:
      fnbus doctor
      fnbus doctor examples/functions --json
      fnbus doctor --fix
      fnbus doctor domains --domain functions.example.com --enforce-https
    """
    from cli import doctor as work

    if domain or folder == Path("domains"):
        from cli.project import Domain

        named = [Domain(name=each, target=expected_target, enforce_https=enforce_https) for each in domain or ()]
        raise typer.Exit(work.domains(named, json=json))
    raise typer.Exit(work.run(work.Circumstances(folder=folder, data=data, host=host, port=port), json=json, fix=fix))


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
