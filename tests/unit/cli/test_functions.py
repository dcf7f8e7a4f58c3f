"""The commands about functions, their values and secrets: what is sent, and what is never shown."""

import io
import json
import sys
from typing import Any

import pytest

from tests.unit.cli.serving import FakeGateway, run

CATALOG: dict[str, Any] = {
    "mapped_routes": {
        "/hello": [
            {"fn_name": "hello", "runtime": "python", "methods": ["GET"]},
            {"fn_name": "hello", "runtime": "python", "methods": ["POST"], "version": "v2"},
        ],
        "/users/:id": [{"fn_name": "users/[id].js", "runtime": "node", "methods": ["GET"]}],
    },
    "runtimes": {
        "python": {"functions": [{"name": "hello", "has_default": True, "versions": ["v2"]}]},
        "node": {"functions": [{"name": "twin", "has_default": True, "versions": []}]},
        "php": {"functions": [{"name": "twin", "has_default": True, "versions": []}]},
    },
}
NAMED = "runtime=python&name=hello"


@pytest.fixture(autouse=True)
def catalog(gateway: FakeGateway) -> None:
    gateway.on("GET /_fn/catalog", (200, CATALOG))


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_list_shows_each_function_once(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "list", "--url", gateway.url) == 0
    lines = [line.split() for line in capfd.readouterr().out.splitlines()]
    assert lines == [
        ["NAME", "RUNTIME", "VERSIONS", "METHODS", "ROUTES"],
        ["hello", "python", "default,", "v2", "GET,POST", "/hello,", "/hello"],
        ["twin", "node", "default"],
        ["twin", "php", "default"],
        ["users/[id].js", "node", "default", "GET", "/users/:id"],
    ]
    assert run(monkeypatch, "list", "--json", "--url", gateway.url) == 0
    assert [each["name"] for each in json.loads(capfd.readouterr().out)["functions"]] == [
        "hello",
        "twin",
        "twin",
        "users/[id].js",
    ]


def test_show_tells_what_is_known_of_a_function_found_by_its_route(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    detail: dict[str, Any] = {
        "name": "users/[id].js",
        "runtime": "node",
        "revision": 3,
        "policy": {"methods": ["GET"], "timeout_ms": 2500, "max_concurrency": 20, "max_body_bytes": 1024},
        "fn_env": {"KEY": {"value": "<hidden>", "is_secret": True}},
        "metadata": {
            "endpoints": {"public_urls": ["http://x/users/:id"]},
            "schedule": {"configured": {"cron": "@daily", "timezone": "UTC"}},
            "dependency_resolution": {"last_install_status": "error", "last_error": "no such package"},
        },
    }
    gateway.on("GET /_fn/function", (200, detail))
    assert run(monkeypatch, "show", "users/:id", "--url", gateway.url) == 0
    assert gateway.asked[-1][0] == "GET /_fn/function?runtime=node&name=users%2F%5Bid%5D.js&include_code=0"
    out = capfd.readouterr().out
    for text in ("users/[id].js (node)", "GET  http://x/users/:id", "2500 ms", "@daily UTC", "KEY=<hidden>", "no such package"):
        assert text in out


def test_show_prints_the_code_alone_when_that_is_asked_for(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/function", (200, {"code": "def handler(event):\n    return {}\n"}))
    assert run(monkeypatch, "show", "hello", "--version", "v2", "--code", "--url", gateway.url) == 0
    assert capfd.readouterr().out == "def handler(event):\n    return {}\n"
    assert gateway.asked[-1][0] == f"GET /_fn/function?{NAMED}&version=v2&include_code=1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["helo"], "did you mean hello?"),
        (["twin"], "say which with --runtime"),
        (["hello", "--runtime", "php"], "not written in php, but in python"),
    ],
)
def test_function_that_is_not_clear_is_one_line(
    arguments: list[str],
    said: str,
    gateway: FakeGateway,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "show", *arguments, "--url", gateway.url) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line


def test_delete_removes_what_was_confirmed_only(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("DELETE /_fn/function", (200, {"ok": True}))
    typed(monkeypatch, "")
    assert run(monkeypatch, "delete", "hello", "--url", gateway.url) == 1
    assert "--yes" in capfd.readouterr().err
    assert gateway.asked[-1][0] == "GET /_fn/catalog"
    assert run(monkeypatch, "delete", "hello", "--yes", "--url", gateway.url) == 0
    assert gateway.asked[-1][0] == f"DELETE /_fn/function?{NAMED}"


def test_refusal_of_a_guard_says_what_opens_it(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("DELETE /_fn/function", (403, {"error": "console write disabled"}))
    assert run(monkeypatch, "delete", "hello", "-y", "--url", gateway.url) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "console write disabled" in line
    assert "FN_CONSOLE_WRITE_ENABLED=1" in line
    assert "FNBUS_TOKEN" in line


def test_env_set_sends_what_was_typed_and_hides_what_was_piped(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("PUT /_fn/function-env", (200, {}))
    typed(monkeypatch, "s3cret\n")
    assert run(monkeypatch, "env", "set", "hello", "A=1=2", "KEY", "--url", gateway.url) == 0
    request, headers, body = gateway.asked[-1]
    assert request == f"PUT /_fn/function-env?{NAMED}"
    assert headers["x-fn-request"] == "1"
    assert json.loads(body) == {"A": "1=2", "KEY": {"value": "s3cret", "is_secret": True}}
    assert "s3cret" not in "".join(capfd.readouterr())


def test_env_rm_sends_nothing_for_each_key(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.on("PUT /_fn/function-env", (200, {}))
    assert run(monkeypatch, "env", "rm", "hello", "A", "B", "--url", gateway.url) == 0
    assert json.loads(gateway.asked[-1][2]) == {"A": None, "B": None}


@pytest.mark.parametrize("key", ["1A=x", "A-B=x", "=x"])
def test_env_set_refuses_what_no_key_can_be(
    key: str, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "env", "set", "hello", key, "--url", gateway.url) == 1
    assert "a key is made of" in capfd.readouterr().err


def test_env_list_shows_values_as_the_gateway_masks_them(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    values = {"B": {"value": "<hidden>", "is_secret": True}, "A": {"value": "1", "is_secret": False}}
    gateway.on("GET /_fn/function-env", (200, {"fn_env": values}))
    assert run(monkeypatch, "env", "list", "hello", "--url", gateway.url) == 0
    assert [line.split() for line in capfd.readouterr().out.splitlines()] == [
        ["KEY", "VALUE", "SECRET"],
        ["A", "1"],
        ["B", "<hidden>", "secret"],
    ]


def test_secret_is_read_from_a_pipe_and_never_shown(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("POST /_fn/secrets", (201, {"status": "created", "key": "K"}))
    typed(monkeypatch, "s3cret\n")
    assert run(monkeypatch, "secret", "set", "K", "--url", gateway.url) == 0
    assert json.loads(gateway.asked[-1][2]) == {"key": "K", "value": "s3cret"}
    assert "s3cret" not in "".join(capfd.readouterr())
    typed(monkeypatch, "")
    assert run(monkeypatch, "secret", "set", "K", "--url", gateway.url) == 1


def test_secrets_are_listed_and_removed_by_their_keys(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/secrets", (200, [{"key": "K", "created": 1_760_000_000_000}]))
    gateway.on("DELETE /_fn/secrets", (200, {"status": "deleted", "key": "K"}))
    assert run(monkeypatch, "secret", "list", "--url", gateway.url) == 0
    assert "2025-10-0" in capfd.readouterr().out
    assert run(monkeypatch, "secret", "rm", "K", "L", "--url", gateway.url) == 0
    assert [request for request, _, _ in gateway.asked[-2:]] == ["DELETE /_fn/secrets?key=K", "DELETE /_fn/secrets?key=L"]


def test_docs_prints_the_address_of_a_page_that_is_there(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/docs", (200, b"<html>"), (404, {"error": "docs disabled"}))
    assert run(monkeypatch, "docs", "--url", gateway.url) == 0
    assert capfd.readouterr().out == f"{gateway.url}/_fn/docs\n"
    assert run(monkeypatch, "docs", "--url", gateway.url) == 1
    assert "FN_DOCS_ENABLED=1" in capfd.readouterr().err


def test_names_are_completed_where_a_platform_answers(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def complete(url: str) -> list[str]:
        monkeypatch.setenv("FNBUS_URL", url)
        monkeypatch.setenv("_FNBUS_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "fnbus show t")
        monkeypatch.setenv("COMP_CWORD", "2")
        assert run(monkeypatch) == 0
        return capfd.readouterr().out.split()

    assert complete(gateway.url) == ["twin"]
    assert complete("http://127.0.0.1:9") == []
