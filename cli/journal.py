"""What `fnbus run` writes: the services' log records as they are, one JSON object a line, and its own in the same form."""

import contextlib
import json
from datetime import UTC, datetime
from typing import TextIO

from cli.banner import Welcome


class Journal:
    """A stream of log records, for programs that collect them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, text: str) -> None:
        """Write a remark of the supervisor's."""
        self._record("warning", text, action="supervisor")

    def tell(self, text: str) -> None:
        """Write what anybody would want to know."""
        self._record("info", text, action="platform")

    def take(self, service: str, line: str) -> None:
        """Write a line of a service's: its record, or what something else has printed."""
        if line.startswith("{"):
            self._write(line)
        elif line.strip():
            self._record("info", line, service=service)

    def greet(self, facts: Welcome, *, seconds: float) -> None:
        """Write that calls are taken, and what is not as it should be."""
        routes = len(facts.catalog.get("mapped_routes") or {})
        self._record(
            "info",
            f"fnbus is up at {facts.address}",
            action="platform_ready",
            address=facts.address,
            routes=routes,
            isolation=facts.isolation,
            runtimes=dict(facts.present),
            seconds=round(seconds, 1),
        )
        if facts.weakness:
            self._record("warning", facts.weakness, action="isolation_weak")

    def _record(self, level: str, message: str, **fields: object) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = {"ts": stamp, "level": level, "service": "fnbus", "message": message} | fields
        self._write(json.dumps(record, separators=(",", ":")))

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads any more: no reason to stop serving
            self._stream.write(f"{text}\n")
            self._stream.flush()
