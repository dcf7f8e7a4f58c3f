"""Traces, hand-made: a span is told once, when it has ended, and exported in the background.

Auto-instrumentation would cost two thirds of the throughput, and starting a span with the SDK's tracer most of the rest, so
spans are built whole and handed to the SDK's batch processor. With no collector configured nothing is built at all, and the
SDK is not even imported; trace ids are made all the same, for logs, records and the `traceparent` header.
"""

import random
import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NEVER_ZERO = 1 << 64 | 1
_ids = random.SystemRandom()
_random_bits = random.Random(_ids.getrandbits(128)).getrandbits  # noqa: S311  ids need to be unlike, not secret


class SpanKind(IntEnum):
    """The role of a span, with OpenTelemetry's own numbers."""

    INTERNAL = 0
    SERVER = 1
    CLIENT = 2
    PRODUCER = 3
    CONSUMER = 4


class TraceContext(NamedTuple):
    """A place in a trace (W3C Trace Context, version 00)."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    sampled: bool = True

    def header(self) -> str:
        """Return the value of `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def child(self) -> "TraceContext":
        """Return a new span's context in the same trace."""
        return TraceContext(self.trace_id, (_random_bits(64) | 1).to_bytes(8).hex(), self.sampled)

    def handler(self) -> "TraceContext":
        """Return the context of the handler's span below this one.

        It is derived, not random: the gateway hands it to user code in the head before the executor, which never reads the
        head, makes the span.
        """
        return TraceContext(self.trace_id, ((int(self.span_id, 16) ^ 0x5DEECE66D1CE4E5B) or 1).to_bytes(8).hex(), self.sampled)


def parse(traceparent: str) -> TraceContext | None:
    """Return the context that a `traceparent` names, or None when it is not one.

    Version 00 has nothing after the flags; a later version may, and is read as far as it is known here.
    """
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or (found[1] == "00" and found[5] is not None):
        return None
    return TraceContext(found[2], found[3], bool(int(found[4], 16) & 1))


def start(*, sampled: bool = True) -> TraceContext:
    """Return the context of the first span of a new trace."""
    both = (_random_bits(192) | _NEVER_ZERO).to_bytes(24).hex()
    return TraceContext(both[:32], both[32:], sampled)


class Tracing:
    """Tells spans to a collector; does nothing when there is none."""

    def __init__(self, processor: "BatchSpanProcessor | None" = None, resource: "Resource | None" = None) -> None:
        self._processor = processor
        self._resource = resource
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
        from libs.telemetry import spans

        span = spans.build(
            name=name,
            context=context,
            parent_id=parent_id,
            start_ns=start_ns,
            end_ns=end_ns,
            kind=int(kind),
            attributes=attributes or {},
            error=error,
            links=links,
            by=self._resource,
        )
        self._processor.on_end(span)

    def close(self) -> None:
        """Export what is waiting, for at most two seconds."""
        if self._processor is not None:
            from libs.telemetry import spans

            spans.close(self._processor)


def connect(*, service: str, endpoint: str, replica: str) -> Tracing:
    """Return tracing to the OTLP/HTTP collector at `endpoint`; an empty one switches it off."""
    if not endpoint:
        return Tracing()
    from libs.telemetry import spans

    return Tracing(spans.processor(endpoint), spans.resource(service=service, replica=replica))
