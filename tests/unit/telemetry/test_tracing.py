"""Trace contexts, and spans on their way to a collector."""

import logging
import threading

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace.export import SpanExportResult

from libs.telemetry import spans, tracing

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


class _Collector:
    """Keeps what it is sent; `takes` says what it answers."""

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.requests: list[ExportTraceServiceRequest] = []

    def send(self, request: bytes) -> bool:
        self.requests.append(ExportTraceServiceRequest.FromString(request))
        return self.takes

    def shutdown(self) -> None:
        """There is nothing to end."""


def exporter(collector: _Collector) -> spans.Exporter:
    return spans.Exporter(collector, endpoint="http://127.0.0.1:9", resource={"service.name": "fnbus-gateway"})


def test_parse_reads_what_header_wrote() -> None:
    context = tracing.parse(f"00-{TRACE}-{SPAN}-01")
    assert context is not None
    assert context == tracing.TraceContext(TRACE, SPAN, sampled=True)
    assert context.header() == f"00-{TRACE}-{SPAN}-01"


def test_parse_reads_the_sampled_bit_among_the_flags() -> None:
    unsampled = tracing.parse(f"00-{TRACE}-{SPAN}-02")
    assert unsampled is not None
    assert not unsampled.sampled
    assert unsampled.header().endswith("-00")


def test_parse_reads_a_later_version_as_far_as_it_is_known() -> None:
    assert tracing.parse(f"cc-{TRACE}-{SPAN}-01-what-comes") == tracing.TraceContext(TRACE, SPAN)
    assert tracing.parse(f"cc-{TRACE}-{SPAN}-01") == tracing.TraceContext(TRACE, SPAN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-0100",
        f"cc-{TRACE}-{SPAN}-01more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_parse_refuses_what_is_no_traceparent(text: str) -> None:
    assert tracing.parse(text) is None


def test_start_makes_a_new_trace_that_parses() -> None:
    first, second = tracing.start(), tracing.start(sampled=False)
    assert tracing.parse(first.header()) == first
    assert tracing.parse(second.header()) == second
    assert first.trace_id != second.trace_id


def test_child_stays_in_the_trace_with_an_id_of_its_own() -> None:
    parent = tracing.start(sampled=False)
    child = parent.child()
    assert (child.trace_id, child.sampled) == (parent.trace_id, parent.sampled)
    assert child.span_id != parent.span_id
    assert tracing.parse(child.header()) == child


def test_handler_is_the_same_wherever_it_is_derived() -> None:
    parent = tracing.start()
    assert parent.handler() == tracing.TraceContext(*parent).handler()
    assert parent.handler().span_id != parent.span_id
    assert tracing.parse(parent.handler().header()) == parent.handler()


def test_handler_is_never_the_forbidden_zero() -> None:
    context = tracing.TraceContext(TRACE, f"{0x5DEECE66D1CE4E5B:016x}")
    assert tracing.parse(context.handler().header()) is not None


def test_tracing_is_off_when_there_is_no_collector() -> None:
    quiet = tracing.connect(service="gateway", endpoint="", replica="a")
    assert not quiet.enabled
    quiet.tell(name="x", context=tracing.start(), parent_id="", start_ns=1, end_ns=2)
    quiet.close()


def test_tell_exports_a_span_with_parent_link_and_error() -> None:
    collector = _Collector()
    told = tracing.Tracing(spans.Spans(exporter(collector)))
    root, cause = tracing.start(), tracing.start()
    context = root.child()
    told.tell(
        name="handler",
        context=context,
        parent_id=root.span_id,
        start_ns=1_000,
        end_ns=2_000,
        kind=tracing.SpanKind.CONSUMER,
        attributes={"faas.name": "hello", "faas.coldstart": True},
        error="boom",
        links=[cause],
    )
    told.tell(name="dropped", context=tracing.start(sampled=False), parent_id="", start_ns=1, end_ns=2)
    told.close()
    (by,) = collector.requests[0].resource_spans
    (span,) = by.scope_spans[0].spans
    assert (span.name, span.kind) == ("handler", Span.SPAN_KIND_CONSUMER)
    assert span.trace_id.hex() == root.trace_id
    assert (span.parent_span_id.hex(), span.span_id.hex()) == (root.span_id, context.span_id)
    assert (span.links[0].trace_id.hex(), span.links[0].span_id.hex()) == (cause.trace_id, cause.span_id)
    assert (span.status.code, span.status.message) == (Status.STATUS_CODE_ERROR, "boom")
    assert {each.key for each in span.attributes} == {"faas.name", "faas.coldstart"}
    assert by.resource.attributes[0].value.string_value == "fnbus-gateway"


def test_dead_collector_costs_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    collector = _Collector(takes=False)
    sending = exporter(collector)
    with caplog.at_level(logging.INFO, "libs.telemetry.spans"):
        for _ in range(3):
            assert sending.export([]) is SpanExportResult.FAILURE
        assert [record.__dict__["action"] for record in caplog.records] == ["collector_lost"]
        collector.takes = True
        assert sending.export([]) is SpanExportResult.SUCCESS
        sending.export([])
    assert [record.__dict__["action"] for record in caplog.records] == ["collector_lost", "collector_found"]


class _Hanging(_Collector):
    """Does not answer until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()
        self.answered = threading.Event()

    def send(self, request: bytes) -> bool:
        self.may.wait()
        self.answered.set()
        return super().send(request)


def test_close_does_not_wait_for_a_collector_that_hangs() -> None:
    collector = _Hanging()
    told = tracing.Tracing(spans.Spans(exporter(collector)))
    told.tell(name="x", context=tracing.start(), parent_id="", start_ns=1, end_ns=2)
    told.close()
    assert not collector.answered.is_set()
    collector.may.set()
    collector.answered.wait()
