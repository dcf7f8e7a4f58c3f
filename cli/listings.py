"""The commands that list what a gateway knows: routes, jobs, dead letters, schedules, executions; as a table or as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from cli import banner, output, request
from cli.client import Address, GatewayClient
from cli.errors import CommandError
from cli.output import Column, Row, field, moment

_STATES = ("queued", "running", "done", "failed", "canceled")
_JOBS: Sequence[Column] = (
    ("id", field("id")),
    ("status", field("status")),
    ("function", lambda row: f"{row.get('name', '')}{_at(row)}"),
    ("attempt", lambda row: f"{row.get('attempt', 0)}/{row.get('max_attempts', 1)}"),
    ("result", field("result_status")),
    ("updated", moment("updated_at_ms")),
    ("error", field("last_error")),
)
_DEAD_LETTERS: Sequence[Column] = (
    ("at", moment("at_ms")),
    ("job", field("job_id")),
    ("source", field("source")),
    ("subject", field("subject")),
    ("reason", field("reason")),
)
_SCHEDULES: Sequence[Column] = (
    ("function", lambda row: f"{row.get('name', '')}{_at(row)}"),
    ("runtime", field("runtime")),
    ("schedule", lambda row: when(row.get("schedule") or {})),
    ("next", lambda row: moment("next")(_state(row))),
    ("last", lambda row: moment("last")(_state(row))),
    ("status", lambda row: field("last_status")(_state(row))),
    ("error", lambda row: field("last_error")(_state(row))),
)
_EXECUTIONS: Sequence[Column] = (
    ("started", moment("started_at_ms")),
    ("function", lambda row: f"{row.get('name', '')}{_at(row)}"),
    ("kind", field("kind")),
    ("status", field("status")),
    ("run ms", lambda row: _milliseconds(row)),
    ("cold", lambda row: "cold" if row.get("cold") else ""),
    ("id", field("id")),
    ("error", field("error", "code")),
)
_ROUTES: Sequence[Column] = (
    ("methods", field("methods")),
    ("route", field("route")),
    ("function", field("function")),
)


def jobs(*, at: Address, limit: int, json: bool, status: str = "") -> int:
    """List the newest jobs, or those of one status."""
    if status and status not in _STATES:
        raise CommandError(f"--status {status}: it is one of {', '.join(_STATES)}")
    return _list(at, "/_fn/jobs", "jobs", _JOBS, {"limit": limit, "state": status}, json=json)


def dead_letters(*, at: Address, limit: int, json: bool) -> int:
    """List what was given up, and why."""
    return _list(at, "/_fn/dead-letters", "dead_letters", _DEAD_LETTERS, {"limit": limit}, json=json)


def schedules(*, at: Address, json: bool) -> int:
    """List the schedules and what became of them."""
    return _list(at, "/_fn/schedules", "schedules", _SCHEDULES, {}, json=json)


def executions(*, at: Address, function: str, limit: int, failed: bool, json: bool) -> int:
    """List the newest executions, of one function when it is given (its name, or its route), or those that failed."""
    if function:
        with GatewayClient(at) as gateway:
            function = request.name_of(function, gateway.ask("GET", "/_fn/catalog"))
    query = {"function": function, "limit": limit, "failed": "1" if failed else ""}
    return _list(at, "/_fn/executions", "executions", _EXECUTIONS, query, json=json)


def routes(*, at: Address, json: bool) -> int:
    """List all routes; patterns with more than one owner are said on stderr."""
    with GatewayClient(at) as gateway:
        catalog = gateway.ask("GET", "/_fn/catalog")
    conflicts = sorted(catalog.get("mapped_route_conflicts") or {})
    if json:
        output.as_json({"mapped_routes": catalog.get("mapped_routes") or {}, "mapped_route_conflicts": conflicts})
        return 0
    rows = [{"methods": verbs, "route": route, "function": target} for verbs, route, target in banner.routes(catalog)]
    output.table(_ROUTES, rows, empty="there are no routes")
    for pattern in conflicts:
        output.remark(f"{pattern} has more than one owner: every call to it is 409", fg="yellow")
    return 0


def _list(at: Address, path: str, name: str, columns: Sequence[Column], query: Mapping[str, Any], *, json: bool) -> int:
    with GatewayClient(at) as gateway:
        found = gateway.ask("GET", path, query=query)
    if json:
        output.as_json(found)
    else:
        output.table(columns, found.get(name) or [], empty=f"there are no {name.replace('_', ' ')}")
    return 0


def _at(row: Row) -> str:
    version = row.get("version")
    return f"@{version}" if version and version != "default" else ""


def _state(row: Row) -> Row:
    return row.get("state") or {}


def when(schedule: Mapping[str, Any]) -> str:
    """Return when a schedule fires, in words."""
    zone = schedule.get("timezone") or schedule.get("tz") or ""
    if schedule.get("cron"):
        return f"{schedule['cron']} {zone}".strip()
    return f"every {schedule.get('every_seconds', '?')} s"


def _milliseconds(row: Row) -> str:
    value = row.get("run_ms")
    return "" if value is None else f"{float(value):.1f}"
