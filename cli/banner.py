"""What `fnbus dev` prints when everything is up: where to call, what there is to call, and what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

ROUTES_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Welcome:
    """The facts of the banner."""

    address: str
    catalog: Mapping[str, Any]
    """What `GET /_fn/catalog` answered."""
    present: Sequence[tuple[str, str]]
    """Languages that are there, with their versions."""
    missing: Sequence[tuple[str, str]]
    """Languages that are not, with what to do about it."""
    isolation: str
    weakness: str = ""
    """Why isolation is not better; empty when it is as good as it gets."""


def render(facts: Welcome, *, functions: str, state: str, seconds: float) -> str:
    """Return the banner as text with colours (taken out again where there is no terminal).

    Args:
        facts: what there is.
        functions: the functions folder, as the person wrote it.
        state: the state folder, as the person wrote it.
        seconds: how long the start took.
    """
    lines = [
        "",
        f"  {_bold('fnbus')} is up at {typer.style(facts.address, bold=True, fg='cyan')}  ({seconds:.1f} s)",
        "",
        *_routes(facts.catalog, functions),
        "",
        _row("functions", functions),
        _row("runtimes", ", ".join(f"{name} {version}".rstrip() for name, version in facts.present) or "none"),
        *(_row("", f"{name} is missing: {hint}", fg="yellow") for name, hint in facts.missing),
        _row("isolation", facts.isolation),
        *([_row("", facts.weakness, fg="yellow")] if facts.weakness else []),
        _row("state", state),
        *_problems(facts.catalog),
        "",
        typer.style("  Save a file and call it again: the new code runs. Ctrl-C stops everything.", dim=True),
        "",
    ]
    return "\n".join(lines)


def routes(catalog: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (methods, pattern, function) of all routes of a catalogue, sorted by pattern."""
    mapped: Mapping[str, Sequence[Mapping[str, Any]]] = catalog.get("mapped_routes") or {}
    return [
        (",".join(target.get("methods") or ["GET"]), pattern, f"{target.get('fn_name', '')} ({target.get('runtime', '')})")
        for pattern in sorted(mapped)
        for target in mapped[pattern]
    ]


def _routes(catalog: Mapping[str, Any], functions: str) -> list[str]:
    if "error" in catalog:
        return [typer.style(f"  routes cannot be listed from here: {catalog['error']}", fg="yellow")]
    found = routes(catalog)
    if not found:
        return [typer.style(f"  no routes yet: put a file such as get.hello.py into {functions}", fg="yellow")]
    shown = found[:ROUTES_SHOWN]
    methods = max(len(row[0]) for row in shown)
    patterns = max(len(row[1]) for row in shown)
    lines = [f"  {verb:<{methods}}  {pattern:<{patterns}}  {_dim('->')} {target}" for verb, pattern, target in shown]
    if len(found) > len(shown):
        lines.append(_dim(f"  … and {len(found) - len(shown)} more ({len(found)} in all): fnbus routes"))
    return lines


def _problems(catalog: Mapping[str, Any]) -> list[str]:
    conflicts: Mapping[str, Any] = catalog.get("mapped_route_conflicts") or {}
    problems: Sequence[Mapping[str, str]] = catalog.get("problems") or []
    said = [f"{problem.get('path', '')}: {problem.get('message', '')}" for problem in problems]
    known = "\n".join(said)
    said += [
        f"{pattern} has more than one owner: every call to it is 409" for pattern in sorted(conflicts) if pattern not in known
    ]
    return [_row("problems" if number == 0 else "", text, fg="red") for number, text in enumerate(said)]


def _row(name: str, text: str, *, fg: str | None = None) -> str:
    return f"  {_dim(f'{name:<10}')}  {typer.style(text, fg=fg) if fg else text}"


def _dim(text: str) -> str:
    return typer.style(text, dim=True)


def _bold(text: str) -> str:
    return typer.style(text, bold=True)
