"""The only module that knows OpenTelemetry's SDK: the way of spans to a collector, in batches, from a thread of its own.

It is imported when a collector is configured and not before: the SDK costs every process start-up time and memory. Spans come
here as they will be sent (`otlp`); queue, batches, compression and retries are the SDK's.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

from libs.telemetry import otlp

log = logging.getLogger(__name__)

_EXPORT_TIMEOUT_SECONDS = 5
_BATCH_DELAY_MS = 500
_BATCH_SPANS = 2048
_QUEUED_SPANS = 16 * _BATCH_SPANS
_CLOSE_SECONDS = 2.0


class Sender(Protocol):
    """Sends an `ExportTraceServiceRequest`."""

    def send(self, request: bytes) -> bool:
        """Return whether the collector took it."""
        ...

    def shutdown(self) -> None:
        """Take no more; a try under way is given up."""
        ...


class OtlpSender(OTLPSpanExporter):
    """The SDK's OTLP/HTTP exporter, which is asked to send what is written already."""

    def send(self, request: bytes) -> bool:
        """Return whether the collector took it, after the SDK's retries."""
        return self._client.export(request).success


class _Written:
    """A span as the SDK's processor wants to see it: it asks whether it is sampled, and nothing else."""

    __slots__ = ("data",)
    context = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    def __init__(self, data: bytes) -> None:
        self.data = data


class Exporter(SpanExporter):
    """Sends batches. Says once that the collector is gone, and once that it is back, where the SDK repeats itself each time."""

    def __init__(self, sender: Sender, *, endpoint: str, resource: Mapping[str, otlp.Value]) -> None:
        self._sender = sender
        self._endpoint = endpoint
        self._resource = resource
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; one that cannot be sent is lost."""
        written = (span.data for span in cast("Sequence[_Written]", spans))
        taken = self._sender.send(otlp.request(self._resource, written))
        if not taken and not self._failing:
            log.warning("no collector at %s: spans are lost", self._endpoint, extra={"action": "collector_lost"})
        elif self._failing and taken:
            log.info("the collector at %s takes spans again", self._endpoint, extra={"action": "collector_found"})
        self._failing = not taken
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Take no more."""
        self._sender.shutdown()


class Spans:
    """Takes spans that have ended."""

    def __init__(self, exporter: Exporter) -> None:
        self._processor = BatchSpanProcessor(
            exporter,
            schedule_delay_millis=_BATCH_DELAY_MS,
            max_export_batch_size=_BATCH_SPANS,
            max_queue_size=_QUEUED_SPANS,
        )

    def on_end(self, span: bytes) -> None:
        """Take a span as `otlp.span` writes it; when the queue is full, the oldest is lost."""
        self._processor.on_end(cast("ReadableSpan", _Written(span)))

    def flush(self) -> None:
        """Send what is waiting."""
        self._processor.force_flush()

    def close(self) -> None:
        """Send what is waiting, for at most two seconds; the SDK's own end would wait for a dead collector much longer."""
        closing = threading.Thread(target=self._processor.shutdown, name="close spans", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


def connect(endpoint: str, resource: Mapping[str, str]) -> Spans:
    """Return the way to the OTLP/HTTP collector at the base URL `endpoint`; `resource` says who tells the spans."""
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)  # Exporter says it, once
    sender = OtlpSender(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_TIMEOUT_SECONDS)
    known = {
        key: value for key, value in Resource.create(dict(resource)).attributes.items() if isinstance(value, str | int | float)
    }
    return Spans(Exporter(sender, endpoint=endpoint, resource=known))
