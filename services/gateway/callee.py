"""Everything about a version that is the same for all calls to it, made once when the catalogue changes."""

import re
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from libs.messages import heads, subjects
from libs.messages.catalog import FunctionEntry, VersionEntry
from services.gateway import checks
from services.gateway.admission import Gate
from services.gateway.checks import Checks
from services.gateway.cors import Sharing

type AsgiHeaders = tuple[tuple[bytes, bytes], ...]


class Picker(Protocol):
    """Chooses among versions; `split.Split` is one."""

    def pick(self) -> "Callee":
        """Return the version that gets the next call."""
        ...


@dataclass(slots=True)
class Learned:
    """What calls have shown of a version."""

    reads_whole: bool = False
    """Its handler takes bodies as a whole, so that nothing is won by asking an executor before one is here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callee:
    """A version, ready to be called."""

    function: FunctionEntry
    version: VersionEntry
    gate: Gate
    subject: str
    """Where its calls go."""
    context: orjson.Fragment
    """Its part of `event.context`, as JSON."""
    budget_ms: int
    max_body_bytes: int
    pinned: str
    """Its label, when it is not the default one."""
    debug_headers: AsgiHeaders
    """Headers that name it, when its policy asks for them."""
    sharing: Sharing | None
    """How pages of other origins may call it; None: not at all."""
    checks: Checks | None
    """What requests have to meet besides, when it declares schemas."""
    split: "Picker | None" = None
    """Who says for each call which version gets it, when an alias has several; None: it is always this one."""
    learned: Learned = field(default_factory=Learned)


_UNPRINTABLE = re.compile(r"[^ -~]")


def bind(function: FunctionEntry, version: VersionEntry, gate: Gate, *, max_body_bytes: int) -> Callee:
    """Make a version callable.

    Args:
        function: whose version it is.
        version: what is to be called.
        gate: who counts its calls.
        max_body_bytes: the platform's own cap on bodies.
    """
    policy = version.policy
    return Callee(
        function=function,
        version=version,
        gate=gate,
        subject=subjects.invoke(runtime=function.runtime, namespace=function.namespace, function=function.name),
        context=heads.static_context(function, version),
        budget_ms=policy.timeout_ms,
        max_body_bytes=min(policy.max_body_bytes, max_body_bytes),
        pinned=version.label if version.label != "default" else "",
        debug_headers=_debug_headers(function, version) if policy.include_debug_headers else (),
        sharing=Sharing(policy.cors) if policy.cors is not None else None,
        checks=checks.of(version.interface),
    )


def _debug_headers(function: FunctionEntry, version: VersionEntry) -> AsgiHeaders:
    pool = version.policy.worker_pool
    named = {
        "x-fn-runtime": function.runtime,
        "x-fn-runtime-routing": "queue_group",
        "x-fn-runtime-socket-index": "1",
        "x-fn-function": function.name,
        "x-fn-version": version.label,
        "x-fn-worker-pool-max-workers": str(pool.max_workers or version.policy.max_concurrency),
        "x-fn-worker-pool-max-queue": str(pool.max_queue),
    }
    return tuple((name.encode(), _UNPRINTABLE.sub("?", value).encode()) for name, value in named.items())
