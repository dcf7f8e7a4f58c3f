"""The ends of logs: the newest lines, of the functions and streams that are asked for, oldest first."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.bus.memory import MemoryBroker, MemoryBus
from libs.messages import codec
from libs.messages.calls import FailureCode
from libs.messages.executions import Execution, ExecutionBatch, ExecutionKind, ExecutionRow
from libs.messages.logs import LogLine, TailLog
from libs.storage.memory import MemoryStore
from services.registry.history import intake as history
from services.registry.history.intake import EXECUTIONS
from services.registry.history.tail import Tail

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MS = int(NOON.timestamp() * 1000)


def execution(number: int, **more: Any) -> Execution:
    fields: dict[str, Any] = {
        "id": f"req-{number}",
        "namespace": "default",
        "runtime": "python",
        "function": "f",
        "version": "default",
        "digest": "d",
        "kind": ExecutionKind.CALL,
        "executor": "one",
        "started_at": NOON + timedelta(milliseconds=number),
        "status": 200,
        "run_us": 1500,
        "lines": (LogLine(MS + number, "stdout", f"line {number}"),),
    }
    return Execution(**(fields | more))


async def tail(executions: list[Execution], *, max_payload: int = 1 << 20, **asked: Any) -> list[str]:
    store = MemoryStore()
    await store.ensure(EXECUTIONS)
    batch = ExecutionBatch(executor="one", executions=[ExecutionRow.of(each) for each in executions])
    await store.insert_many(EXECUTIONS, history.parse(codec.encode(batch)))
    found = await Tail(bus=MemoryBus(MemoryBroker(max_payload=max_payload)), store=store).tail(TailLog(**asked))
    return [line.text for line in found.lines]


async def test_tail_gives_the_newest_lines_oldest_first() -> None:
    assert await tail([execution(each) for each in range(5)], lines=3) == ["line 2", "line 3", "line 4"]


async def test_tail_looks_back_over_executions_that_printed_nothing() -> None:
    quiet = [execution(each, lines=()) for each in range(1, 1200)]
    assert await tail([execution(0), *quiet], lines=3) == ["line 0"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["a", "b", "c", "d"]),
        ({"function": "g"}, ["b"]),
        ({"runtime": "node"}, ["c"]),
        ({"version": "v2"}, ["d"]),
        ({"stream": "stderr"}, ["d"]),
        ({"namespace": "other"}, ["e"]),
    ],
)
async def test_tail_leaves_out_what_was_not_asked_for(asked: dict[str, Any], expected: list[str]) -> None:
    executions = [
        execution(0, lines=(LogLine(MS, "stdout", "a"),)),
        execution(1, lines=(LogLine(MS + 1, "stdout", "b"),), function="g"),
        execution(2, lines=(LogLine(MS + 2, "stdout", "c"),), runtime="node"),
        execution(3, lines=(LogLine(MS + 3, "stderr", "d"),), version="v2"),
        execution(4, lines=(LogLine(MS + 4, "stdout", "e"),), namespace="other"),
    ]
    assert await tail(executions, **asked) == expected


async def test_tail_splits_what_an_executor_of_an_earlier_release_told_in_one_piece() -> None:
    assert await tail([execution(0, lines=(), stdout="a\nb\n", stderr="c\n")]) == ["a", "b", "c"]


async def test_tail_of_access_has_one_line_for_each_execution() -> None:
    executions = [execution(0), execution(1, status=0, code=FailureCode.TIMEOUT, error="took too long\nstack", cold_us=500)]
    assert await tail(executions, file="access") == ["200 call 1.5ms", "0 call 2.0ms timeout took too long"]


async def test_tail_of_errors_has_the_failed_ones() -> None:
    executions = [execution(0), execution(1, status=404), execution(2, status=500, error="ValueError: x")]
    assert await tail(executions, file="error") == ["500 call 1.5ms ValueError: x"]


async def test_tail_fits_into_one_message() -> None:
    executions = [execution(each, lines=(LogLine(MS + each, "stdout", f"{each}" * 500),)) for each in range(9)]
    found = await tail(executions, max_payload=10_000)
    assert 0 < len(found) < 9
    assert found[-1] == "8" * 500
