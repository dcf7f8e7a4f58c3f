"""`fnbus init`: a new function's folder, which runs as it is."""

import re
from pathlib import Path

from cli import output, preflight, project, templates
from cli.errors import CommandError

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*(?:/[a-zA-Z0-9][a-zA-Z0-9_-]*)*")
_LONGEST = 100


def run(name: str, *, runtime: str, folder: Path | None) -> int:
    """Write the function's folder and say what comes next.

    Args:
        name: the function's.
        runtime: its language.
        folder: where functions lie; None: what a run here serves, else what the project's file says, else here.

    Raises:
        CommandError: there can be no function of that name or in that language, something is there already, or the disk
            says no. Nothing that was there is ever changed.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise CommandError(f"{name!r} cannot be a function's name: use letters, digits, - and _, with / between parts")
    if runtime not in templates.RUNTIMES:
        raise CommandError(f"-t {runtime}: it is one of {', '.join(templates.RUNTIMES)}")
    running = preflight.running()
    root = folder or (_nearest(running.functions) if running else project.find(Path()).functions) or Path()
    place = root / name
    if place.exists():
        raise CommandError(f"{place} is there already: choose another name, or remove it")
    written = templates.files(runtime, name)
    try:
        place.mkdir(parents=True)
        # The handler comes last: a platform that watches sees the function once it is whole.
        for file in sorted(written, key=lambda each: each.startswith("handler")):
            with (place / file).open("x") as stream:
                stream.write(written[file])
    except OSError as error:
        raise CommandError(f"cannot write {error.filename or place}: {error.strerror}") from None
    for file in written:
        output.line(str(place / file))
    address = running.address if running else "http://127.0.0.1:8080"
    if not running:
        output.remark(f"\nrun it:   fnbus dev {root}", fg="green")
    output.remark(f"call it:  curl '{address}/{name}?name=Ada'", fg="green")
    return 0


def _nearest(folder: Path) -> Path:
    """Return a folder as a person who stands here would write it."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
