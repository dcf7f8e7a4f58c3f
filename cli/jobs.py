"""`fnbus jobs`: hands jobs to a gateway, follows them, fetches their results."""

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli import output, request
from cli.client import Address, GatewayClient
from cli.errors import CommandError, RefusedError
from cli.invoke import show_body
from cli.progress import progress

_ENDED = frozenset({"done", "failed", "canceled"})
_FIRST_ERROR_STATUS = 400
_UNKNOWN = 404
_WRONG_METHOD = 405
_FIRST_POLL_SECONDS = 0.1
_LONGEST_POLL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job, as it was typed."""

    name: str
    runtime: str = ""
    version: str = ""
    method: str | None = None
    route: str = ""
    params: Sequence[str] = ()
    query: Sequence[str] = ()
    headers: Sequence[str] = ()
    data: str | None = None
    max_attempts: int = 1
    retry_delay_ms: int = 1000

    def body(self) -> dict[str, Any]:
        """Return the body of `POST /_fn/jobs`.

        Raises:
            CommandError: something of it cannot be understood, or its data is not text.
        """
        content = request.body(self.data)
        headers = request.pairs(self.headers, separator=":", option="--header")
        try:
            text = None if content is None else content.decode()
        except UnicodeDecodeError:
            raise CommandError("--data: a job's body is text (UTF-8)") from None
        fields: dict[str, Any] = {
            "name": self.name,
            "runtime": self.runtime,
            "version": self.version,
            "method": request.choose_method(self.method, (), has_body=content is not None) if self.method or content else "",
            "route": self.route,
            "params": dict(request.pairs(self.params, separator="=", option="--param")),
            "query": dict(request.pairs(self.query, separator="=", option="--query")),
            "headers": dict([*request.content_type(content, headers), *headers]),
            "body": text,
        }
        told = {name: value for name, value in fields.items() if value not in (None, "", {})}
        return told | {"max_attempts": self.max_attempts, "retry_delay_ms": self.retry_delay_ms}


def submit(submission: Submission, *, at: Address, wait: bool, limit_seconds: float, json: bool) -> int:
    """Submit a job; with `wait`, follow it to its end and show its result. Return 1 when it did not end well."""
    with GatewayClient(at) as gateway:
        job = _hand_in(gateway, submission)
        if not wait:
            tell_submitted(job, json=json)
            return 0
        ended = _follow(gateway, job, limit_seconds)
        if not ended.get("result_status"):  # no answer to show: canceled, or no attempt came so far
            raise CommandError(f"job {ended['id']} is {ended['status']}: {ended.get('last_error') or 'it has no result'}")
        code = show_result(gateway, str(ended["id"]), json=json)
        return code if ended["status"] == "done" else 1


def tell_submitted(job: Mapping[str, Any], *, json: bool) -> None:
    """Show a job that was just accepted: its id is all that goes to stdout."""
    if json:
        output.as_json(job)
    else:
        output.remark(f"{job['status']}: follow it with `fnbus jobs get {job['id']}`")
        output.line(str(job["id"]))


def get(job_id: str, *, at: Address, json: bool) -> int:
    """Show where a job stands."""
    with GatewayClient(at) as gateway:
        job = gateway.ask("GET", f"/_fn/jobs/{job_id}")
    _show(job, json=json)
    return 0


def result(job_id: str, *, at: Address, json: bool) -> int:
    """Show a job's result; return 1 when there is none yet, or its status is 400 and above."""
    with GatewayClient(at) as gateway:
        return show_result(gateway, job_id, json=json)


def cancel(job_id: str, *, at: Address, json: bool) -> int:
    """Cancel a queued or running job."""
    with GatewayClient(at) as gateway:
        job = gateway.ask("DELETE", f"/_fn/jobs/{job_id}")
    _show(job, json=json)
    return 0


def retry(job_id: str, *, at: Address, json: bool) -> int:
    """Have a job tried anew that was given up."""
    with GatewayClient(at) as gateway:
        job = gateway.ask("POST", f"/_fn/jobs/{job_id}/retry")
    _show(job, json=json)
    return 0


def show_result(gateway: GatewayClient, job_id: str, *, json: bool) -> int:
    """Fetch and show a result."""
    found = gateway.ask("GET", f"/_fn/jobs/{job_id}/result")
    if "error" in found:
        raise CommandError(f"{found['error']}: the job is {found.get('status', 'not there')}")
    failed = int(found["status"]) >= _FIRST_ERROR_STATUS
    if json:
        output.as_json(found)
    else:
        colour = "red" if failed else "green"
        output.remark(f"{found['status']}  {float(found.get('latency_ms') or 0):.1f} ms", fg=colour)
        show_body(_content(found))
    return 1 if failed else 0


def _hand_in(gateway: GatewayClient, submission: Submission) -> dict[str, Any]:
    """Submit a job, with one of the function's own methods when none was asked for."""
    told = submission.body()
    try:
        return gateway.ask("POST", "/_fn/jobs", body=told)
    except RefusedError as refusal:
        allowed: Sequence[str] = refusal.answer.get("allowed_methods") or ()
        if refusal.status == _UNKNOWN and not submission.version:
            raise request.unknown(submission.name, gateway.ask("GET", "/_fn/catalog")) from None
        if refusal.status != _WRONG_METHOD or submission.method or not allowed:
            raise
    method = request.choose_method(None, allowed, has_body="body" in told)
    return gateway.ask("POST", "/_fn/jobs", body=told | {"method": method})


def _content(found: dict[str, Any]) -> bytes:
    if found.get("is_base64"):
        return base64.b64decode(found.get("body_base64") or "")
    return str(found.get("body") or "").encode()


def _follow(gateway: GatewayClient, job: dict[str, Any], limit_seconds: float) -> dict[str, Any]:
    """Ask for the job until it has ended, showing how it gets on."""
    end = time.monotonic() + limit_seconds
    pause = _FIRST_POLL_SECONDS
    with progress() as show:
        while job["status"] not in _ENDED:
            show(_state(job))
            if time.monotonic() > end:
                raise CommandError(
                    f"job {job['id']} is still {job['status']} after {limit_seconds:g} s: it goes on without you"
                )
            time.sleep(pause)
            pause = min(_LONGEST_POLL_SECONDS, pause * 1.3)
            job = gateway.ask("GET", f"/_fn/jobs/{job['id']}")
        show(_state(job))
    return job


def _state(job: dict[str, Any]) -> str:
    text = f"{job['id']} {job['status']}, attempt {job.get('attempt', 0)} of {job.get('max_attempts', 1)}"
    return f"{text} ({job['last_error']})" if job.get("last_error") else text


def _show(job: dict[str, Any], *, json: bool) -> None:
    if json:
        output.as_json(job)
        return
    width = max(len(name) for name in job)
    for name, value in job.items():
        shown = output.moment(name)(job) if name.endswith("_ms") and name.partition("_at_")[1] else value
        output.line(f"{name:<{width}}  {shown}")
