"""What is told of a run: spans under the one that asked for it, and where its time went."""

from typing import Any

import orjson
import pytest

from libs.messages.calls import PROXY_HEAD, FailureCode, ReplyKind
from libs.messages.executions import Execution, ExecutionKind, ExecutionRow
from libs.messages.logs import STDERR, STDOUT, LogLine, log_lines
from libs.telemetry import tracing
from libs.telemetry.tracing import Tracing
from services.executor.calls import results, runs, telling
from services.executor.calls.runs import Result, Run
from services.executor.catalogue import VersionKey
from services.executor.workers.frames import Frame, FrameType
from services.executor.workers.output import NO_OUTPUT, Output

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MS = 1_000_000


class Collector(Tracing):
    """Keeps spans."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: dict[str, dict[str, Any]] = {}

    def tell(self, **span: Any) -> None:
        self.spans[span["name"]] = span


def run(traceparent: str = PARENT) -> Run:
    made = Run(
        id="r",
        kind=ExecutionKind.CALL,
        key=VersionKey("default", "python", "hello", "d"),
        label="default",
        head=b"",
        body=b"",
        traceparent=traceparent,
        received=100.0,
        received_ns=5_000 * MS,
        budget_ms=1000,
        on_done=lambda _run, _reply: None,
    )
    made.started_at = 100.125
    made.cold_seconds = 0.0625
    return made


def tell(made: Run, result: Result) -> dict[str, dict[str, Any]]:
    collector = Collector()
    telling.tell_spans(collector, made, result, runs.stages(made, 100.25))
    return collector.spans


def test_stages_add_up_to_the_whole_time() -> None:
    times = runs.stages(run(), 100.25)
    assert (times.queue_us, times.cold_us, times.run_us, times.cold) == (62_500, 62_500, 125_000, True)


def recorded(result: Result) -> Execution:
    made = run()
    return telling.execution(made, result, runs.stages(made, 100.25), executor="e").execution()


def test_execution_says_what_came_of_a_run() -> None:
    lines = (LogLine(1, STDOUT, "out"), LogLine(2, STDERR, "err"))
    output = Output("out", "err", truncated=True, lines=lines)
    execution = recorded(Result(status=418, body=b"tea", cpu_us=7, peak_kib=9, output=output))
    assert (execution.status, execution.bytes_out, execution.cpu_us, execution.peak_kib) == (418, 3, 7, 9)
    assert (execution.cold, execution.queue_us, execution.cold_us, execution.run_us) == (True, 62_500, 62_500, 125_000)
    assert (execution.stdout, execution.stderr, execution.truncated) == ("out", "err", True)
    assert tuple(log_lines(execution.lines)) == lines
    assert execution.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert execution.started_at.timestamp() == 5.0


def test_execution_says_what_it_waited_before_it_came_here() -> None:
    made = run()
    made.admit_us = 1500
    assert telling.execution(made, Result(status=200), runs.stages(made, 100.25), executor="e").execution().admit_us == 1500
    assert recorded(Result(status=200)).admit_us == 0


def test_execution_that_has_little_to_say_is_short_and_means_the_same() -> None:
    made = run()
    made.cold_seconds = 0.0
    row = telling.execution(made, Result(status=200), runs.stages(made, 100.25), executor="e")
    assert row.execution() == ExecutionRow.of(row.execution()).execution()
    assert (row.execution().code, row.execution().stdout, row.execution().cold) == (FailureCode.NONE, "", False)
    assert len(row.packed) < len(ExecutionRow.of(row.execution()).packed)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("ValueError: no: never\nFile x, line 3", "ValueError"),
        ("app.errors.Refused: no", "app.errors.Refused"),
        ("App\\Refused: no", "App\\Refused"),
        ("it went wrong: badly", ""),
        ("", ""),
    ],
)
def test_execution_names_the_class_of_what_was_raised(error: str, expected: str) -> None:
    found = recorded(Result(status=500, code=FailureCode.HANDLER_ERROR, error=error))
    assert (found.error_type, found.error) == (expected, error)


def test_execution_names_no_class_when_the_handler_raised_nothing() -> None:
    assert recorded(Result(code=FailureCode.TIMEOUT, error="Late: the handler did not answer")).error_type == ""


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("load_error", FailureCode.LOAD_ERROR),
        ("timeout", FailureCode.HANDLER_ERROR),
        ("canceled", FailureCode.HANDLER_ERROR),
        ("nonsense", FailureCode.HANDLER_ERROR),
    ],
)
def test_guest_may_say_that_its_code_could_not_be_loaded_but_not_what_others_decide(said: str, expected: FailureCode) -> None:
    head = orjson.dumps({"code": said, "type": "Error", "message": "m", "stack": ""})
    frame = Frame(int(FrameType.ERROR), status=502, head=head, body=b"{}")
    found = results.of_frame(frame, NO_OUTPUT, max_body=100)
    assert (found.code, found.status, found.body) == (expected, 502, b"{}")


def test_guest_may_say_that_its_memory_is_used_up_which_is_told_in_the_platforms_words() -> None:
    head = orjson.dumps({"code": "memory_limit", "type": "Error", "message": "m", "stack": ""})
    found = results.of_frame(Frame(int(FrameType.ERROR), status=502, head=head, body=b"{}"), NO_OUTPUT, max_body=100)
    assert (found.kind, found.code, found.body) == (ReplyKind.FAILURE, FailureCode.MEMORY_LIMIT, b"")


def test_spans_follow_each_other_below_the_one_that_asked() -> None:
    spans = tell(run(), Result(status=200))
    assert list(spans) == ["queue", "cold start", "handler"]
    assert {span["parent_id"] for span in spans.values()} == {"b7ad6b7169203331"}
    assert [span["start_ns"] // MS for span in spans.values()] == [5000, 5062, 5125]
    assert spans["handler"]["end_ns"] // MS == 5250


def test_handler_span_is_the_one_that_user_code_was_told() -> None:
    parent = tracing.parse(PARENT)
    assert parent is not None
    assert tell(run(), Result(status=200))["handler"]["context"] == parent.handler()


def test_handler_span_tells_a_failure() -> None:
    result = Result(kind=ReplyKind.FAILURE, code=FailureCode.CRASH, message="worker ended with signal 9")
    assert tell(run(), result)["handler"]["error"] == "worker ended with signal 9"


def test_no_span_is_told_when_nobody_traces() -> None:
    assert tell(run("nonsense"), Result()) == {}
    assert tell(run(PARENT[:-1] + "0"), Result()) == {}


def test_what_was_printed_is_among_the_headers_of_an_answer_when_it_is_asked_for() -> None:
    output = Output(stdout="one\r\ntwo\n", stderr="é" * 3000)
    for head, before in ((b"[]", []), (b'[["content-type","text/plain"]]', [["content-type", "text/plain"]])):
        told = results.with_output(Result(status=200, head=head, output=output))
        assert orjson.loads(told.head) == [*before, ["x-fn-stdout", "one two"], ["x-fn-stderr", "é" * 2048]]


def test_what_was_printed_is_nowhere_when_there_is_no_list_of_headers() -> None:
    output = Output(stdout="one")
    assert results.with_output(Result(head=PROXY_HEAD, output=output)).head == PROXY_HEAD
    failed = Result(kind=ReplyKind.FAILURE, output=output)
    assert results.with_output(failed) == failed
