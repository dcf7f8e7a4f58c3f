"""The gateway's figures: plain counters on the call path, made into Prometheus's form only when somebody asks."""

import bisect
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from services.gateway.admission import Gate

_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram, in seconds."""
_CLASSES = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")


class Meter:
    """Counts answers and how long they took."""

    __slots__ = ("broken", "buckets", "seconds", "streams", "unrouted")

    def __init__(self) -> None:
        self.buckets = [0] * (len(_BOUNDS) + 1)
        self.seconds = 0.0
        self.unrouted = [0] * len(_CLASSES)
        self.streams = 0
        """Streamed answers that are over."""
        self.broken = 0
        """Of them, those that broke off."""

    def count(self, gate: Gate | None, status: int, seconds: float) -> None:
        """Count one answer.

        Args:
            gate: of the function that was called; None when no route was found.
            status: HTTP status of the answer.
            seconds: from the request's head to the end of the answer; of a streamed one, to its beginning.
        """
        (gate.statuses if gate is not None else self.unrouted)[status // 100] += 1
        self.buckets[bisect.bisect_left(_BOUNDS, seconds)] += 1
        self.seconds += seconds


class GatewayCollector(Collector):
    """Shows the counters to a Prometheus registry."""

    def __init__(
        self,
        *,
        meter: Meter,
        gates: Callable[[], Iterable[Gate]],
        in_flight: Callable[[], int],
        late: Callable[[], int],
        bus_connected: Callable[[], bool],
        functions: Callable[[], int],
    ) -> None:
        self._meter = meter
        self._gates = gates
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
            labels=("runtime", "function", "version"),
        )
        queued = GaugeMetricFamily(
            "fnbus_gateway_queued", "Calls that wait for a slot of their function.", labels=("runtime", "function", "version")
        )
        for gate in self._gates():
            names = (gate.runtime, gate.function, gate.label)
            for kind, count in zip(_CLASSES, gate.statuses, strict=True):
                if count:
                    called.add_metric((*names, kind), count)
            if gate.shed or gate.timed_out:
                shed.add_metric(names, gate.shed + gate.timed_out)
            if gate.waiting:
                queued.add_metric(names, gate.waiting)
        for kind, count in zip(_CLASSES, self._meter.unrouted, strict=True):
            if count:
                called.add_metric(("", "", "", kind), count)
        yield called
        yield shed
        yield queued
        yield CounterMetricFamily("fnbus_gateway_streams", "Streamed answers that are over.", self._meter.streams)
        yield CounterMetricFamily("fnbus_gateway_streams_broken", "Of them, those that broke off.", self._meter.broken)
        yield self._latency()
        yield GaugeMetricFamily("fnbus_gateway_in_flight", "Calls that wait for a reply.", self._in_flight())
        yield CounterMetricFamily("fnbus_gateway_late_replies", "Replies for which nobody waited any more.", self._late())
        yield GaugeMetricFamily("fnbus_gateway_functions", "Functions in the catalogue.", self._functions())
        yield GaugeMetricFamily("fnbus_bus_connected", "1 while the bus can be reached.", float(self._bus_connected()))

    def _latency(self) -> Metric:
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self._meter.buckets, strict=True):
            total += count
            buckets.append((bound, total))
        latency = HistogramMetricFamily("fnbus_gateway_call_seconds", "Time from a request's head to the end of its answer.")
        latency.add_metric((), buckets, self._meter.seconds)
        return latency
