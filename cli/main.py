"""The `fnbus` command: which commands there are, and how faults are told.

What each command takes is in `cli.commands`; the modules that do its work are imported when it runs, so that `fnbus --help` and
`fnbus version` answer at once.
"""

import sys
from typing import Annotated

import typer

from cli.commands import backups, executions, functions, jobs, platform, profiles, releases, runs, schedules, services
from cli.commands.sections import Sections
from libs.errors import FnbusError

app = typer.Typer(
    name="fnbus",
    cls=Sections,
    help="A functions platform you own: HTTP calls, jobs and cron over NATS, in warm sandboxed processes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for each in (platform, functions, releases, backups, runs, profiles, services):
    app.add_typer(each.app)
app.add_typer(functions.env, name="env")
app.add_typer(functions.secret, name="secret")
app.add_typer(releases.alias, name="alias")
app.add_typer(jobs.app, name="jobs")
app.add_typer(schedules.app, name="schedules")
app.add_typer(executions.app, name="executions")
app.add_typer(profiles.group, name="profile")


def _print_version(wanted: bool) -> None:  # noqa: FBT001  the framework passes the option by position
    if wanted:
        platform.version()
        raise typer.Exit


@app.callback()
def common(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take what stands before any command; the text of `fnbus --help` is the app's own."""


def main() -> int:
    """Run the command; return the exit code. A fault is one line on stderr."""
    try:
        if sys.argv[1:] == ["version"]:  # scripts ask this often; the framework would take twice as long to build all commands
            platform.version()
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
