"""Cold starts, bursts, and what a warm worker weighs."""

import asyncio
import contextlib
import os
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from benchmarks import handlers, load
from benchmarks.report import Report
from libs.testing.cluster import Cluster
from libs.testing.wait import eventually

_BUILD_SECONDS = 120
_LIVE_SECONDS = 30
_NOT_YET = frozenset({404, 503})
_FIRST_ERROR = 400
_AT_ONCE = 20
_SIDE_BY_SIDE = 5
_WAIT_SECONDS = 1.0
_REST_SECONDS = 6.0
"""How long the platform has nothing to do before a burst: spares are booted meanwhile."""
_SETTLE_SECONDS = 0.2


async def cold(report: Report, cluster: Cluster, languages: Sequence[str], count: int) -> None:
    """First calls of functions that were never called; Rust built before the clock.

    Each is deployed right before, one of each language. What a deploy sets off (bundles are fetched, records written) has a
    moment to pass, and the languages take turns in being first: it is starts that are measured here.
    """
    taken: dict[str, list[float]] = {language: [] for language in languages}
    starting: dict[str, list[float]] = {language: [] for language in languages}
    failed = dict.fromkeys(languages, 0)
    async with _client(cluster) as client:
        built = [language for language in languages if language == "rust"]
        for language in built:
            names = [f"cold-{language}-{number}" for number in range(count + 1)]
            for name in names:
                handlers.write(cluster.functions, language, name, handlers.HELLO[language])
            await live(client, names, within=_BUILD_SECONDS)
            await answering(client, names[-1])  # they share what is built
        for number in range(count):
            names = {language: f"cold-{language}-{number}" for language in languages}
            for language in languages:
                if language not in built:
                    source = handlers.HELLO[language]
                    handlers.write(cluster.functions, language, names[language], source, mark=names[language])
            await live(client, [*names.values()], within=_LIVE_SECONDS)
            await asyncio.sleep(_SETTLE_SECONDS)
            first = number % len(languages)
            for language in (*languages[first:], *languages[:first]):
                answer = await load.get(f"{cluster.url}/{names[language]}")
                taken[language].append(answer.ms)
                starting[language].append(_stage(answer, "cold"))
                failed[language] += answer.status >= _FIRST_ERROR
    columns = "runtime", "functions", "p50 ms", "p99 ms", "max ms", "start of the worker p50 ms", "errors"
    report.table("Cold calls", *columns)
    for language, times in taken.items():
        times.sort()
        start = statistics.median(starting[language])
        report.row(language, count, statistics.median(times), times[int(len(times) * 0.99)], times[-1], start, failed[language])
    report.say(f"\nThe load average was {os.getloadavg()[0]:.1f} then.")


async def burst(report: Report, cluster: Cluster, languages: Sequence[str]) -> None:
    """Many calls at once to handlers that wait a second, cold and again warm; before that the platform has been at rest."""
    report.table(
        f"{_AT_ONCE} calls at once to a handler that waits {_WAIT_SECONDS:g} s",
        "runtime",
        "cold s",
        "warm s",
        f"{_SIDE_BY_SIDE} functions, cold s",
        "warm s, too",
        "errors",
    )
    async with _client(cluster) as client:
        for language in languages:
            file, text = handlers.WAIT[language]
            names = [f"wait-{language}-{number}" for number in range(_SIDE_BY_SIDE + 1)]
            for name in names:
                source = (file, text % {"seconds": _WAIT_SECONDS})
                handlers.write(cluster.functions, language, name, source, mark="" if language == "rust" else name)
            await live(client, names, within=_LIVE_SECONDS)
            await asyncio.sleep(_REST_SECONDS)
            runs = [await _at_once(cluster.url, wanted) for wanted in (names[:1], names[:1], names[1:], names[1:])]
            report.row(language, *(seconds for seconds, _ in runs), sum(errors for _, errors in runs))


async def workers(report: Report, cluster: Cluster, languages: Sequence[str]) -> None:
    """Unique set size of a warm worker that has answered hello, with all of its processes."""
    report.table("A warm worker (unique set size)", "runtime", "MiB", "processes")
    executor = cluster.of("executor")[0].pid
    async with _client(cluster) as client:
        for language in languages:
            mark = f"weighed-{language}"
            source = handlers.HELLO[language]
            handlers.write(cluster.functions, language, mark, source, mark=mark)
            await live(client, [mark], within=_LIVE_SECONDS)
            try:
                await answering(client, mark)
            except RuntimeError as error:
                report.say(f"{language} is left out: {error}")
                continue
            found = _with_code(executor, source[0], mark)
            report.row(language, sum(load.resident_mib(pid) for pid in found), len(found))


async def live(client: httpx.AsyncClient, names: Sequence[str], *, within: float) -> None:
    """Wait until the gateway knows the routes, without calling them."""

    async def known() -> bool:
        routes: dict[str, object] = (await client.get("/_fn/catalog")).json().get("mapped_routes") or {}
        return all(f"/{name}" in routes for name in names)

    await eventually(known, within=within, every=0.01)


async def answering(client: httpx.AsyncClient, name: str) -> None:
    """Wait until a function answers: what it needs has been built then, for all functions with the same code.

    Raises:
        RuntimeError: it does not; the text has its last answer.
    """
    last = ""

    async def good() -> bool:
        nonlocal last
        answer = await client.get(f"/{name}")
        last = f"{answer.status_code} {answer.text[:300]}"
        return answer.status_code not in _NOT_YET

    with contextlib.suppress(AssertionError):
        await eventually(good, within=_BUILD_SECONDS, every=0.2)
    if not last.startswith("2"):
        raise RuntimeError(f"/{name} does not answer: {last}")


async def _at_once(url: str, names: Sequence[str]) -> tuple[float, int]:
    """Return how long all calls took together, and how many failed."""
    began = time.perf_counter()
    found = await asyncio.gather(*(load.get(f"{url}/{name}") for name in names for _ in range(_AT_ONCE)))
    return time.perf_counter() - began, sum(answer.status >= _FIRST_ERROR for answer in found)


def _stage(answer: load.Answer, name: str) -> float:
    """Return how long a stage of a call took, as the answer tells it, in milliseconds; 0 when there was none."""
    found = re.search(rf"(?mi)^server-timing:.*\b{name};dur=([\d.]+)", answer.head)
    return float(found[1]) if found else 0.0


def _with_code(executor: int, file: str, mark: str) -> list[int]:
    """Return the processes that see a file with this mark as their code, in the sandbox's place for it."""
    found: list[int] = []
    for pid in load.children(executor):
        try:
            if mark in (Path(f"/proc/{pid}/root/fn") / file).read_text():
                found.append(pid)
        except OSError:
            continue
    return found


def _client(cluster: Cluster) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
    return httpx.AsyncClient(base_url=cluster.url, timeout=60, limits=limits, trust_env=False)
