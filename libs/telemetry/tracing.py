"""Traces, hand-made: a span is told once, when it has ended, and exported in the background.

Auto-instrumentation would cost two thirds of the throughput, and the SDK's own spans most of the rest, so spans are written
whole (`otlp`) and handed to the SDK's batch processor. With no collector configured nothing is built at all, and the
SDK is not even imported; trace ids are made all the same, for logs, records and the `traceparent` header.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from libs.telemetry import otlp
from libs.telemetry.trace_context import SpanKind, TraceContext, parse, start

if TYPE_CHECKING:
    from libs.telemetry.spans import Spans

__all__ = ["SpanKind", "TraceContext", "Tracing", "connect", "parse", "start"]

_NOTHING: Mapping[str, str | int | float | bool] = {}


class Tracing:
    """Tells spans to a collector; does nothing when there is none."""

    def __init__(self, processor: "Spans | None" = None) -> None:
        self._processor = processor
        self.enabled = processor is not None

    def tell(
        self,
        *,
        name: str,
        context: TraceContext,
        parent_id: str,
        start_ns: int,
        end_ns: int,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, str | int | float | bool] | None = None,
        error: str = "",
        links: Sequence[TraceContext] = (),
    ) -> None:
        """Export a span that has ended.

        Args:
            name: what was done; low cardinality.
            context: the span's own ids.
            parent_id: span id of the parent, empty for a root.
            start_ns: epoch nanoseconds.
            end_ns: epoch nanoseconds.
            kind: the span's role.
            attributes: OpenTelemetry's semantic names where there is one.
            error: what failed; empty when nothing did.
            links: spans that caused this one from another trace.
        """
        if self._processor is None or not context.sampled:
            return
        span = otlp.span(
            name=name,
            context=context,
            parent_id=parent_id,
            start_ns=start_ns,
            end_ns=end_ns,
            kind=kind,
            attributes=attributes or _NOTHING,
            error=error,
            links=links,
        )
        self._processor.on_end(span)

    def close(self) -> None:
        """Export what is waiting, for at most two seconds."""
        if self._processor is not None:
            self._processor.close()


def connect(*, service: str, endpoint: str, replica: str) -> Tracing:
    """Return tracing to the OTLP/HTTP collector at `endpoint`; an empty one switches it off."""
    if not endpoint:
        return Tracing()
    from libs.telemetry import spans

    return Tracing(spans.connect(endpoint, {"service.name": f"fnbus-{service}", "service.instance.id": replica}))
