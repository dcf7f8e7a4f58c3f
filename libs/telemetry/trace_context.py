"""Places in a trace, and what they are called on the wire (W3C Trace Context). Pure."""

import random
import re
from enum import IntEnum
from typing import NamedTuple

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
