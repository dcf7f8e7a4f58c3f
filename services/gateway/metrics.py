"""The gateway's figures: plain counters on the call path, made into Prometheus's form only when somebody asks.

What is told of each function is told of a bounded number of them: those with the most calls. All others are one, `_other`.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from services.gateway.admission import Gate
from services.gateway.books import BOUNDS, CLASSES, Books

MOST_FUNCTIONS = 200
"""Versions of functions that have figures of their own."""
OTHER = "_other"

_LABELS = ("runtime", "function", "version")


class Meter:
    """Counts what no gate does."""

    __slots__ = ("broken", "streams", "unrouted")

    def __init__(self) -> None:
        self.unrouted = Books()
        """Answers to requests for which no function was found."""
        self.streams = 0
        """Streamed answers that are over."""
        self.broken = 0
        """Of them, those that broke off."""


class GatewayCollector(Collector):
    """Shows the counters to a Prometheus registry."""

    def __init__(
        self,
        *,
        meter: Meter,
        gates: Callable[[], Iterable[Gate]],
        gone: Books,
        in_flight: Callable[[], int],
        late: Callable[[], int],
        bus_connected: Callable[[], bool],
        functions: Callable[[], int],
        most: int = MOST_FUNCTIONS,
    ) -> None:
        self._meter = meter
        self._gates = gates
        self._gone = gone
        self._most = most
        self._in_flight = in_flight
        self._late = late
        self._bus_connected = bus_connected
        self._functions = functions

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics with their present values."""
        called = CounterMetricFamily(
            "fnbus_gateway_calls",
            "Answered calls by function and class of status.",
            labels=("runtime", "function", "version", "status"),
        )
        shed = CounterMetricFamily(
            "fnbus_gateway_shed",
            "Calls turned away because the function was at its limit, or because they waited for too long.",
            labels=_LABELS,
        )
        queued = GaugeMetricFamily("fnbus_gateway_queued", "Calls that wait for a slot of their function.", labels=_LABELS)
        active = GaugeMetricFamily("fnbus_gateway_active", "Calls of a function that run.", labels=_LABELS)
        latency = HistogramMetricFamily(
            "fnbus_gateway_function_seconds", "Time from a request's head to the end of its answer.", labels=_LABELS
        )
        gates = sorted(self._gates(), key=lambda gate: -sum(gate.books.statuses))
        own, rest = gates[: self._most], gates[self._most :]
        shares = [(gate.runtime, gate.function, gate.label, [gate], gate.books) for gate in own]
        whole = Books()
        whole.add(self._gone)
        for gate in rest:
            whole.add(gate.books)
        if any(whole.statuses):
            shares.append(("", OTHER, "", rest, whole))
        for runtime, function, version, part, books in shares:
            names = (runtime, function, version)
            _add_statuses(called, names, books)
            latency.add_metric(names, _buckets(books), books.seconds)
            _add_if_any(shed, names, sum(gate.shed + gate.timed_out for gate in part))
            _add_if_any(queued, names, sum(gate.waiting for gate in part))
            _add_if_any(active, names, sum(gate.in_flight for gate in part))
        _add_statuses(called, ("", "", ""), self._meter.unrouted)
        yield called
        yield shed
        yield queued
        yield active
        yield latency
        yield CounterMetricFamily("fnbus_gateway_streams", "Streamed answers that are over.", self._meter.streams)
        yield CounterMetricFamily("fnbus_gateway_streams_broken", "Of them, those that broke off.", self._meter.broken)
        yield self._latency([self._meter.unrouted, *(books for *_, books in shares)])
        yield GaugeMetricFamily("fnbus_gateway_in_flight", "Calls that wait for a reply.", self._in_flight())
        yield CounterMetricFamily("fnbus_gateway_late_replies", "Replies for which nobody waited any more.", self._late())
        yield GaugeMetricFamily("fnbus_gateway_functions", "Functions in the catalogue.", self._functions())
        yield GaugeMetricFamily("fnbus_bus_connected", "1 while the bus can be reached.", float(self._bus_connected()))

    def _latency(self, all_books: Iterable[Books]) -> Metric:
        whole = Books()
        for books in all_books:
            whole.add(books)
        latency = HistogramMetricFamily("fnbus_gateway_call_seconds", "Time from a request's head to the end of its answer.")
        latency.add_metric((), _buckets(whole), whole.seconds)
        return latency


def _add_statuses(called: CounterMetricFamily, names: tuple[str, str, str], books: Books) -> None:
    for kind, count in zip(CLASSES, books.statuses, strict=True):
        if count:
            called.add_metric((*names, kind), count)


def _add_if_any(family: CounterMetricFamily | GaugeMetricFamily, names: tuple[str, str, str], count: int) -> None:
    if count:
        family.add_metric(names, count)


def _buckets(books: Books) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Return a histogram's buckets, each with the trace of a call that fell into it."""
    total = 0
    buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    for at, (bound, count) in enumerate(zip((*map(str, BOUNDS), "+Inf"), books.buckets, strict=True)):
        total += count
        example = books.examples.get(at)
        if example is None:
            buckets.append((bound, total))
        else:
            buckets.append((bound, total, Exemplar({"trace_id": example.trace_id}, example.seconds, example.at)))
    return buckets
