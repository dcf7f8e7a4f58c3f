"""`fnbus list`, `show` and `delete`: what functions a gateway has, all that is known of one, and its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli import output, request
from cli.client import Address, GatewayClient
from cli.errors import CommandError, RefusedError
from cli.output import Column, field

_ROUTES_SHOWN = 2
_UNKNOWN = 404
_COLUMNS: Sequence[Column] = (
    ("name", field("name")),
    ("runtime", field("runtime")),
    ("versions", lambda row: ", ".join(row["versions"])),
    ("methods", lambda row: ",".join(row["methods"])),
    ("routes", lambda row: _some(row["routes"])),
)


@dataclass(frozen=True, kw_only=True)
class Named:
    """A function, or a version of one, as it was typed."""

    name: str
    """Its name, or its route without the slash."""
    runtime: str = ""
    """Needed when the name is in several."""
    version: str = ""
    """Empty: the default one."""

    def query(self, gateway: GatewayClient) -> dict[str, str]:
        """Return how the `/_fn/function*` API names it.

        Raises:
            CommandError: there is none, or several.
        """
        catalog = gateway.ask("GET", "/_fn/catalog")
        name = request.name_of(self.name, catalog)
        runtimes = sorted({row["runtime"] for row in rows(catalog) if row["name"] == name})
        if not runtimes:
            raise request.unknown(self.name, catalog)
        if self.runtime and self.runtime not in runtimes:
            raise CommandError(f"{name} is not written in {self.runtime}, but in {' and '.join(runtimes)}")
        if not self.runtime and len(runtimes) > 1:
            raise CommandError(f"{name} is in {' and in '.join(runtimes)}: say which with --runtime")
        return {"runtime": self.runtime or runtimes[0], "name": name, "version": self.version}


def rows(catalog: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all functions of a catalogue, each once, sorted by name."""
    found: dict[tuple[str, str], dict[str, Any]] = {}

    def row(runtime: str, name: str) -> dict[str, Any]:
        lists: dict[str, list[str]] = {"versions": [], "methods": [], "routes": []}
        empty: dict[str, Any] = {"name": name, "runtime": runtime, **lists}
        return found.setdefault((name, runtime), empty)

    runtimes: Mapping[str, Mapping[str, Any]] = catalog.get("runtimes") or {}
    for runtime, known in runtimes.items():
        for function in known.get("functions") or ():
            labels = [*(["default"] if function.get("has_default") else []), *(function.get("versions") or ())]
            row(runtime, function["name"])["versions"] = labels
    mapped: Mapping[str, Sequence[Mapping[str, Any]]] = catalog.get("mapped_routes") or {}
    for pattern, targets in mapped.items():
        for target in targets:
            one = row(str(target.get("runtime")), str(target.get("fn_name")))
            one["routes"].append(pattern)
            one["methods"] += [method for method in target.get("methods") or ["GET"] if method not in one["methods"]]
            label = str(target.get("version") or "default")
            if label not in one["versions"]:
                one["versions"].append(label)
    return [found[key] for key in sorted(found)]


def listing(*, at: Address, json: bool) -> int:
    """List all functions."""
    with GatewayClient(at) as gateway:
        found = rows(gateway.ask("GET", "/_fn/catalog"))
    if json:
        output.as_json({"functions": found})
    else:
        output.table(_COLUMNS, found, empty="there are no functions: make one with `fnbus init NAME`, or see `fnbus deploy`")
    return 0


def show(wanted: Named, *, at: Address, code: bool, json: bool) -> int:
    """Show all that is known of a function: its code alone, when that is asked for."""
    with GatewayClient(at) as gateway:
        named = wanted.query(gateway)
        found = gateway.ask("GET", "/_fn/function", query={**named, "include_code": int(code or json)})
    if json:
        output.as_json(found)
    elif code:
        output.line(str(found.get("code") or "").removesuffix("\n"))
        if found.get("code_truncated"):
            output.remark("the code goes on: it is longer than a gateway shows", fg="yellow")
    else:
        output.facts(_facts(found))
    return 0


def delete(wanted: Named, *, at: Address, sure: bool) -> int:
    """Remove a function, or a version of one, with all its files."""
    with GatewayClient(at) as gateway:
        named = wanted.query(gateway)
        what = f"{named['name']}{'@' + wanted.version if wanted.version else ''} ({named['runtime']})"
        if not sure and not output.confirmed(f"remove {what} from {at.profile or at.url}?", option="--yes"):
            return 1
        try:
            gateway.ask("DELETE", "/_fn/function", query=named)
        except RefusedError as refusal:
            if refusal.status == _UNKNOWN and wanted.version:
                raise CommandError(f"{named['name']} has no version {wanted.version}") from None
            raise
    output.remark(f"removed {what}", fg="green")
    return 0


def _facts(found: Mapping[str, Any]) -> dict[str, str]:
    policy, metadata, environment = _part(found, "policy"), _part(found, "metadata"), _part(found, "fn_env")
    endpoints, built = _part(metadata, "endpoints"), _part(metadata, "dependency_resolution")
    schedule = _part(_part(metadata, "schedule"), "configured")
    others: Sequence[str] = found.get("versions") or ()
    urls: Sequence[str] = endpoints.get("public_urls") or ()
    return {
        "name": f"{found.get('name')}{'@' + found['version'] if found.get('version') else ''} ({found.get('runtime')})",
        "summary": str(_part(metadata, "invoke").get("summary") or ""),
        "revision": str(found.get("revision") or ""),
        "versions": ", ".join(others),
        "called at": "\n".join(f"{','.join(policy.get('methods') or ['GET'])}  {url}" for url in urls),
        "limits": f"{policy.get('timeout_ms')} ms, {policy.get('max_concurrency')} at once, "
        f"bodies of {policy.get('max_body_bytes')} bytes",
        "schedule": _schedule(schedule) if schedule else "",
        "env": "\n".join(f"{name}={value.get('value')}" for name, value in environment.items()),
        "needs": ", ".join(map(str, built.get("resolved_packages") or ())),
        "build": " ".join(filter(None, (str(built.get("last_install_status") or ""), str(built.get("last_error") or "")))),
        "file": str(found.get("file_path") or ""),
    }


def _part(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return of.get(name) or {}


def _schedule(schedule: Mapping[str, Any]) -> str:
    when = schedule.get("cron") or f"every {schedule.get('every_seconds')} s"
    return f"{when} {schedule.get('timezone') or ''}".strip() + ("" if schedule.get("enabled", True) else " (off)")


def _some(routes: Sequence[str]) -> str:
    more = f" +{len(routes) - _ROUTES_SHOWN}" if len(routes) > _ROUTES_SHOWN else ""
    return ", ".join(routes[:_ROUTES_SHOWN]) + more
