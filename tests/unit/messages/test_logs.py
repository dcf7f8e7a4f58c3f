"""Printed lines cross the bus as rows, and are checked where they arrive; records of earlier releases have none."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from libs.messages import codec, logs
from libs.messages.codec import MalformedMessageError
from libs.messages.executions import Execution
from libs.messages.logs import LiveLine, LogBatch, LogLine

EARLIER = Path(__file__).parent / "golden" / "earlier"


def test_batch_gives_back_its_lines() -> None:
    lines = [LiveLine("req-1", 1_700_000_000_000, logs.STDOUT, "hällo"), LiveLine("", 1, logs.STDERR, "")]
    batch = LogBatch(namespace="n", function="f", version="v", executor="e", lines=lines, dropped=3)
    assert codec.decode(LogBatch, codec.encode(batch)).live_lines() == lines


@pytest.mark.parametrize("rows", ["text", [1], [[1, "stdout"]], [["1", "stdout", "text"]], {"ms": 1}])
def test_lines_are_refused_when_they_are_none(rows: Any) -> None:
    with pytest.raises(MalformedMessageError, match="lines"):
        logs.log_lines(rows)


def test_level_is_error_for_stderr_only() -> None:
    assert [logs.level(stream) for stream in (logs.STDOUT, logs.STDERR, "?")] == ["info", "error", "info"]


def test_execution_of_an_earlier_release_is_read_and_has_no_lines() -> None:
    found = codec.decode(Execution, (EARLIER / "Execution.msgpack").read_bytes())
    assert (found.id, found.stdout, found.error_type) == ("id ü", "stdout ü", "")
    assert logs.log_lines(found.lines) == []


def test_lines_of_an_execution_come_back_as_they_were_put_in() -> None:
    earlier = codec.decode(Execution, (EARLIER / "Execution.msgpack").read_bytes())
    lines = (LogLine(5, logs.STDOUT, "one"), LogLine(6, logs.STDERR, "two"))
    found = codec.decode(Execution, codec.encode(dataclasses.replace(earlier, lines=lines)))
    assert tuple(logs.log_lines(found.lines)) == lines
