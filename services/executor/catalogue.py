"""What this executor knows of functions: a projection of the catalogue, followed by watch.

A call names its version by digest. A digest that was replaced stays callable for a minute, for the calls that were under way
when it was.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from libs.bus import catalog
from libs.bus.port import Bucket
from libs.clock import Clock
from libs.messages import subjects
from libs.messages.catalog import FunctionEntry, Policy, VersionEntry, WorkerPoolPolicy
from services.executor.pool.slots import Terms

KEEP_SECONDS = 60.0
"""How long a replaced version stays callable."""

_NO_LIMIT = 0
_USUAL_IDLE_SECONDS = WorkerPoolPolicy().idle_ttl_seconds
"""A function that says this says nothing of its own: the executor's setting counts."""
_WORKER_BYTES = 24 * 1024 * 1024
"""What a worker is reckoned to use before one of its version has been measured."""


class VersionKey(NamedTuple):
    """What tells versions apart. The digest alone would not do: equal code of two tenants must not share a worker."""

    namespace: str
    runtime: str
    function: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A version that can be run."""

    key: VersionKey
    function: FunctionEntry
    version: VersionEntry
    terms: Terms
    """What is asked of its workers."""


class Catalogue:
    """The versions of all functions by digest and by label."""

    def __init__(
        self,
        *,
        clock: Clock,
        on_new: Callable[[Known], None],
        on_gone: Callable[[Known], None],
        idle_seconds: Mapping[str, float] | None = None,
    ) -> None:
        """Make an empty one.

        Args:
            clock: tells when a replaced version may be forgotten.
            on_new: told of each version that appears.
            on_gone: told of each that cannot be called any more.
            idle_seconds: how long workers of a language stay without a call, where the function does not say.
        """
        self._idle_seconds = idle_seconds or {}
        self._clock = clock
        self._on_new = on_new
        self._on_gone = on_gone
        self._known: dict[VersionKey, Known] = {}
        self._of_entry: dict[str, dict[str, Known]] = {}
        self._warm: dict[VersionKey, Known] = {}
        self._replaced: dict[VersionKey, float] = {}
        self._waiting: dict[VersionKey, list[asyncio.Future[Known]]] = {}
        self.complete = asyncio.Event()
        """Set once everything that was in the catalogue at the start has been seen."""

    def find(self, key: VersionKey) -> Known | None:
        """Return the version, if it can be called."""
        return self._known.get(key)

    def labelled(self, *, namespace: str, runtime: str, function: str, label: str) -> Known | None:
        """Return the version that has a label now."""
        entry = subjects.catalog_key(namespace=namespace, runtime=runtime, function=function)
        return self._of_entry.get(entry, {}).get(label)

    async def wait_for(self, key: VersionKey, seconds: float) -> Known | None:
        """Return the version as soon as it is known; None after `seconds` without."""
        known = self._known.get(key)
        if known is not None:
            return known
        waiter: asyncio.Future[Known] = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault(key, [])
        waiters.append(waiter)
        try:
            async with asyncio.timeout(seconds):
                return await waiter
        except TimeoutError:
            return None
        finally:
            waiters.remove(waiter)
            if not waiters:
                self._waiting.pop(key, None)

    async def follow(self, bucket: Bucket) -> None:
        """Keep in step with the bucket for ever."""
        await catalog.follow(bucket, self.take, complete=self.complete)

    def take(self, entry: str, function: FunctionEntry | None) -> None:
        """Take over what the entry of a function says now; None: it is gone."""
        versions = self._versions(function) if function else {}
        before = self._of_entry.pop(entry, {})
        if versions:
            self._of_entry[entry] = versions
        now = self._clock.monotonic()
        current = {known.key for known in versions.values()}
        for old in before.values():
            if old.key not in current:
                self._replaced[old.key] = now
                self._warm.pop(old.key, None)
        for known in versions.values():
            self._add(known)

    def trim(self) -> None:
        """Forget versions that were replaced long enough ago."""
        horizon = self._clock.monotonic() - KEEP_SECONDS
        for key in [key for key, since in self._replaced.items() if since <= horizon]:
            del self._replaced[key]
            known = self._known.pop(key, None)
            if known is not None:
                self._on_gone(known)

    def kept_warm(self) -> list[Known]:
        """Return the versions of which some workers are to stay although nobody calls."""
        return list(self._warm.values())

    def _versions(self, function: FunctionEntry) -> dict[str, Known]:
        usual = self._idle_seconds.get(function.runtime, 0)
        return {
            version.label: Known(
                key=VersionKey(function.namespace, function.runtime, function.name, version.digest),
                function=function,
                version=version,
                terms=_terms(version.policy, usual),
            )
            for version in function.runnable
        }

    def _add(self, known: Known) -> None:
        self._replaced.pop(known.key, None)
        is_new = known.key not in self._known
        self._known[known.key] = known
        if known.terms.floor:
            self._warm[known.key] = known
        else:
            self._warm.pop(known.key, None)
        if is_new:
            self._on_new(known)
        for waiter in self._waiting.get(known.key, ()):
            if not waiter.done():
                waiter.set_result(known)


def _terms(policy: Policy, usual_idle_seconds: float) -> Terms:
    pool, keep = policy.worker_pool, policy.keep_warm
    floors = [pool.min_warm if pool.enabled else 0, keep.min_warm if keep.enabled else 0]
    times = [pool.idle_ttl_seconds if pool.enabled else 0, keep.idle_ttl_seconds if keep.enabled else 0]
    seconds = max(times)
    return Terms(
        limit=_limit(policy),
        floor=max(floors),
        idle_seconds=usual_idle_seconds if seconds == _USUAL_IDLE_SECONDS else seconds,
        worker_bytes=_WORKER_BYTES,
    )


def _limit(policy: Policy) -> int:
    limits = [policy.max_concurrency]
    if policy.worker_pool.enabled:
        limits.append(policy.worker_pool.max_workers)
    return min((limit for limit in limits if limit > 0), default=_NO_LIMIT)
