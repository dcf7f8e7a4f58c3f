"""The commands that take all functions of a platform to a file, and bring them back."""

# ruff: noqa: D301  the framework reads \b (keep these lines as they are) in docstrings

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.remote import remote
from cli.options import Json
from cli.target import Address

app = typer.Typer()


@app.command()
@remote
def export(
    file: Annotated[Path, typer.Argument(help="The zip file to write.", metavar="FILE")],
    *,
    at: Address,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: Json = False,
) -> None:
    """Write all functions to one file, as a backup.

    With shared packs and aliases. Environment values and secrets are left out; what has to be set again is named. The exit code
    is 1 when a file could not be put in.

    \b
    Examples:
      fnbus export backup.zip
      fnbus export backup.zip --force --profile prod
    """
    from cli import backup

    raise typer.Exit(backup.export(file, at=at, force=force, json=json))


@app.command("import")
@remote
def import_(
    file: Annotated[Path, typer.Argument(help="A file that `fnbus export` wrote.", metavar="FILE")],
    *,
    at: Address,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove files of these folders that are not in the file.")] = False,
    wait_seconds: Annotated[
        float, typer.Option("--wait-seconds", min=0, help="How long to wait for dependencies; 0: not at all.")
    ] = 600,
    json: Json = False,
) -> None:
    """Bring an export's functions to a platform.

    Only what differs. The whole file is checked before anything is changed. Values that are set there stay.

    \b
    Examples:
      fnbus import backup.zip --dry-run
      fnbus import backup.zip --profile staging
    """
    from cli import backup, deploy

    how = deploy.Wanted(what=file, dry_run=dry_run, prune=prune, wait_seconds=wait_seconds)
    raise typer.Exit(backup.import_(file, how, at=at, json=json))
