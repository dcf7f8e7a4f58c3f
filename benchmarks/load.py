"""Load from outside: wrk for HTTP, the kernel's accounting for memory and CPU."""

import asyncio
import contextlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one run of wrk found."""

    connections: int
    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    """Socket errors and answers other than 2xx and 3xx."""


async def wrk(url: str, *, connections: int, seconds: float, script: Path | None = None) -> Load:
    """Run wrk against a URL in a closed loop.

    Raises:
        RuntimeError: wrk is missing or failed.
    """
    program = shutil.which("wrk")
    if program is None:
        raise RuntimeError("wrk is not installed: apt-get install wrk")
    threads = 1 if connections == 1 else 2
    arguments = [f"-t{threads}", f"-c{connections}", f"-d{seconds:g}s", "--latency", "--timeout", "10s"]
    if script is not None:
        arguments += ["-s", str(script)]
    process = await asyncio.create_subprocess_exec(
        program, *arguments, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return parse(output.decode(), connections)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, and how long it took from the connection's first packet to its last."""

    status: int
    head: str
    """Status line and headers."""
    ms: float


async def get(url: str) -> Answer:
    """GET a URL on a connection of its own: what a client library does for a call would count as the platform's time."""
    parts = urlsplit(url)
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    ms = (time.perf_counter() - began) * 1000
    writer.close()
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    return Answer(status=int(head.split(" ", 2)[1]), head=head, ms=ms)


def parse(text: str, connections: int) -> Load:
    """Return what wrk printed as figures.

    Raises:
        RuntimeError: it printed something else.
    """
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if rate is None:
        raise RuntimeError(f"wrk said: {text}")
    failed = sum(int(number) for number in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Load(
        connections=connections,
        per_second=float(rate[1]),
        p50_ms=_quantile(text, "50%"),
        p99_ms=_quantile(text, "99%"),
        errors=failed + (int(bad[1]) if bad else 0),
    )


def _quantile(text: str, name: str) -> float:
    found = re.search(rf"{name}\s+([\d.]+)(us|ms|s|m)\b", text)
    return float(found[1]) * _UNITS[found[2]] if found else float("nan")


def resident_mib(pid: int) -> float:
    """Return a process's unique set size (private pages), in MiB."""
    private = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_"):
            private += int(line.split()[1])
    return private / 1024


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children(pid: int) -> list[int]:
    """Return all processes below a process; those that end meanwhile may be missing."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *children(int(child))]
    return found
