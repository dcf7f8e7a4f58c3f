"""Logs as machines and as people read them."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from libs.telemetry import logs

log = logging.getLogger("tests.logs")


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]  pytest uses it
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], level = before
    root.setLevel(level)


def _record(message: str, *args: object, level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("tests.logs", level, __file__, 1, message, args, None)
    record.__dict__.update(fields)
    return record


def test_json_line_holds_action_ids_and_sentence() -> None:
    line = json.loads(
        logs.JsonFormatter("registry").format(_record("deployed %s", "hello", action="version_deployed", function="hello"))
    )
    moment = line.pop("ts")
    assert moment.endswith("+00:00")
    assert line == {
        "level": "info",
        "service": "registry",
        "logger": "tests.logs",
        "message": "deployed hello",
        "action": "version_deployed",
        "function": "hello",
    }


def test_json_line_is_one_line_when_the_message_has_several() -> None:
    assert "\n" not in logs.JsonFormatter("gateway").format(_record("one\ntwo", path="a\nb"))


@pytest.mark.parametrize("value", ["\ud800", 1 << 70, b"\xff", {1: 2}, object()])
def test_json_line_is_kept_when_a_field_is_hard_to_write(value: object) -> None:
    line = json.loads(logs.JsonFormatter("gateway").format(_record("odd", value=value)))
    assert line["message"] == "odd"
    assert "value" in line


def test_json_line_holds_the_stack_of_an_exception() -> None:
    try:
        raise ValueError("broken")  # noqa: TRY301  the stack is what is wanted
    except ValueError:
        record = _record("failed")
        record.exc_info = sys.exc_info()
    assert "ValueError: broken" in json.loads(logs.JsonFormatter("gateway").format(record))["exception"]


def test_text_line_has_level_service_sentence_and_ids_without_the_action() -> None:
    line = logs.TextFormatter("registry").format(_record("deployed", level=logging.WARNING, action="x", function="hello"))
    assert line.endswith("W registry  deployed  (function=hello)")


def test_configure_writes_json_when_stderr_is_not_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(service="gateway")
    log.info("up", extra={"action": "service_started"})
    log.debug("not shown")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["action"] == "service_started"


def test_configure_keeps_libraries_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(service="gateway", format="text", level="DEBUG")
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("uvicorn.error").warning("odd")
    log.debug("shown")
    shown = capsys.readouterr().err
    assert "started" not in shown
    assert "odd" in shown
    assert "shown" in shown
