"""Logs: one JSON object a line for machines, readable text on a terminal.

A log call gives one sentence for people as its text, and a stable `action` with ids as `extra` fields for machines:
`log.info("deployed %s", name, extra={"action": "version_deployed", "function": name})`.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}
_QUIET = ("uvicorn", "nats", "apscheduler", "watchfiles", "opentelemetry", "pymongo", "httpx", "asyncio")


def configure(*, service: str, format: Literal["auto", "json", "text"] = "auto", level: str = "INFO") -> None:  # noqa: A002
    """Send the process's logs to stderr in the chosen form; other libraries' logs from WARNING on."""
    text = format == "text" or (format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter(service) if text else JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


class JsonFormatter(logging.Formatter):
    """A line of JSON with `ts`, `level`, `service`, `action`, `message` and the ids that were given."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(_fields(record))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # half a surrogate pair, or an integer beyond 64 bits: rare, and no reason to lose the line
            return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Time, level, service, the sentence, and the ids in short."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, and its exception below it."""
        moment = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items() if name != "action")
        line = f"{moment} {record.levelname[0]} {self._service:<9} {record.getMessage()}"
        if fields:
            line = f"{line}  ({fields})"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
