"""The subjects of the bus: how they are built and taken apart.

Names may hold characters that have a meaning in a subject (`.`, `*`, `>`, space) or that a key-value key cannot hold
(`[`, `@`), so every name is encoded as one token: bytes outside `A-Za-z0-9_-` become `=XX`. The same tokens are the
keys of the catalogue.
"""

import functools
import re

JOBS_STREAM = "JOBS"
"""Work queue of accepted jobs."""
EVENTS_STREAM = "EVENTS"
"""Facts: executions that finished, messages that were given up."""
CATALOG_BUCKET = "catalog"
"""Key-value projection of all functions."""
CONSOLE_BUCKET = "console"
"""Key-value bucket of what gateways share about the control plane's users."""
BUNDLE_STORE = "bundles"
"""Object store of code, keyed by digest."""
BODY_STORE = "bodies"
"""Object store of bodies too large for one message, each read once and deleted."""

ASSET_STORE = "assets"
"""Object store of static files, by the digest of their bytes; the index of them lies there too."""
LAYER_STORE = "layers"
"""Object store of what was built for functions (dependencies, programs), keyed by what it was built from."""

EXECUTORS = "executors"
"""Queue group of the executors."""

EXECUTION_FINISHED = "event.execution.finished"
DEAD_LETTER = "event.dead-letter"
HEARTBEAT = "ctl.executor.heartbeat"
CANCEL_INVOCATION = "ctl.cancel.invocation"
CANCEL_JOB = "ctl.cancel.job"

CATALOG_META = "meta"
"""Key in the catalogue of what concerns all functions (`catalog.CatalogMeta`)."""

NORMAL_PRIORITY = "normal"

_PLAIN = re.compile(rb"[^A-Za-z0-9_-]")


@functools.lru_cache(maxsize=4096)
def token(name: str) -> str:
    """Return `name` as one subject token, another for each name.

    Raises:
        ValueError: the name is empty.
    """
    if not name:
        raise ValueError("a subject token cannot be empty")
    return _PLAIN.sub(lambda found: b"=%02X" % found[0][0], name.encode("utf-8", "surrogateescape")).decode("ascii")


def invoke(*, runtime: str, namespace: str, function: str) -> str:
    """Return the subject of synchronous calls to a function."""
    return f"invoke.{token(runtime)}.{token(namespace)}.{token(function)}"


def invoke_all(runtime: str) -> str:
    """Return the subject an executor listens on for all calls of a runtime."""
    return f"invoke.{token(runtime)}.>"


def job(*, runtime: str, namespace: str, function: str, priority: str = NORMAL_PRIORITY) -> str:
    """Return the subject of a job event."""
    return f"job.{token(runtime)}.{priority}.{token(namespace)}.{token(function)}"


def job_all(*, runtime: str, priority: str = NORMAL_PRIORITY) -> str:
    """Return the filter of the pull consumer of a runtime and priority."""
    return f"job.{token(runtime)}.{priority}.>"


def job_consumer(*, runtime: str, priority: str = NORMAL_PRIORITY) -> str:
    """Return the durable name of the pull consumer of a runtime and priority."""
    return f"{token(runtime)}-{priority}"


def function_event(happened: str) -> str:
    """Return the subject of the fact that functions were `created`, `updated` or `deleted`."""
    return f"event.function.{happened}"


def rpc(service: str, operation: str) -> str:
    """Return the subject of a request to a service; its queue group is the service's name."""
    return f"rpc.{service}.{operation}"


def stream_credit(executor: str) -> str:
    """Return the subject on which an executor hears that readers of its streamed answers have room."""
    return f"ctl.stream.{token(executor)}"


def body_pieces(executor: str) -> str:
    """Return the subject on which an executor gets the bodies that its handlers read by and by."""
    return f"body.{token(executor)}"


def log(*, namespace: str, function: str) -> str:
    """Return the subject of a function's live log lines."""
    return f"log.{token(namespace)}.{token(function)}"


def catalog_key(*, namespace: str, runtime: str, function: str) -> str:
    """Return the catalogue's key of a function."""
    return f"fn.{token(namespace)}.{token(runtime)}.{token(function)}"
