"""`GET /_fn/logs`: what functions printed, how requests ended, and what failed.

What ran is the registry's history; what was refused before it could run is known to this gateway alone, and told beside it.
"""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from libs.messages import logs
from libs.messages.logs import TailLine, TailLines, TailLog
from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, json_response, number
from services.gateway.journal import Note

_FILES = frozenset({logs.RUNTIME_LOG, logs.ACCESS_LOG, logs.ERROR_LOG})
_STREAMS = frozenset({"", logs.STDOUT, logs.STDERR})
_DEFAULT_LINES = 200
_MOST_LINES = 2000
_SERVER_ERROR = 500


def tail(plane: Plane) -> Handler:
    """Return the endpoint that gives the newest lines."""

    async def endpoint(request: Request) -> Response:
        asked = request.query_params
        ask = TailLog(
            file=asked.get("file") or logs.ERROR_LOG,
            function=asked.get("fn", ""),
            runtime=asked.get("runtime", ""),
            version=asked.get("version", ""),
            stream=asked.get("stream", ""),
            lines=number(request, "lines", default=_DEFAULT_LINES, most=_MOST_LINES),
        )
        if ask.file not in _FILES:
            raise Refusal(400, "invalid file")
        if ask.stream not in _STREAMS:
            raise Refusal(400, "invalid stream")
        found = await plane.ask_registry("tail", ask, TailLines)
        lines = [(line.ms, _told(ask.file, line)) for line in found.lines]
        ran = {line.execution for line in found.lines}
        lines += [(note.ms, _noted(note)) for note in plane.journal.notes() if note.id not in ran and _fits(note, ask)]
        lines.sort(key=lambda line: line[0])
        texts = [text for _, text in lines[-ask.lines :]]
        if asked.get("format") == "json":
            return json_response(
                {
                    "file": ask.file,
                    "lines": ask.lines,
                    "runtime": ask.runtime or None,
                    "fn": ask.function or None,
                    "version": ask.version or None,
                    "stream": ask.stream or None,
                    "data": texts,
                }
            )
        return Response("".join(f"{text}\n" for text in texts), media_type="text/plain; charset=utf-8")

    return endpoint


def _told(file: str, line: TailLine) -> str:
    name = f"[{line.runtime}] [fn:{line.function}@{line.version}"
    if file == logs.RUNTIME_LOG:
        return f"{name} {line.stream}] {line.text}"
    return f"{_time(line.ms)} {name}] {line.text} {line.execution}"


def _fits(note: Note, ask: TailLog) -> bool:
    if ask.file == logs.RUNTIME_LOG or (ask.file == logs.ERROR_LOG and note.status < _SERVER_ERROR):
        return False
    pairs = ((ask.function, note.function), (ask.runtime, note.runtime), (ask.version, note.version))
    return all(wanted in ("", found) for wanted, found in pairs)


def _noted(note: Note) -> str:
    name = f"[{note.runtime}] [fn:{note.function}@{note.version}]" if note.function else "[gateway]"
    return f"{_time(note.ms)} {name} {note.status} {note.method} {note.path} {note.error} {note.id}"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
