"""Lines of a function: the past and the present joined, each line once, nothing that could steer a terminal."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cli import logs
from cli.client import Address
from cli.errors import CommandError, RefusedError
from tests.unit.cli.serving import serving

MS = 1_760_000_000_000


def line(text: str, *, ms: int = 0, execution: str = "req-1", stream: str = "stdout") -> dict[str, Any]:
    level = "error" if stream == "stderr" else "info"
    return {"ms": MS + ms, "level": level, "stream": stream, "text": text, "execution": execution, "executor": "one"}


def execution(*lines: dict[str, Any], id: str = "req-1", executor: str = "one") -> dict[str, Any]:  # noqa: A002
    return {"id": id, "name": "hello", "version": "v1", "executor": executor, "started_at_ms": MS, "lines": lines}


@dataclass
class Streaming:
    """A gateway that has executions, and streams that end."""

    url: str = ""
    executions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    streams: list[list[str]] = field(default_factory=list[list[str]])
    """Each is sent whole; after the last one following is refused."""
    queries: list[dict[str, list[str]]] = field(default_factory=list[dict[str, list[str]]])

    def answer(self, request: str, _headers: dict[str, str], _body: bytes) -> tuple[int, bytes]:
        target = urlsplit(request.removeprefix("GET "))
        path, query = target.path, parse_qs(target.query)
        if path == "/_fn/catalog":
            return 200, json.dumps({"mapped_routes": {"/hello": [{"fn_name": "hello", "methods": ["GET"]}]}}).encode()
        if path == "/_fn/executions":
            self.queries.append(query)
            return 200, json.dumps({"executions": self.executions}).encode()
        if not self.streams:
            return 403, b'{"error":"enough"}'
        return 200, "".join(f"{each}\n\n" for each in self.streams.pop(0)).encode()


@pytest.fixture
def gateway() -> Iterator[Streaming]:
    fake = Streaming()
    with serving(fake.answer) as fake.url:
        yield fake


def shown(gateway: Streaming, capfd: pytest.CaptureFixture[str], *, follow: bool = False, **wanted: Any) -> list[str]:
    """Return the texts that were shown."""
    everything: dict[str, Any] = {"name": "hello", "lines": 100, **wanted}
    chosen = logs.Wanted(**everything)
    if follow:
        with pytest.raises(RefusedError, match="enough"):
            logs.run(chosen, at=Address(url=gateway.url), follow=True, json=True)
    else:
        assert logs.run(chosen, at=Address(url=gateway.url), follow=False, json=True) == 0
    return [json.loads(each)["text"] for each in capfd.readouterr().out.splitlines()]


def data(*lines: dict[str, Any]) -> list[str]:
    return [f"data: {json.dumps(each)}" for each in lines]


def test_past_lines_come_in_order_of_time_and_the_last_ones_only(gateway: Streaming, capfd: pytest.CaptureFixture[str]) -> None:
    gateway.executions = [execution(line("c", ms=3), line("d", ms=9), id="req-2"), execution(line("a"), line("b", ms=4))]
    assert shown(gateway, capfd) == ["a", "c", "b", "d"]
    assert shown(gateway, capfd, lines=2) == ["b", "d"]
    assert shown(gateway, capfd, lines=0) == []


def test_lines_are_asked_for_since_a_moment_and_shown_of_one_executor(
    gateway: Streaming, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.executions = [execution(line("mine")), execution(line("other", ms=1), executor="two")]
    assert shown(gateway, capfd, since_ms=MS, executor="one") == ["mine"]
    assert gateway.queries[-1]["since_ms"] == [str(MS)]


def test_texts_of_an_earlier_release_are_shown_as_lines(gateway: Streaming, capfd: pytest.CaptureFixture[str]) -> None:
    gateway.executions = [execution() | {"stdout": "one\ntwo\n", "stderr": "bad\n"}]
    assert shown(gateway, capfd) == ["one", "two", "bad"]


def test_line_that_is_in_the_past_and_in_the_stream_is_shown_once(
    gateway: Streaming, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.executions = [execution(line("past"), line("same", ms=1), line("same", ms=1))]
    gateway.streams = [[": following", *data(line("same", ms=1), line("same", ms=1), line("same", ms=1), line("new", ms=2))]]
    assert shown(gateway, capfd, follow=True) == ["past", "same", "same", "same", "new"]


def test_following_goes_on_when_the_stream_broke_off_with_what_was_printed_meanwhile(
    gateway: Streaming, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.executions = [execution(line("one", ms=1), line("two", ms=1), line("missed", ms=2))]
    gateway.streams = [
        [*data(line("one", ms=1)), *data(line("two", ms=1))],
        [": following", *data(line("three", ms=3))],
    ]
    assert shown(gateway, capfd, follow=True) == ["one", "two", "missed", "three"]


def test_follower_is_told_of_lines_that_were_thrown_away(gateway: Streaming, capfd: pytest.CaptureFixture[str]) -> None:
    gateway.streams = [[": following", 'event: dropped\ndata: {"lines":7}', *data(line("after"))]]
    with pytest.raises(RefusedError):
        logs.run(logs.Wanted(name="hello", lines=1), at=Address(url=gateway.url), follow=True, json=False)
    out, err = capfd.readouterr()
    assert "7 lines were too many" in err
    assert out.rstrip().endswith("info   after")


def test_line_cannot_steer_the_terminal(gateway: Streaming, capfd: pytest.CaptureFixture[str]) -> None:
    gateway.executions = [execution(line("\x1b]0;title\x07\x1b[2Jred\ttab ü", stream="stderr"))]
    logs.run(logs.Wanted(name="hello", lines=1), at=Address(url=gateway.url), follow=False, json=False)
    printed = capfd.readouterr().out
    assert "error  \ufffd]0;title\ufffd\ufffd[2Jred\ttab ü" in printed
    assert "\x1b" not in printed


def test_function_that_nobody_knows_is_an_error(gateway: Streaming) -> None:
    with pytest.raises(CommandError, match="did you mean hello"):
        logs.run(logs.Wanted(name="helo", lines=1), at=Address(url=gateway.url), follow=False, json=False)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86_400)])
def test_since_takes_how_long_ago(text: str, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    assert logs.moment(text) == (1_000_000 - seconds) * 1000


def test_since_takes_a_date_and_time_and_refuses_the_rest() -> None:
    assert logs.moment("1970-01-01T00:01:00+00:00") == 60_000
    assert logs.moment("") == 0
    for wrong in ("tomorrow", "10", "-5m", "9" * 12 + "d"):
        with pytest.raises(CommandError, match="--since"):
            logs.moment(wrong)
