"""`fnbus invoke`: calls a function through a gateway, as any HTTP client would, and shows the answer."""

import base64
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from cli import output, request
from cli.client import Address, GatewayClient
from cli.errors import CommandError


@dataclass(frozen=True, kw_only=True)
class Call:
    """What to call, as it was typed."""

    name: str
    method: str | None = None
    data: str | None = None
    query: Sequence[str] = ()
    headers: Sequence[str] = ()
    version: str = ""


def run(call: Call, *, at: Address, json: bool) -> int:
    """Make the call and show its answer; return 1 for a status of 400 and above."""
    content = request.body(call.data)
    headers = request.pairs(call.headers, separator=":", option="--header")
    query = request.pairs(call.query, separator="=", option="--query")
    with GatewayClient(at) as gateway:
        path, methods = _target(call, gateway)
        method = request.choose_method(call.method, methods, has_body=content is not None)
        began = time.perf_counter()
        answer = gateway.send(
            method, path, query=query, headers=[*request.content_type(content, headers), *headers], content=content
        )
        elapsed = (time.perf_counter() - began) * 1000
    if json:
        output.as_json(_envelope(answer, method, path, elapsed))
    else:
        colour = "red" if answer.is_error else "green"
        output.remark(f"{answer.status_code} {answer.reason_phrase}  {method} {path}  {elapsed:.1f} ms", fg=colour)
        show_body(answer.content)
    return 1 if answer.is_error else 0


def show_body(content: bytes) -> None:
    """Write a body to stdout as it is; a terminal gets a line's end after it."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    if content and not content.endswith(b"\n") and sys.stdout.isatty():
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def body_fields(content: bytes) -> dict[str, Any]:
    """Return a body as fields of a JSON object: text when it is UTF-8, else base64."""
    try:
        return {"is_base64": False, "body": content.decode()}
    except UnicodeDecodeError:
        return {"is_base64": True, "body_base64": base64.b64encode(content).decode()}


def _target(call: Call, gateway: GatewayClient) -> tuple[str, Sequence[str]]:
    if call.name.startswith("/"):
        if call.version:
            raise CommandError("--version goes with a function's name, not with a path")
        return call.name, ()
    if call.version:
        return f"/{call.name}@{call.version}", ()
    return request.route_of(call.name, gateway.ask("GET", "/_fn/catalog"))


def _envelope(answer: httpx.Response, method: str, path: str, elapsed: float) -> dict[str, Any]:
    return {
        "status": answer.status_code,
        "latency_ms": round(elapsed, 3),
        "method": method,
        "route": path,
        "headers": [[name, value] for name, value in answer.headers.multi_items()],
        **body_fields(answer.content),
    }
