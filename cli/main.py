"""The `fnbus` command: which commands there are and what they take; each one's work is in a module of its own.

Those modules are imported when their command runs, so that `fnbus --help` and `fnbus version` answer at once.
"""

# ruff: noqa: D301, FBT002  the framework reads \b (keep these lines as they are) in docstrings, and options in signatures

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import job_commands
from cli.errors import CommandError
from cli.options import STATE, URL, Data, DataDir, Header, Host, Json, Limit, Method, Port, Query, Token, Url
from libs.errors import FnbusError

app = typer.Typer(
    name="fnbus",
    help="A functions platform you own: HTTP calls, jobs and cron over NATS, in warm sandboxed processes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(job_commands.app, name="jobs")


def _print_version(wanted: bool) -> None:  # noqa: FBT001  the framework passes the option by position
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take what stands before any command; the text of `fnbus --help` is the app's own."""


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
def gateway() -> None:
    """Run one gateway, configured by FNBUS_* variables.

    \b
    Example:
      FNBUS_NATS_URL=nats://10.0.0.1:4222 FNBUS_HTTP_PORT=8080 fnbus gateway
    """
    from services.gateway.main import main as service

    raise typer.Exit(service())


@app.command()
def registry() -> None:
    """Run one registry, configured by FNBUS_* variables.

    \b
    Example:
      FNBUS_NATS_URL=nats://10.0.0.1:4222 FNBUS_MONGO_URL=mongodb://10.0.0.2 fnbus registry
    """
    from services.registry.main import main as service

    raise typer.Exit(service())


@app.command()
def executor() -> None:
    """Run one executor, configured by FNBUS_* variables.

    \b
    Example:
      FNBUS_NATS_URL=nats://10.0.0.1:4222 FNBUS_ISOLATION=required fnbus executor
    """
    from services.executor.main import main as service

    raise typer.Exit(service())


@app.command()
def scheduler() -> None:
    """Run one scheduler, configured by FNBUS_* variables.

    \b
    Example:
      FNBUS_NATS_URL=nats://10.0.0.1:4222 FNBUS_MONGO_URL=mongodb://10.0.0.2 fnbus scheduler
    """
    from services.scheduler.main import main as service

    raise typer.Exit(service())


@app.command()
def invoke(
    name: Annotated[str, typer.Argument(help="A function's name, or a path such as /users/42.")],
    method: Method = None,
    data: Data = None,
    query: Query = None,
    header: Header = None,
    version: Annotated[str, typer.Option("--version", help="A version's label, as in v2.", metavar="LABEL")] = "",
    url: Url = URL,
    token: Token = "",
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
    from cli.client import Address
    from cli.invoke import Call, run

    call = Call(name=name, method=method, data=data, query=query or (), headers=header or (), version=version)
    raise typer.Exit(run(call, at=Address(url=url, token=token), json=json))


@app.command()
def routes(url: Url = URL, token: Token = "", json: Json = False) -> None:
    """List the routes and the functions behind them.

    \b
    Examples:
      fnbus routes
      fnbus routes --json
    """
    from cli import listings
    from cli.client import Address

    raise typer.Exit(listings.routes(at=Address(url=url, token=token), json=json))


@app.command()
def schedules(url: Url = URL, token: Token = "", json: Json = False) -> None:
    """List the schedules, when each fires next, how it went last.

    \b
    Examples:
      fnbus schedules
      fnbus schedules --json
    """
    from cli import listings
    from cli.client import Address

    raise typer.Exit(listings.schedules(at=Address(url=url, token=token), json=json))


@app.command()
def executions(
    name: Annotated[str, typer.Argument(help="Only of this function; or the word show.", metavar="NAME")] = "",
    execution: Annotated[str, typer.Argument(help="After show: which one, all of it.", metavar="ID")] = "",
    function: Annotated[str, typer.Option("--function", "-f", help="The same as NAME.", metavar="NAME")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    limit: Limit = 20,
    url: Url = URL,
    token: Token = "",
    json: Json = False,
) -> None:
    """List what ran lately, or show one execution.

    Calls, and attempts of jobs: each one with status, duration and error; with show also where its time went, what it used,
    its error's stack and what it printed.

    \b
    Examples:
      fnbus executions
      fnbus executions hello --failed -n 5 --json
      fnbus executions show req-1760000000000-1-123456
    """
    from cli import executions as one
    from cli import listings
    from cli.client import Address

    at = Address(url=url, token=token)
    if execution and name != "show":
        raise CommandError(f"executions {name} {execution}: write `fnbus executions show {execution}`")
    if execution:
        raise typer.Exit(one.show(execution, at=at, json=json))
    raise typer.Exit(listings.executions(at=at, function=name or function, limit=limit, failed=failed, json=json))


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A function's name, or its route without the slash.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is printed now; Ctrl-C ends it.")] = False,
    since: Annotated[
        str, typer.Option("--since", help="Nothing older: 90s, 10m, 2h, 1d, or a date and time.", metavar="TIME")
    ] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines of the past at most.")] = 100,
    executor: Annotated[str, typer.Option("--executor", help="Only what ran on this executor.", metavar="ID")] = "",
    url: Url = URL,
    token: Token = "",
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
    from cli.client import Address

    wanted = work.Wanted(name=name, lines=lines, since_ms=work.moment(since), executor=executor)
    raise typer.Exit(work.run(wanted, at=Address(url=url, token=token), follow=follow, json=json))


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


@app.command()
def version() -> None:
    """Print the version.

    \b
    Example:
      fnbus version
    """
    from importlib.metadata import version as installed

    typer.echo(f"fnbus {installed('fnbus')}")


def main() -> int:
    """Run the command; return the exit code. A fault is one line on stderr."""
    try:
        if sys.argv[1:] == ["version"]:  # scripts ask this often; the framework would take twice as long to build all commands
            version()
        else:
            app()
    except FnbusError as error:
        typer.secho(f"fnbus: {error}", err=True, fg=typer.colors.RED)
        return getattr(error, "code", 1)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        return 0
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
