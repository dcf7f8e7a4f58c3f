"""The gateway's figures: each call once, a bounded number of functions, and traces to look at."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from libs.testing.fakes import function_entry
from services.gateway.admission import Gate, Gates
from services.gateway.books import Books, Example
from services.gateway.metrics import GatewayCollector, Meter


class Stand:
    """A collector with gates to count at."""

    def __init__(self, names: Sequence[str], *, most: int = 10) -> None:
        self.gates = Gates()
        self.meter = Meter()
        self.registry = CollectorRegistry()
        self.registry.register(
            GatewayCollector(
                meter=self.meter,
                gates=self.gates.called,
                gone=self.gates.gone,
                in_flight=lambda: 0,
                late=lambda: 0,
                bus_connected=lambda: True,
                functions=lambda: len(names),
                most=most,
            )
        )
        self.at = {name: self._gate(name) for name in names}

    def _gate(self, name: str) -> Gate:
        entry = function_entry(name)
        gate = self.gates.gate(name, entry, entry.versions[0])
        gate.enter()
        return gate

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def of(function: str) -> dict[str, str]:
    return {"runtime": "python", "function": function, "version": "default"}


OTHERS = {"runtime": "", "function": "_other", "version": ""}


def test_figures_count_each_call_of_a_function_by_status_and_time() -> None:
    stand = Stand(["f"])
    stand.at["f"].books.count(200, 0.003)
    stand.at["f"].books.count(503, 60.0)
    assert stand.value("fnbus_gateway_calls_total", **of("f"), status="2xx") == 1
    assert stand.value("fnbus_gateway_calls_total", **of("f"), status="5xx") == 1
    assert stand.value("fnbus_gateway_function_seconds_bucket", **of("f"), le="0.002") == 0
    assert stand.value("fnbus_gateway_function_seconds_bucket", **of("f"), le="0.005") == 1
    assert stand.value("fnbus_gateway_function_seconds_bucket", **of("f"), le="+Inf") == 2
    assert stand.value("fnbus_gateway_function_seconds_sum", **of("f")) == 60.003
    assert stand.value("fnbus_gateway_active", **of("f")) == 1


def test_functions_beyond_the_bound_are_one() -> None:
    stand = Stand(["a", "b", "c", "d"], most=2)
    for name, calls in (("a", 1), ("b", 5), ("c", 4), ("d", 2)):
        for _ in range(calls):
            stand.at[name].books.count(200, 0.01)
    assert stand.value("fnbus_gateway_calls_total", **of("b"), status="2xx") == 5
    assert stand.value("fnbus_gateway_calls_total", **of("c"), status="2xx") == 4
    assert stand.value("fnbus_gateway_calls_total", **of("a"), status="2xx") is None
    assert stand.value("fnbus_gateway_calls_total", **OTHERS, status="2xx") == 3
    assert stand.value("fnbus_gateway_function_seconds_count", **OTHERS) == 3
    assert stand.value("fnbus_gateway_active", **OTHERS) == 2


def test_calls_of_a_function_that_is_gone_stay_counted() -> None:
    stand = Stand(["f"])
    stand.at["f"].books.count(200, 0.01)
    stand.meter.unrouted.count(404, 0.01)
    stand.gates.keep("f", ())
    assert stand.value("fnbus_gateway_calls_total", **OTHERS, status="2xx") == 1
    assert stand.value("fnbus_gateway_call_seconds_count") == 2


def test_buckets_name_a_trace_to_look_at() -> None:
    stand = Stand(["f"])
    stand.at["f"].books.count(200, 0.003)
    stand.at["f"].books.keep(Example("0af7651916cd43dd8448eb211c80319c", 0.003, 1_700_000_000.0))
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    told = encode(stand.registry).decode()
    (line,) = (each for each in told.splitlines() if each.startswith("fnbus_gateway_function_seconds_bucket") and "#" in each)
    assert line.endswith('# {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.003 1700000000.0')


def test_books_add_up() -> None:
    one, other = Books(), Books()
    one.count(200, 0.5)
    other.count(201, 0.5)
    one.add(other)
    assert (sum(one.statuses), sum(one.buckets), one.seconds) == (2, 2, 1.0)
