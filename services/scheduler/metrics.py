"""The scheduler's figures, as Prometheus reads them."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from libs.bus import port
from services.scheduler.backlog import Backlog
from services.scheduler.dead_letters import DeadLetterKeeper
from services.scheduler.dispatch import Dispatch
from services.scheduler.ticks import Ticks


class SchedulerCollector(Collector):
    """Reads plain counters when it is asked, so that counting costs nothing."""

    def __init__(self, *, bus: port.Bus, dispatch: Dispatch, ticks: Ticks, letters: DeadLetterKeeper, backlog: Backlog) -> None:
        self._bus = bus
        self._dispatch = dispatch
        self._ticks = ticks
        self._letters = letters
        self._backlog = backlog

    def collect(self) -> Iterator[Metric]:
        """Yield all figures."""
        yield GaugeMetricFamily("fnbus_bus_connected", "1 while the bus can be reached", value=int(self._bus.connected))
        yield CounterMetricFamily("fnbus_scheduler_jobs_accepted", "Jobs stored and queued", value=self._dispatch.accepted)
        ended = CounterMetricFamily("fnbus_scheduler_jobs_ended", "Jobs that ended, by state", labels=["state"])
        for state, count in self._dispatch.ended.items():
            ended.add_metric([state], count)
        yield ended
        yield GaugeMetricFamily("fnbus_scheduler_queued_jobs", "Jobs that wait", value=self._backlog.queued)
        yield GaugeMetricFamily(
            "fnbus_scheduler_oldest_queued_seconds",
            "How long the job has waited that has waited longest and could run",
            value=self._backlog.oldest_seconds,
        )
        yield CounterMetricFamily("fnbus_scheduler_fires", "Nominal times this replica fired", value=self._ticks.fired)
        yield CounterMetricFamily("fnbus_scheduler_races", "Nominal times another replica fired first", value=self._ticks.lost)
        yield CounterMetricFamily("fnbus_scheduler_dead_letters", "Messages that were given up", value=self._letters.kept)


def registry(collector: SchedulerCollector) -> CollectorRegistry:
    """Return a registry of the scheduler's figures alone."""
    made = CollectorRegistry()
    made.register(collector)
    return made
