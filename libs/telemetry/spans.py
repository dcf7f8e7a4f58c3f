"""The only module that knows OpenTelemetry's SDK: spans built whole, and their way to a collector.

It is imported when a collector is configured and not before: the SDK costs every process start-up time and memory.
"""

import logging
import threading
from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from libs.telemetry.trace_context import TraceContext

log = logging.getLogger(__name__)

_EXPORT_TIMEOUT_SECONDS = 5
_BATCH_DELAY_MS = 500
_CLOSE_SECONDS = 2.0
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_FINE = Status(StatusCode.UNSET)


def processor(endpoint: str) -> BatchSpanProcessor:
    """Return a processor that sends batches to the OTLP/HTTP collector at the base URL `endpoint`, in a thread of its own."""
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)  # CalmExporter says it, once
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_TIMEOUT_SECONDS)
    return BatchSpanProcessor(CalmExporter(exporter, endpoint), schedule_delay_millis=_BATCH_DELAY_MS)


def resource(*, service: str, replica: str) -> Resource:
    """Return who tells the spans."""
    return Resource.create({"service.name": f"fnbus-{service}", "service.instance.id": replica})


def close(spans: BatchSpanProcessor) -> None:
    """Export what is waiting, for at most two seconds; the SDK's own flush would wait for a dead collector much longer."""
    closing = threading.Thread(target=spans.shutdown, name="close spans", daemon=True)
    closing.start()
    closing.join(_CLOSE_SECONDS)


def build(
    *,
    name: str,
    context: TraceContext,
    parent_id: str,
    start_ns: int,
    end_ns: int,
    kind: int,
    attributes: Mapping[str, str | int | float | bool],
    error: str,
    links: Sequence[TraceContext],
    by: Resource | None,
) -> ReadableSpan:
    """Return a span that has ended, as the SDK has it."""
    return ReadableSpan(
        name=name,
        context=_place(context, context.span_id, remote=False),
        parent=_place(context, parent_id, remote=True) if parent_id else None,
        resource=by,
        attributes=dict(attributes),
        links=[Link(_place(cause, cause.span_id, remote=True)) for cause in links],
        kind=SpanKind(kind),
        status=Status(StatusCode.ERROR, error) if error else _FINE,
        start_time=start_ns,
        end_time=end_ns,
    )


def _place(context: TraceContext, span_id: str, *, remote: bool) -> SpanContext:
    return SpanContext(int(context.trace_id, 16), int(span_id, 16), is_remote=remote, trace_flags=_SAMPLED)


class CalmExporter(SpanExporter):
    """Says once that the collector is gone, and once that it is back, where the SDK repeats itself at every batch."""

    def __init__(self, inner: SpanExporter, endpoint: str) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; one that cannot be sent is lost."""
        result = self._inner.export(spans)
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            log.warning("no collector at %s: spans are lost", self._endpoint, extra={"action": "collector_lost"})
        elif self._failing and not failing:
            log.info("the collector at %s takes spans again", self._endpoint, extra={"action": "collector_found"})
        self._failing = failing
        return result

    def shutdown(self) -> None:
        """Take no more; an export under way gives up its retries."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept back here."""
        return self._inner.force_flush(timeout_millis)
