"""How functions are, as `/_fn/health` tells it: sums over all of them, and a state for each version that was called here.

It costs the same however many functions there are: those that are kept warm are counted once for each state of the catalogue.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from services.gateway.admission import Gate
from services.gateway.catalogue import Catalogue
from services.gateway.routing.index import DEFAULT_LABEL

_MAX_STATES = 200


class States:
    """The functions of a catalogue, and how they are."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._counted_at = -1
        self._kept_warm = 0

    def shown(self) -> dict[str, Any]:
        """Return the part of health that is about functions."""
        names = self._catalogue.table.names
        called = self._catalogue.gates.called()
        warm = sum(gate.warmed for gate in called)
        shed = sum(gate.shed for gate in called)
        timed_out = sum(gate.timed_out for gate in called)
        return {
            "summary": {
                "total": len(names),
                "warm": warm,
                "stale": 0,
                "cold": max(0, len(names) - warm),
                "keep_warm_enabled": self._count_kept_warm(),
                "pool_enabled": len(names),
                "pool_active": sum(gate.in_flight for gate in called),
                "pool_queued": sum(gate.waiting for gate in called),
                "pool_queue_drops": shed + timed_out,
                "pool_queue_overflow_drops": shed,
                "pool_queue_timeout_drops": timed_out,
            },
            "states": self._states(called),
        }

    def _states(self, called: Sequence[Gate]) -> list[dict[str, Any]]:
        return [self._state(gate) for gate in called[:_MAX_STATES]]

    def _state(self, gate: Gate) -> dict[str, Any]:
        named = self._catalogue.table.names.find(gate.function, version=gate.label, runtime=gate.runtime)
        policy = named.version.policy if named is not None else None  # it may have been removed while a call went on
        return {
            "runtime": gate.runtime,
            "name": gate.function,
            **({"version": gate.label} if gate.label != DEFAULT_LABEL else {}),
            "key": f"{gate.runtime}/{gate.function}@{gate.label}",
            "state": "warm" if gate.warmed else "cold",
            "keep_warm": asdict(policy.keep_warm) if policy is not None else None,
            "worker_pool": {
                **(asdict(policy.worker_pool) if policy is not None else {}),
                "max_workers": gate.limit,
                "active": gate.in_flight,
                "queued": gate.waiting,
                "queue_drops": {"overflow": gate.shed, "timeout": gate.timed_out, "total": gate.shed + gate.timed_out},
            },
        }

    def _count_kept_warm(self) -> int:
        if self._counted_at != self._catalogue.changes:
            self._counted_at = self._catalogue.changes
            versions = (version for function in self._catalogue.table.names.functions() for version in function.versions)
            self._kept_warm = sum(version.policy.keep_warm.enabled for version in versions)
        return self._kept_warm
