"""The newest lines of the executions that are kept: what was printed, how each ended, what failed.

Executions are looked through from the newest on, page by page, and no further than a bound: most print nothing, and a question
must not cost more than the history of a busy minute.
"""

from collections.abc import Iterator
from datetime import datetime

from libs.bus import port
from libs.clock import epoch_ms
from libs.messages import codec, logs
from libs.messages.executions import Execution
from libs.messages.logs import TailLine, TailLines, TailLog
from libs.storage.port import Document, Store, Where
from services.registry.history.intake import EXECUTIONS, execution_of

MOST_LINES = 2000
_PAGE = 500
_PAGES = 10
_FIRST_ERROR_STATUS = 500
_ENVELOPE_BYTES = 4096
_LINE_BYTES = 64
"""What a line takes beside its texts."""
_CHARACTER_BYTES = 4


class Tail:
    """Reads the ends of logs."""

    def __init__(self, *, bus: port.Bus, store: Store) -> None:
        self._bus = bus
        self._store = store

    async def tail(self, request: TailLog, _traceparent: str = "") -> TailLines:
        """Return the newest lines, the oldest of them first.

        Raises:
            errors.UnavailableError: the store cannot be reached.
        """
        await self._store.ensure(EXECUTIONS)
        wanted = min(max(request.lines, 1), MOST_LINES)
        found: list[TailLine] = []
        seen: set[str] = set()
        before: datetime | None = None
        for _ in range(_PAGES):
            page = await self._page(request, before)
            for execution in _executions(page, seen):
                if _fits(execution, request):
                    found += _lines(execution, request)
            if len(page) < _PAGE or len(found) >= wanted:
                break
            before = page[-1]["started_at"]
        found.sort(key=lambda line: line.ms)
        return TailLines(lines=self._fitting(found[-wanted:]))

    async def _page(self, request: TailLog, before: datetime | None) -> list[Document]:
        where = [Where("namespace", "==", request.namespace)] if request.function else []
        if request.function:
            where.append(Where("function", "==", request.function))
        if before is not None:
            where.append(Where("started_at", "<=", before))
        return await self._store.find(EXECUTIONS, where, sort="started_at", descending=True, limit=_PAGE)

    def _fitting(self, lines: list[TailLine]) -> tuple[TailLine, ...]:
        """Return the newest that fit into one message."""
        room = self._bus.max_payload - _ENVELOPE_BYTES
        first = len(lines)
        for line in reversed(lines):
            texts = (line.execution, line.runtime, line.function, line.version, line.stream, line.text)
            room -= _LINE_BYTES + _CHARACTER_BYTES * sum(map(len, texts))
            if room < 0:
                break
            first -= 1
        return tuple(lines[first:])


def _executions(page: list[Document], seen: set[str]) -> Iterator[Execution]:
    """Yield the executions of a page that were in none before."""
    for document in page:
        if document["_id"] in seen:
            continue
        seen.add(document["_id"])
        try:
            yield execution_of(document)
        except codec.MalformedMessageError:
            continue  # a newer registry's


def _fits(execution: Execution, request: TailLog) -> bool:
    return (
        execution.namespace == request.namespace
        and request.runtime in ("", execution.runtime)
        and request.version in ("", execution.version)
    )


def _lines(execution: Execution, request: TailLog) -> list[TailLine]:
    if request.file == logs.RUNTIME_LOG:
        printed = _printed(execution)
        return [_line(execution, ms, stream, text) for ms, stream, text in printed if request.stream in ("", stream)]
    failed = bool(execution.code) or execution.status >= _FIRST_ERROR_STATUS
    if request.file == logs.ERROR_LOG and not failed:
        return []
    took = (execution.queue_us + execution.cold_us + execution.run_us) / 1000
    said = [str(execution.status), execution.kind.value, f"{took:.1f}ms"]
    if failed:
        first, _, _ = execution.error.partition("\n")
        said += [part for part in (execution.code.value, first) if part]
    return [_line(execution, epoch_ms(execution.started_at), "", " ".join(said))]


def _printed(execution: Execution) -> list[tuple[int, str, str]]:
    """Return what an execution printed, line by line; an executor of an earlier release told it in one piece."""
    try:
        lines = logs.log_lines(execution.lines)
    except codec.MalformedMessageError:
        lines = []
    if lines:
        return [(line.ms, line.stream, line.text) for line in lines]
    ms = epoch_ms(execution.started_at)
    pieces = ((logs.STDOUT, execution.stdout), (logs.STDERR, execution.stderr))
    return [(ms, stream, line) for stream, text in pieces for line in text.splitlines()]


def _line(execution: Execution, ms: int, stream: str, text: str) -> TailLine:
    return TailLine(
        ms=ms,
        execution=execution.id,
        runtime=execution.runtime,
        function=execution.function,
        version=execution.version,
        stream=stream,
        text=text,
    )
