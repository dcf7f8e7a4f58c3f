"""What of the services' logs a person sees."""

import io
import json

import pytest

from cli.console import Console


def _record(**fields: object) -> str:
    return json.dumps({"ts": "2026-01-01T00:00:00.000+00:00", "level": "info", "service": "registry", "message": "x", **fields})


def _console(*, verbose: bool = False, settled: bool = True) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    console = Console(stream, verbose=verbose)
    console.settled = settled
    return console, stream


@pytest.mark.parametrize("level", ["warning", "error"])
def test_warnings_and_errors_are_shown_even_while_it_starts(level: str) -> None:
    console, stream = _console(settled=False)
    console.take("gateway", _record(level=level, message="the bus is gone"))
    assert "gateway   the bus is gone" in stream.getvalue()


def test_deploys_are_shown_once_everything_is_up() -> None:
    console, stream = _console(settled=False)
    console.take("registry", _record(action="version_deployed", message="deployed hello"))
    assert stream.getvalue() == ""
    console.settled = True
    console.take("registry", _record(action="version_deployed", message="deployed hello"))
    assert "deployed hello" in stream.getvalue()


def test_what_the_banner_tells_is_not_told_twice() -> None:
    console, stream = _console(settled=False)
    console.take("executor", _record(action="sandbox_missing", level="warning", message="no bubblewrap"))
    assert stream.getvalue() == ""


def test_builds_are_shown_from_the_start_on_and_what_holds_them_up_once_everything_is_up() -> None:
    console, stream = _console(settled=False)
    console.take("executor", _record(action="build_started", message="report: installs with pip 25"))
    console.take("registry", _record(action="build_waits", message="no executor builds what report needs"))
    assert "report: installs with pip 25" in stream.getvalue()
    assert "no executor" not in stream.getvalue()
    console.settled = True
    console.take("registry", _record(action="build_waits", message="no executor builds what report needs"))
    assert "no executor builds what report needs" in stream.getvalue()


def test_other_talk_is_shown_only_when_it_is_wanted() -> None:
    quiet, silent = _console()
    quiet.take("gateway", _record(message="the catalogue is read", functions=3))
    assert silent.getvalue() == ""
    loud, stream = _console(verbose=True)
    loud.take("gateway", _record(message="the catalogue is read", functions=3))
    assert "the catalogue is read  (functions=3)" in stream.getvalue()


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", "{not json", '{"a": 1}', "fnbus: setting FNBUS_X: bad"])
def test_line_that_is_no_record_is_shown_as_it_is(line: str) -> None:
    console, stream = _console(settled=False)
    console.take("gateway", line)
    assert line in stream.getvalue()


def test_stack_of_an_exception_is_shown() -> None:
    console, stream = _console()
    console.take("gateway", _record(level="error", message="failed", exception="Traceback\nValueError: broken"))
    assert "ValueError: broken" in stream.getvalue()


def test_terminal_that_is_gone_stops_nothing() -> None:
    class _Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(text)

    Console(_Gone(), verbose=True).say("hello")
