"""The commands below `fnbus jobs`."""

# ruff: noqa: D301  the framework reads \b (keep these lines as they are) in docstrings, and options in signatures

from typing import Annotated

import typer

from cli.commands.completion import function_names
from cli.commands.remote import remote
from cli.options import Data, Header, JobId, Json, Limit, Method, Query, Runtime
from cli.target import Address

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Submit jobs, follow them, fetch their results.")


@app.command("submit")
@remote
def jobs_submit(
    name: Annotated[str, typer.Argument(help="The function's name.", autocompletion=function_names)],
    *,
    at: Address,
    data: Data = None,
    method: Method = None,
    query: Query = None,
    header: Header = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="Path parameter; may be repeated.", metavar="NAME=VALUE")
    ] = None,
    route: Annotated[str, typer.Option("--route", help="One of the function's routes, when it has several.")] = "",
    runtime: Runtime = "",
    label: Annotated[str, typer.Option("--version", help="A version's label, as in v2.", metavar="LABEL")] = "",
    max_attempts: Annotated[int, typer.Option("--max-attempts", min=1, help="How often it is tried.")] = 1,
    retry_delay_ms: Annotated[
        int, typer.Option("--retry-delay-ms", min=0, help="Before the second try; later ones wait longer.")
    ] = 1000,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Follow it to its end and show its result.")] = False,
    wait_seconds: Annotated[float, typer.Option("--wait-seconds", min=0, help="How long to follow it at most.")] = 600,
    json: Json = False,
) -> None:
    """Submit a job: a call that is kept and tried until it ends.

    Prints its id; with --wait its result.

    \b
    Examples:
      fnbus jobs submit report -d '{"month": 7}' --max-attempts 5
      fnbus jobs submit report --wait
      fnbus jobs submit 'users/[id].js' -p id=42 --json
    """
    from cli import jobs

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
    raise typer.Exit(jobs.submit(submission, at=at, wait=wait, limit_seconds=wait_seconds, json=json))


@app.command("get")
@remote
def jobs_get(job_id: JobId, *, at: Address, json: Json = False) -> None:
    """Show where a job stands.

    \b
    Example:
      fnbus jobs get job-1760000000000-1-123456
    """
    from cli import jobs

    raise typer.Exit(jobs.get(job_id, at=at, json=json))


@app.command("result")
@remote
def jobs_result(job_id: JobId, *, at: Address, json: Json = False) -> None:
    """Show what a job answered.

    The status goes to stderr, the body to stdout; the exit code is 1 when the status is 400 or above, or none is there yet.

    \b
    Example:
      fnbus jobs result job-1760000000000-1-123456 > report.csv
    """
    from cli import jobs

    raise typer.Exit(jobs.result(job_id, at=at, json=json))


@app.command("cancel")
@remote
def jobs_cancel(job_id: JobId, *, at: Address, json: Json = False) -> None:
    """Cancel a job that waits or runs.

    \b
    Example:
      fnbus jobs cancel job-1760000000000-1-123456
    """
    from cli import jobs

    raise typer.Exit(jobs.cancel(job_id, at=at, json=json))


@app.command("retry")
@remote
def jobs_retry(job_id: JobId, *, at: Address, json: Json = False) -> None:
    """Retry a job that has failed for good.

    It has as many attempts as it had at first. Its dead letter goes; another one comes if it fails again.

    \b
    Examples:
      fnbus jobs dead-letters
      fnbus jobs retry job-1760000000000-1-123456
    """
    from cli import jobs

    raise typer.Exit(jobs.retry(job_id, at=at, json=json))


@app.command("list")
@remote
def jobs_list(
    *,
    at: Address,
    status: Annotated[
        str, typer.Option("--status", help="Only these: queued, running, done, failed or canceled.", metavar="STATUS")
    ] = "",
    limit: Limit = 20,
    json: Json = False,
) -> None:
    """List the newest jobs.

    \b
    Examples:
      fnbus jobs list
      fnbus jobs list --status failed -n 100 --json
    """
    from cli import listings

    raise typer.Exit(listings.jobs(at=at, status=status, limit=limit, json=json))


@app.command("dead-letters")
@remote
def jobs_dead_letters(*, at: Address, limit: Limit = 20, json: Json = False) -> None:
    """List what was given up, with the reason.

    That is jobs after their last attempt, and messages that could not be read.

    \b
    Examples:
      fnbus jobs dead-letters
      fnbus jobs dead-letters --json
    """
    from cli import listings

    raise typer.Exit(listings.dead_letters(at=at, limit=limit, json=json))
