"""`fnbus schedules show` and `run`: what is known of a function's schedules, and their request as a job."""

from collections.abc import Mapping
from json import dumps
from typing import Any

from cli import jobs, listings, output, request
from cli.client import Address, GatewayClient
from cli.errors import CommandError


def show(name: str, *, at: Address, version: str, json: bool) -> int:
    """Show the schedules of a function, each with its request."""
    with GatewayClient(at) as gateway:
        found = _of(gateway, name, version)
    if json:
        output.as_json({"schedules": found})
        return 0
    for number, each in enumerate(found):
        if number:
            output.line("")
        output.facts(_facts(each))
    return 0


def run(name: str, *, at: Address, version: str, json: bool) -> int:
    """Submit a job with the request of a function's schedule; its own times stay as they are."""
    with GatewayClient(at) as gateway:
        found = _of(gateway, name, version)
        if len(found) > 1:
            labels = ", ".join(str(each.get("version") or "default") for each in found)
            raise CommandError(f"{name} has several schedules: choose one with --version ({labels})")
        job = gateway.ask("POST", "/_fn/jobs", body=_job(found[0]))
    jobs.tell_submitted(job, json=json)
    return 0


def _of(gateway: GatewayClient, name: str, version: str) -> list[dict[str, Any]]:
    """Return the schedules of a function, of one version when that is named.

    Raises:
        CommandError: it has none.
    """
    wanted = request.name_of(name, gateway.ask("GET", "/_fn/catalog"))
    found: list[dict[str, Any]] = gateway.ask("GET", "/_fn/schedules").get("schedules") or []
    own = [each for each in found if each.get("name") == wanted]
    if version:
        own = [each for each in own if (each.get("version") or "default") == version]
    if not own:
        raise CommandError(f"{name}{f'@{version}' if version else ''} has no schedule")
    return own


def _job(each: Mapping[str, Any]) -> dict[str, Any]:
    schedule: Mapping[str, Any] = each.get("schedule") or {}
    named = {key: each[key] for key in ("name", "runtime", "version") if each.get(key)}
    told = {key: schedule[key] for key in ("method", "query", "headers", "body", "context") if schedule.get(key)}
    return {**named, **told, **({"max_attempts": attempts} if (attempts := _attempts(schedule)) else {})}


def _attempts(schedule: Mapping[str, Any]) -> int:
    """Return how often a run is tried; 0 where nothing is said of that."""
    retry: Mapping[str, Any] = schedule.get("retry") or {}
    return int(retry.get("max_attempts") or 0)


def _facts(each: Mapping[str, Any]) -> dict[str, str]:
    schedule: Mapping[str, Any] = each.get("schedule") or {}
    state: Mapping[str, Any] = each.get("state") or {}
    asked = {key: schedule.get(key) for key in ("query", "headers", "body", "context") if schedule.get(key)}
    return {
        "function": f"{each.get('name')}@{each.get('version') or 'default'} ({each.get('runtime')})",
        "schedule": listings.when(schedule),
        "enabled": "no" if schedule.get("enabled") is False else "yes",
        "next": output.moment("next")(state),
        "last": output.moment("last")(state),
        "status": output.field("last_status")(state),
        "error": output.field("last_error")(state),
        "method": str(schedule.get("method") or "GET"),
        **{key: value if isinstance(value, str) else dumps(value, ensure_ascii=False) for key, value in asked.items()},
        "attempts": str(_attempts(schedule) or 1),
    }
