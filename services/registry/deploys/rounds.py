"""What a round of the deployments did, and how people are told: one line for each thing that happened."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.messages import bundles
from libs.messages.catalog import Bundle, FunctionEntry, Problem
from services.registry.functions.catalog import can_run
from services.registry.metrics import Metrics

log = logging.getLogger(__name__)

_TOLD_ONE_BY_ONE = 25
"""Changes in one round that get a line each; more get one line together."""


_PROGRESS_SECONDS = 1.0
_MANY = 100
"""Functions in one round of which progress is told."""
_KEPT_BYTES = 64 * 1024 * 1024


class Progress:
    """How far a round is that has much to do: the stages it goes through, and a line every second."""

    def __init__(self) -> None:
        self._stages: dict[str, list[int]] = {}
        self._told_at = time.monotonic()

    def expect(self, stage: str, count: int) -> None:
        """Note how many functions a stage has before it."""
        if count >= _MANY:
            self._stages[stage] = [0, count]

    def step(self, stage: str) -> None:
        """Note that a stage has done one more."""
        counts = self._stages.get(stage)
        if counts is None:
            return
        counts[0] += 1
        now = time.monotonic()
        if now - self._told_at >= _PROGRESS_SECONDS:
            self._told_at = now
            log.info("%s", self, extra={"action": "deploy_progress", "stage": stage, "done": counts[0], "of": counts[1]})

    def __str__(self) -> str:
        """Return the stage that is under way, in words; empty when there is none."""
        for stage, (done, count) in reversed(self._stages.items()):
            return f"{done} of {count} functions are {stage}"
        return ""


@dataclass(slots=True)
class Round:
    """What a round has done so far."""

    began: float
    deployed: list[FunctionEntry] = field(default_factory=list[FunctionEntry])
    removed: list[FunctionEntry] = field(default_factory=list[FunctionEntry])
    faults: list[Problem] = field(default_factory=list[Problem])
    """Functions that cannot be deployed as they are; what was stored of them stays."""
    refused: dict[str, str] = field(default_factory=dict[str, str])
    """Why functions cannot be stored, by id: among the faults, those that only another state of their files mends."""
    postponed: bool = False
    """Whether a file changed under our hands: the folder has to be loaded again."""
    code: dict[str, Bundle] = field(default_factory=dict[str, Bundle])
    """Code that was written just now, by digest, as far as there is room: it need not be read back to be projected."""
    progress: Progress = field(default_factory=Progress)
    _kept_bytes: int = 0

    def keep(self, code: Mapping[str, Bundle]) -> None:
        """Keep code that was written, if there is room for it."""
        size = bundles.weight(code.values())
        if self._kept_bytes + size <= _KEPT_BYTES:
            self._kept_bytes += size
            self.code.update(code)


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
