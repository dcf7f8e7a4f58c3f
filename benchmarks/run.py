"""`make bench`: measures what fnbus promises, and prints one table with its conditions.

Ratios are what counts: systems run one after the other on the same machine in the same run. Nothing here is asserted; a section
that cannot be measured says why, and the others go on.
"""

import argparse
import asyncio
import datetime
import os
import platform
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from benchmarks import calls, handlers, many, rest, starts
from benchmarks.load import Load
from benchmarks.report import Report
from libs.testing.cluster import Cluster, running_cluster

SECTIONS = ("memory", "calls", "latency", "jobs", "deploys", "workers", "cold", "burst", "traced", "executors", "many")
_ON_ONE_CLUSTER = frozenset(SECTIONS) - {"traced", "executors", "many"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What was asked for."""

    report: Report
    root: Path
    functions: Path
    only: frozenset[str]
    seconds: float
    cold: int
    many: int
    languages: tuple[str, ...]
    """Those that can be measured here."""
    plain: dict[str, Load] = field(default_factory=dict[str, Load])
    """Untraced warm calls at 16 connections, once they are measured."""

    async def section(self, name: str, measure: Callable[[], Awaitable[None]]) -> None:
        """Measure a section if it is wanted; a fault in that is said and is its alone."""
        if name not in self.only:
            return
        try:
            await measure()
        except (RuntimeError, OSError, AssertionError, ArithmeticError, LookupError) as error:
            self.report.say(f"\n{name} could not be measured: {type(error).__name__}: {error}")


async def main() -> None:
    """Measure everything that was asked for."""
    options = _options()
    report = Report()
    _conditions(report, options.seconds)
    languages: list[str] = []
    for language, reason in (await handlers.present()).items():
        if reason:
            report.say(f"{language} is left out: {reason}")
        else:
            languages.append(language)
    with tempfile.TemporaryDirectory(prefix="fnbus-bench-") as folder:
        functions = Path(folder) / "functions"
        for language in languages:
            handlers.write(functions, language, f"hello-{language}", handlers.HELLO[language])
        run = _Run(
            report=report,
            root=Path(folder),
            functions=functions,
            only=frozenset(options.only.split(",")),
            seconds=options.seconds,
            cold=options.cold,
            many=options.many,
            languages=tuple(languages),
        )
        await _measure(run)
    if options.output:
        report.write(options.output)


async def _measure(run: _Run) -> None:
    report, languages, seconds = run.report, run.languages, run.seconds
    if run.only & _ON_ONE_CLUSTER:
        floors = await calls.floor(run.root, seconds) if "calls" in run.only else {}
        async with running_cluster(run.root / "fnbus", run.functions, jetstream_sync="always") as cluster:
            await run.section("memory", lambda: rest.memory(report, cluster))
            languages = await calls.hello(report, cluster, languages)
            waiting = [language for language in languages if language != "rust"]
            await run.section("calls", lambda: _warm(run, cluster, languages, floors))
            await run.section("latency", lambda: calls.latency(report, cluster, languages[:2], run.plain, seconds))
            await run.section("jobs", lambda: rest.jobs(report, cluster, seconds))
            await run.section("deploys", lambda: rest.deploys(report, cluster))
            await run.section("workers", lambda: starts.workers(report, cluster, languages))
            await run.section("cold", lambda: starts.cold(report, cluster, languages, run.cold))
            await run.section("burst", lambda: starts.burst(report, cluster, waiting))
    folders = run.root, run.functions
    await run.section("traced", lambda: calls.traced(report, *folders, languages[:2], run.plain, seconds))
    await run.section("executors", lambda: calls.executors(report, *folders, seconds))
    await run.section("many", lambda: many.compare(report, run.root, run.many, seconds))


async def _warm(run: _Run, cluster: Cluster, languages: Sequence[str], floors: dict[int, Load]) -> None:
    run.plain.update(await calls.warm(run.report, cluster, languages, floors, run.seconds))


def _conditions(report: Report, seconds: float) -> None:
    names = ("nats-py", "uvicorn", "uvloop")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    report.say(
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {versions}; load from the same machine, {seconds:g} s a run, better of two."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="length of each run of load")
    parser.add_argument(
        "--only", default=",".join(SECTIONS), help=f"which measures, with commas between: {', '.join(SECTIONS)}"
    )
    parser.add_argument("--cold", type=int, default=200, help="functions of each runtime that are called for the first time")
    parser.add_argument("--many", type=int, default=5000, help="functions that lie beside one that is called")
    parser.add_argument("--output", type=Path, help="file to write to as well: as JSON when it is called so")
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - set(SECTIONS)
    if unknown:
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    asyncio.run(main())
