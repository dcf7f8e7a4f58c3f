"""What a round of the deployments did, and how people are told: one line for each thing that happened."""

import logging
import time
from dataclasses import dataclass, field

from libs.messages.catalog import FunctionEntry, Problem
from services.registry.catalog import can_run
from services.registry.metrics import Metrics

log = logging.getLogger(__name__)

_TOLD_ONE_BY_ONE = 25
"""Changes in one round that get a line each; more get one line together."""


@dataclass(slots=True)
class Round:
    """What a round has done so far."""

    began: float
    deployed: list[FunctionEntry] = field(default_factory=list[FunctionEntry])
    removed: list[FunctionEntry] = field(default_factory=list[FunctionEntry])
    faults: list[Problem] = field(default_factory=list[Problem])
    """Functions that cannot be deployed as they are; what was stored of them stays."""
    postponed: bool = False
    """Whether a file changed under our hands: the folder has to be loaded again."""


class Herald:
    """Tells rounds and problems to the log and the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._told: set[Problem] = set()

    def round(self, now: Round) -> None:
        """Say what a round has deployed and removed, now that it is projected."""
        seconds = time.perf_counter() - now.began
        if not now.deployed and not now.removed:
            return
        self._metrics.deploy_seconds.observe(seconds)
        milliseconds = round(seconds * 1000)
        if len(now.deployed) > _TOLD_ONE_BY_ONE:
            log.info(
                "deployed %d functions in %d ms",
                len(now.deployed),
                milliseconds,
                extra={"action": "versions_deployed", "functions": len(now.deployed), "ms": milliseconds},
            )
        else:
            for entry in now.deployed:
                if not all(can_run(version) for version in entry.versions):
                    if any(version.resolution.state == "pending" for version in entry.versions):  # else a problem tells
                        text = "%s (%s) waits for its dependencies"
                        log.info(text, entry.name, entry.runtime, extra=_ids(entry) | {"action": "version_waits"})
                    continue
                log.info(
                    "deployed %s (%s) in %d ms",
                    entry.name,
                    entry.runtime,
                    milliseconds,
                    extra=_ids(entry) | {"action": "version_deployed", "revision": entry.revision, "ms": milliseconds},
                )
        for entry in now.removed:
            log.info("removed %s (%s)", entry.name, entry.runtime, extra=_ids(entry) | {"action": "function_removed"})

    def problems(self, problems: tuple[Problem, ...]) -> None:
        """Say each problem once, and again only after it was gone."""
        for problem in problems:
            if problem not in self._told:
                log.warning("%s: %s", problem.path, problem.message, extra={"action": "source_problem", "path": problem.path})
        self._told = set(problems)


def _ids(entry: FunctionEntry) -> dict[str, object]:
    return {"namespace": entry.namespace, "function": entry.name, "runtime": entry.runtime}
