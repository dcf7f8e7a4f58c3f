"""The command as a person types it, against a gateway that is a few lines here: what is sent, printed and returned."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from cli.main import app
from libs.settings import ServiceSettings
from services.executor.settings import ExecutorSettings
from services.gateway.settings import GatewaySettings
from services.registry.settings import RegistrySettings
from services.scheduler.settings import SchedulerSettings
from tests.unit.cli.serving import FakeGateway, run

SETTINGS: dict[str, type[ServiceSettings]] = {
    "gateway": GatewaySettings,
    "registry": RegistrySettings,
    "executor": ExecutorSettings,
    "scheduler": SchedulerSettings,
}

JOB = {
    "id": "job-1",
    "status": "queued",
    "name": "report",
    "runtime": "python",
    "attempt": 0,
    "max_attempts": 2,
    "retry_delay_ms": 1000,
    "created_at_ms": 1_760_000_000_000,
    "updated_at_ms": 1_760_000_000_000,
}


def test_invoke_prints_the_body_and_says_the_status(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/catalog", (200, {"mapped_routes": {"/hello": [{"fn_name": "get.hello.py", "methods": ["GET"]}]}}))
    gateway.on("GET /hello", (200, b"hello Ada"))
    assert run(monkeypatch, "invoke", "hello", "-q", "name=Ada", "-H", "x-a: b", "--url", gateway.url) == 0
    out, err = capfd.readouterr()
    assert out == "hello Ada"
    assert "200 OK  GET /hello" in err
    request, headers, _ = gateway.asked[-1]
    assert request == "GET /hello?name=Ada"
    assert headers["x-a"] == "b"


def test_invoke_returns_1_and_shows_the_body_when_the_status_is_an_error(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("POST /fail", (502, {"error": "runtime error"}))
    assert run(monkeypatch, "invoke", "/fail", "-d", '{"a": 1}', "--url", gateway.url) == 1
    out, err = capfd.readouterr()
    assert json.loads(out) == {"error": "runtime error"}
    assert "502" in err
    assert gateway.asked[-1][1]["content-type"] == "application/json"
    assert gateway.asked[-1][2] == b'{"a": 1}'


def test_invoke_pins_a_version(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.on("GET /hello@v2", (200, b"two"))
    assert run(monkeypatch, "invoke", "hello", "--version", "v2", "--url", gateway.url) == 0


def test_invoke_prints_an_envelope_for_programs(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /image", (200, b"\xff\xd8"))
    assert run(monkeypatch, "invoke", "/image", "--json", "--url", gateway.url) == 0
    envelope = json.loads(capfd.readouterr().out)
    assert envelope["status"] == 200
    assert envelope["is_base64"] is True
    assert envelope["body_base64"] == "/9g="
    assert ["content-length", "2"] in [[name.lower(), value] for name, value in envelope["headers"]]


def test_refused_connection_is_one_line_that_says_how_to_start_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "jobs", "list", "--url", "http://127.0.0.1:9") == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "fnbus: no gateway at http://127.0.0.1:9: start one with `fnbus dev`, or name another with --url"
    ]


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://127.0.0.1:port"])
def test_wrong_url_is_one_line(url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "routes", "--url", url) == 1
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_other_server_is_no_gateway(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/catalog", (200, b"<html>"))
    assert run(monkeypatch, "routes", "--url", gateway.url) == 1
    assert "is no fnbus gateway" in capfd.readouterr().err


def test_submit_sends_what_was_typed_and_prints_the_id(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("POST /_fn/jobs", (201, JOB))
    arguments = ["report", "-d", '{"month": 7}', "-p", "id=42", "--max-attempts", "2", "--token", "t", "--url", gateway.url]
    assert run(monkeypatch, "jobs", "submit", *arguments) == 0
    assert capfd.readouterr().out == "job-1\n"
    _, headers, body = gateway.asked[-1]
    assert headers["x-fn-admin-token"] == "t"
    assert json.loads(body) == {
        "name": "report",
        "method": "POST",
        "params": {"id": "42"},
        "headers": {"content-type": "application/json"},
        "body": '{"month": 7}',
        "max_attempts": 2,
        "retry_delay_ms": 1000,
    }


def test_submit_leaves_out_what_was_not_typed(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.on("POST /_fn/jobs", (201, JOB))
    assert run(monkeypatch, "jobs", "submit", "report", "--url", gateway.url) == 0
    assert json.loads(gateway.asked[-1][2]) == {"name": "report", "max_attempts": 1, "retry_delay_ms": 1000}


def test_submit_takes_one_of_the_function_s_methods_when_none_was_asked_for(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal: dict[str, Any] = {"error": "method not allowed", "allowed_methods": ["POST", "PUT"]}
    gateway.on("POST /_fn/jobs", (405, refusal), (201, JOB))
    assert run(monkeypatch, "jobs", "submit", "report", "--url", gateway.url) == 0
    assert json.loads(gateway.asked[-1][2])["method"] == "POST"


def test_submit_names_the_function_that_may_be_meant_when_there_is_none(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("POST /_fn/jobs", (404, {"error": "unknown function or version"}))
    gateway.on("GET /_fn/catalog", (200, {"mapped_routes": {"/report": [{"fn_name": "report", "methods": ["GET"]}]}}))
    assert run(monkeypatch, "jobs", "submit", "reprot", "--url", gateway.url) == 1
    assert capfd.readouterr().err.strip() == "fnbus: there is no function reprot: did you mean report?"


def test_executions_are_found_by_a_function_s_route(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.on("GET /_fn/catalog", (200, {"mapped_routes": {"/hello": [{"fn_name": "get.hello.py", "methods": ["GET"]}]}}))
    gateway.on("GET /_fn/executions", (200, {"executions": []}))
    assert run(monkeypatch, "executions", "list", "hello", "--url", gateway.url) == 0
    assert gateway.asked[-1][0] == "GET /_fn/executions?function=get.hello.py&limit=20"


def test_executions_are_of_a_name_and_those_that_failed(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.on("GET /_fn/catalog", (200, {}))
    gateway.on("GET /_fn/executions", (200, {"executions": []}))
    assert run(monkeypatch, "executions", "list", "hello", "--failed", "--url", gateway.url) == 0
    assert gateway.asked[-1][0] == "GET /_fn/executions?function=hello&limit=20&failed=1"


def test_execution_is_shown_with_its_stages_its_stack_and_what_it_printed(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    found: dict[str, Any] = {
        "id": "req-1",
        "name": "hello",
        "version": "v2",
        "runtime": "python",
        "kind": "call",
        "status": 500,
        "code": "handler_error",
        "error": "ValueError: no\n  at line 3",
        "cold": True,
        "admit_ms": 7.5,
        "queue_ms": 0.5,
        "cold_ms": 12.25,
        "run_ms": 3,
        "cpu_ms": 2,
        "peak_kib": 2048,
        "bytes_in": 1,
        "bytes_out": 2,
        "lines": [{"ms": 1_760_000_000_123, "level": "info", "stream": "stdout", "text": "hi"}],
        "truncated": True,
    }
    gateway.on("GET /_fn/executions/req-1", (200, found))
    assert run(monkeypatch, "executions", "show", "req-1", "--url", gateway.url) == 0
    out, err = capfd.readouterr()
    for text in (
        "hello@v2 (python)",
        "admit 7.5 ms, queue 0.5 ms, cold start 12.2 ms, run 3.0 ms",
        "memory 2.0 MiB",
        "  at line 3",
        "info   hi",
    ):
        assert text in out
    assert "500  handler_error" in err
    assert "more than is kept" in err
    assert run(monkeypatch, "executions", "show", "req-1", "--json", "--url", gateway.url) == 0
    assert json.loads(capfd.readouterr().out) == found


def test_submit_follows_the_job_to_its_result_when_it_is_to_wait(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("POST /_fn/jobs", (201, JOB))
    running = JOB | {"status": "running", "attempt": 1}
    gateway.on("GET /_fn/jobs/job-1", (200, running), (200, running | {"status": "done", "result_status": 200}))
    result: dict[str, Any] = {
        "id": "job-1",
        "status": 200,
        "headers": {},
        "is_base64": False,
        "body": "ready",
        "latency_ms": 3.5,
    }
    gateway.on("GET /_fn/jobs/job-1/result", (200, result))
    assert run(monkeypatch, "jobs", "submit", "report", "--wait", "--url", gateway.url) == 0
    out, err = capfd.readouterr()
    assert out == "ready"
    assert [line.partition(",")[0] for line in err.splitlines()][:3] == ["job-1 queued", "job-1 running", "job-1 done"]


def test_submit_returns_1_and_the_reason_when_the_job_fails_without_an_answer(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("POST /_fn/jobs", (201, JOB))
    gateway.on("GET /_fn/jobs/job-1", (200, JOB | {"status": "failed", "last_error": "runtime timeout"}))
    assert run(monkeypatch, "jobs", "submit", "report", "--wait", "--url", gateway.url) == 1
    assert "job job-1 is failed: runtime timeout" in capfd.readouterr().err


def test_submit_stops_following_when_it_takes_too_long(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("POST /_fn/jobs", (201, JOB))
    gateway.on("GET /_fn/jobs/job-1", (200, JOB))
    assert run(monkeypatch, "jobs", "submit", "report", "--wait", "--wait-seconds", "0", "--url", gateway.url) == 1
    assert "still queued after 0 s" in capfd.readouterr().err


def test_result_that_is_not_there_yet_is_one_line(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/jobs/job-1/result", (202, {"id": "job-1", "status": "running", "error": "result not ready"}))
    assert run(monkeypatch, "jobs", "result", "job-1", "--url", gateway.url) == 1
    assert capfd.readouterr().err.strip() == "fnbus: result not ready: the job is running"


def test_cancel_says_what_the_gateway_says(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("DELETE /_fn/jobs/job-1", (409, {"error": "job is not queued"}))
    assert run(monkeypatch, "jobs", "cancel", "job-1", "--url", gateway.url) == 1
    assert capfd.readouterr().err.strip() == "fnbus: job is not queued"


def test_retry_shows_the_job_that_waits_again(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("POST /_fn/jobs/job-1/retry", (200, JOB))
    assert run(monkeypatch, "jobs", "retry", "job-1", "--url", gateway.url) == 0
    assert "queued" in capfd.readouterr().out


SCHEDULES = {
    "schedules": [
        {
            "name": "get.tick.py",
            "runtime": "python",
            "schedule": {
                "cron": "0 9 * * *",
                "timezone": "UTC",
                "method": "POST",
                "query": {"a": "1"},
                "headers": {},
                "body": "x",
                "retry": {"max_attempts": 3},
            },
            "state": {"next": 1_760_000_000, "last_error": "boom"},
        },
        {"name": "other", "runtime": "node", "schedule": {"every_seconds": 5}, "state": {}},
        {"name": "other", "version": "v2", "runtime": "node", "schedule": {"every_seconds": 9}, "state": {}},
    ]
}
TICK_ROUTE = {"mapped_routes": {"/tick": [{"fn_name": "get.tick.py", "runtime": "python", "methods": ["GET"]}]}}


def test_schedule_is_shown_with_its_request(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/schedules", (200, SCHEDULES))
    gateway.on("GET /_fn/catalog", (200, TICK_ROUTE))
    assert run(monkeypatch, "schedules", "show", "tick", "--url", gateway.url) == 0
    told = capfd.readouterr().out
    for part in ("get.tick.py@default (python)", "0 9 * * * UTC", "POST", '{"a": "1"}', "boom"):
        assert part in told
    assert "other" not in told
    assert run(monkeypatch, "schedules", "show", "nobody", "--url", gateway.url) == 1
    assert "nobody has no schedule" in capfd.readouterr().err


def test_schedule_is_run_as_a_job_with_its_request(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/schedules", (200, SCHEDULES))
    gateway.on("GET /_fn/catalog", (200, TICK_ROUTE))
    gateway.on("POST /_fn/jobs", (201, JOB))
    assert run(monkeypatch, "schedules", "run", "tick", "--url", gateway.url) == 0
    assert capfd.readouterr().out.strip() == "job-1"
    assert json.loads(gateway.asked[-1][2]) == {
        "name": "get.tick.py",
        "runtime": "python",
        "method": "POST",
        "query": {"a": "1"},
        "body": "x",
        "max_attempts": 3,
    }
    assert run(monkeypatch, "schedules", "run", "other", "--url", gateway.url) == 1
    assert "choose one with --version (default, v2)" in capfd.readouterr().err


def test_rotation_goes_on_until_it_is_through_and_names_what_is_left(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    step: dict[str, Any] = {"key": "k2", "total": 5, "looked": 1, "resealed": 1, "failed": [], "after": "functions:"}
    end = step | {"total": 0, "looked": 4, "resealed": 2, "after": None}
    gateway.on("POST /_fn/secrets/rotate", (200, step), (200, end), (200, step), (200, end | {"failed": ["the secret A"]}))
    assert run(monkeypatch, "secret", "rotate", "--url", gateway.url) == 0
    assert capfd.readouterr().out == "3 of 5 were sealed anew with the key k2\n"
    assert run(monkeypatch, "secret", "rotate", "--json", "--url", gateway.url) == 1
    assert json.loads(capfd.readouterr().out) == {"key": "k2", "looked": 5, "resealed": 3, "failed": ["the secret A"]}


LISTINGS: dict[tuple[str, ...], tuple[str, dict[str, Any], str]] = {
    ("jobs", "list"): ("/_fn/jobs", {"jobs": [JOB]}, "job-1"),
    ("jobs", "dead-letters"): (
        "/_fn/dead-letters",
        {
            "dead_letters": [
                {"at_ms": 1_760_000_000_000, "reason": "gave up", "subject": "job.x", "source": "s", "job_id": "job-1"}
            ]
        },
        "gave up",
    ),
    ("schedules",): (
        "/_fn/schedules",
        {
            "schedules": [
                {"name": "tick", "runtime": "python", "schedule": {"cron": "* * * * *"}, "state": {"next": 1_760_000_000}}
            ]
        },
        "* * * * *",
    ),
    ("executions",): (
        "/_fn/executions",
        {"executions": [{"id": "r1", "name": "hello", "started_at_ms": 1_760_000_000_000, "status": 200, "run_ms": 1.25}]},
        "1.2",
    ),
    ("schedules", "list"): ("/_fn/schedules", {"schedules": SCHEDULES["schedules"][:1]}, "0 9 * * *"),
    ("executions", "list"): (
        "/_fn/executions",
        {"executions": [{"id": "r1", "name": "hello", "started_at_ms": 1_760_000_000_000, "status": 200, "run_ms": 1.25}]},
        "1.2",
    ),
    ("routes",): (
        "/_fn/catalog",
        {"mapped_routes": {"/hello": [{"fn_name": "get.hello.py", "runtime": "python", "methods": ["GET"]}]}},
        "get.hello.py (python)",
    ),
}


@pytest.mark.parametrize("command", LISTINGS, ids=" ".join)
def test_listing_is_a_table_for_people_and_json_for_programs(
    command: tuple[str, ...], gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path, answer, expected = LISTINGS[command]
    gateway.on(f"GET {path}", (200, answer))
    assert run(monkeypatch, *command, "--url", gateway.url) == 0
    heading, row = capfd.readouterr().out.splitlines()
    assert heading.isupper()
    assert expected in row
    assert run(monkeypatch, *command, "--json", "--url", gateway.url) == 0
    printed = json.loads(capfd.readouterr().out)
    assert {name: printed[name] for name in answer} == answer


@pytest.mark.parametrize("command", LISTINGS, ids=" ".join)
def test_empty_listing_says_so_on_stderr_only(
    command: tuple[str, ...], gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on(f"GET {LISTINGS[command][0]}", (200, {}))
    assert run(monkeypatch, *command, "--url", gateway.url) == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert "there are no" in err


def _commands(group: TyperGroup, *above: str) -> list[str]:
    """Return all commands as they are typed."""
    found: list[str] = []
    for name, command in group.commands.items():
        nested = isinstance(command, TyperGroup)
        found += _commands(command, *above, name) if nested else [" ".join((*above, name))]
    return sorted(found)


def _root() -> TyperGroup:
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    return root


@pytest.mark.parametrize("command", _commands(_root()))
def test_help_of_every_command_has_an_example(
    command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *command.split(), "--help") == 0
    shown = capfd.readouterr().out
    assert "Example" in shown
    assert f"fnbus {command}" in shown


@pytest.mark.parametrize(
    "group", [(), ("jobs",), ("profile",), ("env",), ("secret",)], ids=lambda group: " ".join(("fnbus", *group))
)
def test_help_shows_the_whole_summary_of_every_command(
    group: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, *group, "--help") == 0
    summaries = capfd.readouterr().out.partition("Show this message")[2].splitlines()
    assert len(summaries) > 3
    assert not [line for line in summaries if line.endswith("...")]


@pytest.mark.parametrize("service", SETTINGS)
def test_help_of_a_service_names_settings_that_it_has(
    service: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, service, "--help") == 0
    named = set(re.findall(r"FNBUS_\w+(?==)", capfd.readouterr().out))
    assert named
    assert named <= {f"FNBUS_{field.upper()}" for field in SETTINGS[service].model_fields}


def test_version_can_be_asked_as_an_option(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capfd.readouterr().out.startswith("fnbus ")


def test_version_loads_no_client_and_no_service() -> None:
    program = "import sys; sys.argv = ['fnbus', 'version']; from cli.main import main; main(); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    said, loaded = done.stdout.splitlines()
    assert said.startswith("fnbus ")
    for heavy in ("httpx", "pydantic", "rich", "asyncio", "services", "nats"):
        assert heavy not in loaded.split()


def test_jobs_are_listed_by_their_status(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/jobs", (200, {"jobs": []}))
    assert run(monkeypatch, "jobs", "list", "--status", "failed", "--url", gateway.url) == 0
    assert gateway.asked[-1][0] == "GET /_fn/jobs?limit=20&state=failed"
    assert run(monkeypatch, "jobs", "list", "--status", "lost", "--url", gateway.url) == 1
    assert "queued, running, done, failed, canceled" in capfd.readouterr().err
