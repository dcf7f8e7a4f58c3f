"""Spans as bytes mean what the SDK's own mean."""

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from libs.telemetry import otlp, trace_context
from libs.telemetry.trace_context import TraceContext

TEXT = st.text(max_size=300).filter(lambda text: not any("\ud800" <= each <= "\udfff" for each in text))
VALUES = st.one_of(TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
CONTEXTS = st.builds(
    TraceContext,
    st.integers(1, 2**128 - 1).map(lambda number: f"{number:032x}"),
    st.integers(1, 2**64 - 1).map(lambda number: f"{number:016x}"),
)
NANOSECONDS = st.integers(0, 2**63)


def place(context: TraceContext, span_id: str, *, remote: bool) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(context.trace_id, 16), int(span_id, 16), is_remote=remote, trace_flags=flags)


@settings(deadline=None)
@given(
    name=TEXT.filter(bool),
    context=CONTEXTS,
    parent=st.one_of(st.just(""), CONTEXTS.map(lambda context: context.span_id)),
    times=st.tuples(NANOSECONDS, NANOSECONDS),
    kind=st.sampled_from(trace_context.SpanKind),
    attributes=st.dictionaries(TEXT.filter(bool), VALUES, max_size=4),
    error=TEXT,
    links=st.lists(CONTEXTS, max_size=2),
)
def test_span_is_read_as_the_sdks_own(
    name: str,
    context: TraceContext,
    parent: str,
    times: tuple[int, int],
    kind: trace_context.SpanKind,
    attributes: dict[str, otlp.Value],
    error: str,
    links: list[TraceContext],
) -> None:
    written = otlp.span(
        name=name,
        context=context,
        parent_id=parent,
        start_ns=times[0],
        end_ns=times[1],
        kind=kind,
        attributes=attributes,
        error=error,
        links=links,
    )
    resource = {"service.name": "fnbus-gateway"}
    ours = ExportTraceServiceRequest.FromString(otlp.request(resource, [written]))
    theirs = encode_spans(
        [
            ReadableSpan(
                name=name,
                context=place(context, context.span_id, remote=False),
                parent=place(context, parent, remote=True) if parent else None,
                resource=Resource(resource),
                attributes=attributes,
                links=[Link(place(link, link.span_id, remote=True)) for link in links],
                kind=SpanKind(int(kind)),
                status=Status(StatusCode.ERROR, error) if error else Status(StatusCode.UNSET),
                start_time=times[0],
                end_time=times[1],
            )
        ]
    )
    (our_span,), (their_span,) = ours.resource_spans[0].scope_spans[0].spans, theirs.resource_spans[0].scope_spans[0].spans
    for link in their_span.links:
        link.ClearField("flags")
    if not error:
        their_span.ClearField("status")  # it is there, and empty
    assert our_span == their_span
    assert ours.resource_spans[0].resource == theirs.resource_spans[0].resource


def test_value_of_another_type_is_not_taken_for_an_equal_one() -> None:
    context = trace_context.start()
    for value, field in ((1, "int_value"), (True, "bool_value"), (1.0, "double_value")):
        written = otlp.span(
            name="x",
            context=context,
            parent_id="",
            start_ns=1,
            end_ns=2,
            kind=trace_context.SpanKind.INTERNAL,
            attributes={"same": value},
            error="",
        )
        request = ExportTraceServiceRequest.FromString(otlp.request({}, [written]))
        (attribute,) = request.resource_spans[0].scope_spans[0].spans[0].attributes
        assert attribute.value.WhichOneof("value") == field
