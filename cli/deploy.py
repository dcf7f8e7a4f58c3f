"""`fnbus deploy`: brings a folder's files to a platform, only those that differ, and waits until what they need is built."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli import aliasing, output, shipment
from cli.aliasing import AliasOf
from cli.client import Address, GatewayClient
from cli.errors import CommandError, RefusedError
from cli.pauses import patiently
from cli.progress import bar, progress
from cli.shipment import Item, Plan

_FILES = "/_fn/files"
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0
_LINES_SHOWN = 20
_UNKNOWN = 404


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to deploy, and how."""

    what: Path
    name: str = ""
    """The path that a file or a function's folder gets; empty: its own name."""
    dry_run: bool = False
    prune: bool = False
    """Whether files that are there and not here go."""
    wait_seconds: float = 600.0
    """How long to wait for dependencies; 0: not at all."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What functions had where they come from, and a deploy does not bring."""

    values: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Names of environment values, by the path of their file."""
    secrets: Sequence[str] = ()
    """Names of secrets that are not there."""

    def unset(self, there: Iterable[Mapping[str, Any]]) -> "Needs":
        """Return what of it a platform with these files lacks."""
        known = {str(file["path"]): file.get("keys") or () for file in there}
        lacking = {path: [key for key in keys if key not in known.get(path, ())] for path, keys in self.values.items()}
        return Needs(values={path: keys for path, keys in lacking.items() if keys}, secrets=self.secrets)


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    functions: tuple[Mapping[str, Any], ...]
    problems: tuple[Mapping[str, Any], ...]


def run(wanted: Wanted, *, at: Address, json: bool) -> int:
    """Deploy; return 1 when something of it does not work.

    Raises:
        CommandError: nothing could be deployed.
    """
    items = shipment.gather(wanted.what, name=wanted.name)
    if not items:
        raise CommandError(f"there are no functions in {wanted.what}")
    return bring(items, wanted, at=at, json=json)


def bring(
    items: Sequence[Item],
    wanted: Wanted,
    *,
    at: Address,
    json: bool,
    needs: Needs | None = None,
    aliases: Sequence[AliasOf] = (),
) -> int:
    """Bring files to a platform; return 1 when something of it does not work.

    Args:
        items: the files.
        wanted: how.
        at: the platform.
        json: whether what was done is told as JSON.
        needs: what does not come along, and is named where it is not there.
        aliases: of the functions, to be set once these are there.

    Raises:
        CommandError: nothing could be brought.
    """
    began = time.monotonic()
    with GatewayClient(at) as gateway:
        there: Sequence[Mapping[str, Any]] = gateway.ask("GET", _FILES).get("files") or ()
        plan = shipment.plan(items, there)
        outcome = _send(gateway, plan, prune=wanted.prune, dry_run=wanted.dry_run)
        failed: list[tuple[str, str]] = []
        if not wanted.dry_run and wanted.wait_seconds > 0:
            failed = _built(gateway, outcome.functions, limit_seconds=wanted.wait_seconds)
        led, not_led = aliasing.bring(gateway, aliases, dry_run=wanted.dry_run)
        failed += not_led
    unset = needs.unset(there) if needs else None
    if json:
        told = _told(wanted, plan, outcome, failed) | ({"aliases": led} if aliases else {})
        output.as_json(told | ({"values_to_set": unset.values, "secrets_to_set": list(unset.secrets)} if unset else {}))
    else:
        if unset:
            tell_unset(unset.values, unset.secrets, "values did not come along, and are not set here:")
        for alias in led:
            output.line(f"+ alias {alias}")
        _show(wanted, plan, outcome, failed, at=at, seconds=time.monotonic() - began)
    return 1 if failed or outcome.problems else 0


def tell_unset(values: Mapping[str, Sequence[str]], secrets: Sequence[str], text: str) -> None:
    """Name what a person has to set, if there is anything."""
    if values or secrets:
        output.remark(text, fg="yellow")
    for path, keys in sorted(values.items()):
        output.remark(f"  {path}: {', '.join(keys)}")
    if secrets:
        output.remark(f"  secrets: {', '.join(secrets)}")


def _send(gateway: GatewayClient, plan: Plan, *, prune: bool, dry_run: bool) -> _Outcome:
    remove = list(plan.remove) if prune else []
    changed: list[str] = []
    removed: list[str] = []
    functions: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    problems: dict[str, Mapping[str, Any]] = {}
    with bar("deploying", total=len(plan.send) + len(remove)) as step:
        for group, gone in shipment.changes(plan.send, remove):
            body = {"put": {item.path: item.told() for item in group}, "remove": list(gone)}
            told = _put(gateway, body, dry_run=dry_run)
            changed += told.get("changed") or ()
            removed += told.get("removed") or ()
            for function in told.get("functions") or ():
                functions[function["runtime"], function["name"], str(function.get("version") or "")] = function
            problems = {f"{each['path']}: {each['message']}": each for each in told.get("problems") or ()}
            step(len(group) + len(gone))
    return _Outcome(
        changed=tuple(changed), removed=tuple(removed), functions=tuple(functions.values()), problems=tuple(problems.values())
    )


def _put(gateway: GatewayClient, body: Mapping[str, Any], *, dry_run: bool) -> dict[str, Any]:
    """Send a group of files."""
    try:
        return patiently(lambda: gateway.ask("PUT", _FILES, query={"dry_run": "1" if dry_run else ""}, body=body))
    except RefusedError as refusal:
        if refusal.status == _UNKNOWN:
            raise CommandError(f"this platform takes no files: {refusal}") from None
        raise


def _built(gateway: GatewayClient, functions: Iterable[Mapping[str, Any]], *, limit_seconds: float) -> list[tuple[str, str]]:
    """Wait until what functions need is installed; return those that failed, with what the tool said."""
    failed: list[tuple[str, str]] = []
    end = time.monotonic() + limit_seconds
    with progress() as show:
        for function in functions:
            if function.get("ready"):
                continue
            name = _name(function)
            pause = _FIRST_PAUSE_SECONDS
            while (state := _state(gateway, function)).get("last_install_status") == "pending":
                show(f"{name}: its dependencies are being installed{_tool(state)}")
                if time.monotonic() > end:
                    failed.append((name, f"not ready after {limit_seconds:g} s: it goes on without you"))
                    break
                time.sleep(pause)
                pause = min(_LONGEST_PAUSE_SECONDS, pause * 1.3)
            if state.get("last_install_status") == "error":
                failed.append((name, str(state.get("last_error") or "its dependencies cannot be installed")))
    return failed


def _state(gateway: GatewayClient, function: Mapping[str, Any]) -> Mapping[str, Any]:
    query = {key: function.get(key) for key in ("runtime", "name", "version")} | {"include_code": 0}
    try:
        found = gateway.ask("GET", "/_fn/function", query=query)
    except RefusedError as refusal:
        if refusal.status == _UNKNOWN:  # its files do not make it any more
            return {}
        raise
    metadata: Mapping[str, Mapping[str, Any]] = found.get("metadata") or {}
    return metadata.get("dependency_resolution") or {}


def _tool(state: Mapping[str, Any]) -> str:
    return f" with {state['tool']}" if state.get("tool") else ""


def _name(function: Mapping[str, Any]) -> str:
    version = function.get("version")
    return f"{function['name']}{f'@{version}' if version else ''}"


def _told(wanted: Wanted, plan: Plan, outcome: _Outcome, failed: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {
        "dry_run": wanted.dry_run,
        "changed": list(outcome.changed),
        "removed": list(outcome.removed),
        "unchanged": plan.same + len(plan.send) - len(outcome.changed),
        "left": [] if wanted.prune else list(plan.remove),
        "functions": [dict(function) for function in outcome.functions],
        "problems": [dict(problem) for problem in outcome.problems],
        "failed": [{"function": name, "error": text} for name, text in failed],
    }


def _show(
    wanted: Wanted, plan: Plan, outcome: _Outcome, failed: Sequence[tuple[str, str]], *, at: Address, seconds: float
) -> None:
    for path in outcome.changed:
        output.line(f"+ {path}")
    for path in outcome.removed:
        output.line(f"- {path}")
    for problem in outcome.problems:
        output.remark(f"{problem['path']}: {problem['message']}", fg="yellow")
    for name, text in failed:
        output.remark(f"{name} is not ready:", fg="red")
        for line in text.splitlines()[-_LINES_SHOWN:]:
            output.remark(f"  {line}")
    left = 0 if wanted.prune else len(plan.remove)
    if left:
        output.remark(f"{left} files there are not here, as {plan.remove[0]}: --prune removes them", fg="yellow")
    count = len(outcome.changed) + len(outcome.removed)
    files = "1 file" if count == 1 else f"{count} files"
    where = f"{at.profile} ({at.url})" if at.profile else at.url
    if wanted.dry_run:
        output.remark(f"{files} would change at {where}; nothing was done")
    elif not count:
        output.remark(f"nothing has changed at {where}", fg="green")
    else:
        names = ", ".join(_name(function) for function in outcome.functions)
        text = f"deployed {files} to {where} in {seconds:.1f} s{f': {names}' if names else ''}"
        output.remark(text, fg="yellow" if failed or outcome.problems else "green")
