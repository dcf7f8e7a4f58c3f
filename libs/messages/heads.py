"""The head of a request: the JSON that a guest turns into its event.

It is encoded once, by whoever makes the invocation (the gateway for a call, the scheduler for a job), and decoded once,
by the guest. What does not change between calls of one version (`static_context`) is encoded when the catalogue changes
and spliced in as bytes.
"""

import itertools
import os
import time
from typing import Any

import orjson

from libs.messages.catalog import FunctionEntry, VersionEntry

_sequence = itertools.count(int.from_bytes(os.urandom(2)))
_process = str(os.getpid())  # asked once: it is a system call, which no call should pay for


def request_id(prefix: str = "req") -> str:
    """Return a new id `<prefix>-<epoch ms>-<pid>-<6 digits>`."""
    return f"{prefix}-{time.time_ns() // 1_000_000}-{_process}-{next(_sequence) % 1_000_000:06d}"


def static_context(function: FunctionEntry, version: VersionEntry) -> orjson.Fragment:
    """Return the part of `event.context` that is the same for all calls of a version."""
    policy = version.policy
    pool = policy.worker_pool
    return orjson.Fragment(
        orjson.dumps(
            {
                "runtime": function.runtime,
                "function_name": function.name,
                "version": version.label,
                "namespace": function.namespace,
                "timeout_ms": policy.timeout_ms,
                "max_concurrency": policy.max_concurrency,
                "max_body_bytes": policy.max_body_bytes,
                "worker_pool": {
                    "enabled": pool.enabled,
                    "min_warm": pool.min_warm,
                    "idle_ttl_seconds": pool.idle_ttl_seconds,
                    "max_workers": pool.max_workers or policy.max_concurrency,
                    "max_queue": pool.max_queue,
                    "queue_timeout_ms": pool.queue_timeout_ms,
                    "queue_poll_ms": pool.queue_poll_ms,
                    "overflow_status": pool.overflow_status,
                },
                "debug": {"enabled": policy.include_debug_headers},
                "gateway": {"worker_pid": int(_process)},
            }
        )
    )


def encode(
    *,
    id: str,  # noqa: A002  the event's own name for it
    method: str,
    path: str,
    raw_path: str,
    query: dict[str, Any],
    headers: dict[str, Any],
    params: dict[str, str],
    client: dict[str, str],
    context: orjson.Fragment,
    traceparent: str,
    ts: int = 0,
    pinned: str = "",
    user: dict[str, Any] | None = None,
    trigger: dict[str, Any] | None = None,
) -> bytes:
    """Return a request head as JSON bytes.

    Args:
        id: request id.
        method: upper case.
        path: decoded path, without query.
        raw_path: path as it came, with query.
        query: a repeated key has a list, a flag without value has True.
        headers: lower-case names; a repeated one has a list.
        params: path parameters.
        client: `ip` and `ua`.
        context: what `static_context` returned for the version.
        traceparent: W3C trace context that the handler's own spans belong under.
        ts: epoch milliseconds; 0 for now.
        pinned: label, when the caller named a version.
        user: `event.context.user`; never from the public.
        trigger: `event.context.trigger` of a scheduled run.
    """
    head: dict[str, Any] = {
        "id": id,
        "ts": ts or time.time_ns() // 1_000_000,
        "method": method,
        "path": path,
        "raw_path": raw_path,
        "query": query,
        "headers": headers,
        "params": params,
        "client": client,
        "context": context,
        "traceparent": traceparent,
    }
    if pinned:
        head["version"] = pinned
    if user is not None:
        head["user"] = user
    if trigger is not None:
        head["trigger"] = trigger
    return orjson.dumps(head)
