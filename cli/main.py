"""The `fnbus` command: which commands there are and what they take; each one's work is in a module of its own.

Those modules are imported when their command runs, so that `fnbus --help` and `fnbus version` answer at once.
"""

# ruff: noqa: D301, FBT002  the framework reads \b (keep these lines as they are) in docstrings, and options in signatures

import sys
from pathlib import Path
from typing import Annotated

import typer

from libs.errors import FnbusError

app = typer.Typer(
    name="fnbus",
    help="A functions platform you own: HTTP calls, jobs and cron over NATS, in warm sandboxed processes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
jobs_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Hand in jobs, follow them, fetch their results.")
app.add_typer(jobs_app, name="jobs")

Url = Annotated[str, typer.Option("--url", envvar="FNBUS_URL", help="The gateway to talk to.")]
Token = Annotated[
    str,
    typer.Option(
        "--token", envvar="FNBUS_ADMIN_TOKEN", show_envvar=True, help="Opens the control plane of a gateway elsewhere."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="How many at most, newest first.")]
Method = Annotated[
    str | None, typer.Option("--method", "-X", help="HTTP method; chosen from the function's own when left out.")
]
Data = Annotated[str | None, typer.Option("--data", "-d", help="Body: text, @file, or - for standard input.")]
Query = Annotated[list[str] | None, typer.Option("--query", "-q", help="Query parameter name=value; may be repeated.")]
Header = Annotated[list[str] | None, typer.Option("--header", "-H", help="Header 'name: value'; may be repeated.")]
DataDir = Annotated[Path, typer.Option("--data", help="Where state is kept between runs.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to serve on; 0: any free one.")]
Host = Annotated[str, typer.Option("--host", help="Address to serve on; 0.0.0.0 opens it to the network.")]

_URL = "http://127.0.0.1:8080"
_STATE = Path(".fnbus")


@app.command()
def dev(
    folder: Annotated[Path, typer.Argument(help="Folder of functions.")] = Path(),
    port: Port = 8080,
    data: DataDir = _STATE,
    host: Host = "127.0.0.1",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show everything that the services log.")] = False,
) -> None:
    """Run the whole platform on this machine, and follow a folder of functions.

    Starts a NATS server, registry, scheduler, executor and gateway; Ctrl-C stops them all. State is kept between runs.

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
    version: Annotated[str, typer.Option("--version", help="A version's label, as in v2.")] = "",
    url: Url = _URL,
    token: Token = "",
    json: Json = False,
) -> None:
    """Call a function and show its answer: the status on stderr, the body on stdout.

    The exit code is 1 when the status is 400 or above.

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
def routes(url: Url = _URL, token: Token = "", json: Json = False) -> None:
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
def schedules(url: Url = _URL, token: Token = "", json: Json = False) -> None:
    """List the schedules: when each fires next, and how it went last.

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
    function: Annotated[str, typer.Option("--function", "-f", help="Only of this function.")] = "",
    limit: Limit = 20,
    url: Url = _URL,
    token: Token = "",
    json: Json = False,
) -> None:
    """List what ran lately: calls and attempts of jobs, with status, duration and error.

    With --json each one has what it wrote to stdout and stderr.

    \b
    Examples:
      fnbus executions
      fnbus executions -f hello -n 5 --json
    """
    from cli import listings
    from cli.client import Address

    raise typer.Exit(listings.executions(at=Address(url=url, token=token), function=function, limit=limit, json=json))


@app.command()
def doctor(
    folder: Annotated[Path | None, typer.Argument(help="Folder of functions to look at, too.")] = None,
    port: Port = 8080,
    data: DataDir = _STATE,
    host: Host = "127.0.0.1",
    json: Json = False,
) -> None:
    """Look at what a platform on this machine needs, and say how to get what is missing.

    The exit code is 1 when something fails.

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


@jobs_app.command("submit")
def jobs_submit(
    name: Annotated[str, typer.Argument(help="The function's name.")],
    data: Data = None,
    method: Method = None,
    query: Query = None,
    header: Header = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="Path parameter name=value; may be repeated.")
    ] = None,
    route: Annotated[str, typer.Option("--route", help="One of the function's routes, when it has several.")] = "",
    runtime: Annotated[str, typer.Option("--runtime", help="Its runtime, when the name is in several.")] = "",
    label: Annotated[str, typer.Option("--version", help="A version's label, as in v2.")] = "",
    max_attempts: Annotated[int, typer.Option("--max-attempts", min=1, help="How often it is tried.")] = 1,
    retry_delay_ms: Annotated[
        int, typer.Option("--retry-delay-ms", min=0, help="Before the second try; later ones wait longer.")
    ] = 1000,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Follow it to its end and show its result.")] = False,
    wait_seconds: Annotated[float, typer.Option("--wait-seconds", min=0, help="How long to follow it at most.")] = 600,
    url: Url = _URL,
    token: Token = "",
    json: Json = False,
) -> None:
    """Hand in a job: a call that is kept and tried until it ends. Prints its id.

    \b
    Examples:
      fnbus jobs submit report -d '{"month": 7}' --max-attempts 5
      fnbus jobs submit report --wait
      fnbus jobs submit 'users/[id].js' -p id=42 --json
    """
    from cli import jobs
    from cli.client import Address

    submission = jobs.Submission(
        name=name,
        runtime=runtime,
        version=label,
        method=method,
        route=route,
        params=param or (),
        query=query or (),
        headers=header or (),
        data=data,
        max_attempts=max_attempts,
        retry_delay_ms=retry_delay_ms,
    )
    at = Address(url=url, token=token)
    raise typer.Exit(jobs.submit(submission, at=at, wait=wait, limit_seconds=wait_seconds, json=json))


JobId = Annotated[str, typer.Argument(help="The job's id.")]


@jobs_app.command("get")
def jobs_get(job_id: JobId, url: Url = _URL, token: Token = "", json: Json = False) -> None:
    """Show where a job stands.

    \b
    Example:
      fnbus jobs get job-1760000000000-1-123456
    """
    from cli import jobs
    from cli.client import Address

    raise typer.Exit(jobs.get(job_id, at=Address(url=url, token=token), json=json))


@jobs_app.command("result")
def jobs_result(job_id: JobId, url: Url = _URL, token: Token = "", json: Json = False) -> None:
    """Show what a job answered: the status on stderr, the body on stdout.

    \b
    Example:
      fnbus jobs result job-1760000000000-1-123456 > report.csv
    """
    from cli import jobs
    from cli.client import Address

    raise typer.Exit(jobs.result(job_id, at=Address(url=url, token=token), json=json))


@jobs_app.command("cancel")
def jobs_cancel(job_id: JobId, url: Url = _URL, token: Token = "", json: Json = False) -> None:
    """Cancel a job that waits or runs.

    \b
    Example:
      fnbus jobs cancel job-1760000000000-1-123456
    """
    from cli import jobs
    from cli.client import Address

    raise typer.Exit(jobs.cancel(job_id, at=Address(url=url, token=token), json=json))


@jobs_app.command("list")
def jobs_list(limit: Limit = 20, url: Url = _URL, token: Token = "", json: Json = False) -> None:
    """List the newest jobs.

    \b
    Examples:
      fnbus jobs list
      fnbus jobs list -n 100 --json
    """
    from cli import listings
    from cli.client import Address

    raise typer.Exit(listings.jobs(at=Address(url=url, token=token), limit=limit, json=json))


@jobs_app.command("dead-letters")
def jobs_dead_letters(limit: Limit = 20, url: Url = _URL, token: Token = "", json: Json = False) -> None:
    """List what was given up: jobs after their last attempt, messages that could not be read; with the reason.

    \b
    Examples:
      fnbus jobs dead-letters
      fnbus jobs dead-letters --json
    """
    from cli import listings
    from cli.client import Address

    raise typer.Exit(listings.dead_letters(at=Address(url=url, token=token), limit=limit, json=json))


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
