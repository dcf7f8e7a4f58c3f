"""`fnbus executions show`: one execution with all that is known of it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from cli import logs, output
from cli.client import Address, GatewayClient

_FIRST_ERROR_STATUS = 400


def show(id: str, *, at: Address, json: bool) -> int:  # noqa: A002  what everybody calls it
    """Show an execution: how it ended, where its time went, what it used, what failed, what it printed."""
    with GatewayClient(at) as gateway:
        found = gateway.ask("GET", f"/_fn/executions/{quote(id, safe='')}")
    if json:
        output.as_json(found)
        return 0
    failed = bool(found.get("code")) or int(found.get("status") or 0) >= _FIRST_ERROR_STATUS
    output.remark(f"{found.get('status') or 'no answer'}  {found.get('code') or ''}".rstrip(), fg="red" if failed else "green")
    output.facts(_facts(found))
    for line in logs.lines_of(found):
        logs.show(line)
    if found.get("truncated"):
        output.remark("it printed more than is kept", fg="yellow")
    return 0


def _facts(found: Mapping[str, Any]) -> dict[str, str]:
    def ms(name: str) -> str:
        return f"{float(found.get(name) or 0):.1f} ms"

    stages = [
        *([f"admit {ms('admit_ms')}"] if found.get("admit_ms") else []),
        f"queue {ms('queue_ms')}",
        *([f"cold start {ms('cold_ms')}"] if found.get("cold") else []),
        f"run {ms('run_ms')}",
    ]
    return {
        "id": str(found.get("id")),
        "function": f"{found.get('name')}@{found.get('version')} ({found.get('runtime')})",
        "kind": f"{found.get('kind')}, {'cold' if found.get('cold') else 'warm'}",
        "started": output.moment("started_at_ms")(found),
        "executor": str(found.get("executor") or ""),
        "stages": ", ".join(stages),
        "used": f"CPU {ms('cpu_ms')}, memory {float(found.get('peak_kib') or 0) / 1024:.1f} MiB",
        "bytes": f"{found.get('bytes_in', 0)} in, {found.get('bytes_out', 0)} out",
        "error": str(found.get("error") or ""),
        "trace": str(found.get("trace_id") or ""),
    }
