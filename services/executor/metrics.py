"""The executor's figures, as Prometheus reads them."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from libs.bus.port import Bus
from services.executor.calls.consumer import CallConsumer
from services.executor.calls.dispatch import Dispatch
from services.executor.calls.live import LiveLogs
from services.executor.calls.records import Records
from services.executor.catalogue import VersionKey
from services.executor.jobs.jobs import JobConsumer
from services.executor.pool.slots import Load

MOST_FUNCTIONS = 200
"""Functions that have figures of their own; those of all others are one, `_other`."""
OTHER = "_other"
_STATES = ("busy", "idle", "starting", "waiting")


class ExecutorCollector(Collector):
    """Reads plain counters when it is asked, so that counting costs nothing."""

    def __init__(
        self, *, bus: Bus, dispatch: Dispatch, calls: CallConsumer, jobs: JobConsumer, records: Records, logs: LiveLogs
    ) -> None:
        self._bus = bus
        self._dispatch = dispatch
        self._calls = calls
        self._jobs = jobs
        self._records = records
        self._logs = logs

    def collect(self) -> Iterator[Metric]:
        """Yield all figures."""
        pool, counts = self._dispatch.pool, self._dispatch.counts
        yield GaugeMetricFamily("fnbus_bus_connected", "1 while the bus can be reached", value=int(self._bus.connected))
        workers = GaugeMetricFamily("fnbus_executor_workers", "Worker processes, by state", labels=["state"])
        starting = pool.workers - pool.busy - pool.idle - pool.ending
        for state, count in (("busy", pool.busy), ("idle", pool.idle), ("starting", starting), ("ending", pool.ending)):
            workers.add_metric([state], count)
        yield workers
        spares = self._dispatch.spares
        yield GaugeMetricFamily("fnbus_executor_spares", "Guests without code that are ready", value=spares)
        yield GaugeMetricFamily("fnbus_executor_reserved_bytes", "Memory reckoned with for workers", value=pool.reserved)
        yield GaugeMetricFamily("fnbus_executor_calls_waiting", "Calls that wait for a worker", value=pool.waiting)
        runs = CounterMetricFamily("fnbus_executor_runs", "Calls and attempts that ended, by reply", labels=["kind"])
        for kind in ("answer", "stream", "busy", "failure", "whole"):
            runs.add_metric([kind], counts[kind])
        yield runs
        seconds = self._dispatch.run_us / 1e6
        yield CounterMetricFamily("fnbus_executor_cold_runs", "Runs that waited for a start", value=counts["cold"])
        yield CounterMetricFamily("fnbus_executor_run_seconds", "Time that handlers ran, in all", value=seconds)
        yield CounterMetricFamily("fnbus_executor_malformed_calls", "Calls not understood", value=self._calls.malformed)
        yield GaugeMetricFamily("fnbus_executor_jobs_held", "Attempts of jobs that are in hand", value=self._jobs.held)
        settled = CounterMetricFamily("fnbus_executor_jobs_settled", "Deliveries of jobs settled, by how", labels=["how"])
        for how, count in self._jobs.settled.items():
            settled.add_metric([how], count)
        yield settled
        yield from of_functions(pool.loads())
        yield CounterMetricFamily("fnbus_executor_records_dropped", "Records given up", value=self._records.dropped)
        yield CounterMetricFamily("fnbus_executor_log_lines_dropped", "Live log lines given up", value=self._logs.dropped)


def of_functions(loads: Iterable[Load]) -> Iterator[Metric]:
    """Yield the workers and waiting calls of each function: of those that have the most, and of all others as one."""
    found: dict[tuple[str, str], list[int]] = {}
    for load in loads:
        key = load.key
        names = (key.runtime, key.function) if isinstance(key, VersionKey) else ("", OTHER)
        counted = found.setdefault(names, [0] * len(_STATES))
        for at, count in enumerate((load.busy, load.idle, load.starting, load.waiting)):
            counted[at] += count
    ranked = sorted(found.items(), key=lambda each: -sum(each[1]))
    shown = dict(ranked[:MOST_FUNCTIONS])
    for _, counts in ranked[MOST_FUNCTIONS:]:
        before = shown.get(("", OTHER), [0] * len(_STATES))
        shown["", OTHER] = [mine + theirs for mine, theirs in zip(before, counts, strict=True)]
    workers = GaugeMetricFamily(
        "fnbus_executor_function_workers", "Processes of a function, by state", labels=["runtime", "function", "state"]
    )
    waiting = GaugeMetricFamily(
        "fnbus_executor_function_waiting", "Calls of a function that wait for a process", labels=["runtime", "function"]
    )
    for names, counts in shown.items():
        for state, count in zip(_STATES[:-1], counts, strict=False):
            if count:
                workers.add_metric([*names, state], count)
        if counts[-1]:
            waiting.add_metric([*names], counts[-1])
    yield workers
    yield waiting


def registry(collector: ExecutorCollector) -> CollectorRegistry:
    """Return a registry of the executor's figures alone."""
    made = CollectorRegistry()
    made.register(collector)
    return made
