"""`fnbus deploy` against a gateway that is a few lines: what is sent, waited for, said and returned."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.serving import FakeGateway, run

HELLO: dict[str, Any] = {"runtime": "python", "name": "hello", "version": None}


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A folder with one function."""
    (tmp_path / "functions" / "hello").mkdir(parents=True)
    (tmp_path / "functions" / "hello" / "handler.py").write_text("code")
    return str(tmp_path / "functions")


def state(status: str, **more: str) -> tuple[int, Any]:
    return 200, {"metadata": {"dependency_resolution": {"last_install_status": status, **more}}}


@pytest.fixture(autouse=True)
def empty(gateway: FakeGateway) -> None:
    gateway.on("GET /_fn/files", (200, {"files": []}))
    gateway.on("PUT /_fn/files", (200, {"changed": ["hello/handler.py"], "functions": [HELLO]}))
    gateway.on("GET /_fn/function", state("skipped"))


def test_deploy_sends_what_differs_and_says_what_it_did(
    folder: str, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "deploy", folder, "--url", gateway.url) == 0
    (sent,) = [json.loads(body) for request, _, body in gateway.asked if request.startswith("PUT")]
    assert sent == {"put": {"hello/handler.py": {"content": "code"}}, "remove": []}
    out, err = capfd.readouterr()
    assert out == "+ hello/handler.py\n"
    assert f"deployed 1 file to {gateway.url}" in err


def test_deploy_sends_nothing_when_all_is_the_same(
    folder: str, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    digest = "5694d08a2e53ffcae0c3103e5ad6f6076abd960eb1f8a56577040bc1028f702b"
    gateway.on("GET /_fn/files", (200, {"files": [{"path": "hello/handler.py", "sha256": digest}]}))
    assert run(monkeypatch, "deploy", folder, "--url", gateway.url) == 0
    assert not [request for request, _, _ in gateway.asked if request.startswith("PUT")]
    assert "nothing has changed" in capfd.readouterr().err


def test_deploy_waits_for_dependencies_and_shows_who_installs_them(
    folder: str, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/function", state("pending", tool="pip 25"), state("ok"))
    assert run(monkeypatch, "deploy", folder, "--url", gateway.url) == 0
    assert "hello: its dependencies are being installed with pip 25" in capfd.readouterr().err


def test_deploy_returns_1_with_the_tool_s_last_lines_when_they_cannot_be_installed(
    folder: str, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/function", state("error", last_error="ERROR: no such package\nexit code 1"))
    assert run(monkeypatch, "deploy", folder, "--url", gateway.url) == 1
    err = capfd.readouterr().err
    assert "hello is not ready" in err
    assert "ERROR: no such package" in err
    assert run(monkeypatch, "deploy", folder, "--json", "--url", gateway.url) == 1
    assert json.loads(capfd.readouterr().out)["failed"][0]["function"] == "hello"


def test_deploy_returns_1_when_something_does_not_work_as_written(
    folder: str, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    problem = {"path": "hello/fn.config.json", "message": "is not JSON"}
    gateway.on("PUT /_fn/files", (200, {"changed": ["hello/handler.py"], "functions": [], "problems": [problem]}))
    assert run(monkeypatch, "deploy", folder, "--url", gateway.url) == 1
    assert "hello/fn.config.json: is not JSON" in capfd.readouterr().err


def test_deploy_leaves_what_is_only_there_unless_it_is_to_go(
    folder: str, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/files", (200, {"files": [{"path": "hello/old.py", "sha256": "1"}]}))
    assert run(monkeypatch, "deploy", folder, "--url", gateway.url) == 0
    assert json.loads(next(body for request, _, body in gateway.asked if request.startswith("PUT")))["remove"] == []
    assert "--prune" in capfd.readouterr().err
    assert run(monkeypatch, "deploy", folder, "--prune", "--url", gateway.url) == 0
    sent = [json.loads(body) for request, _, body in gateway.asked if request.startswith("PUT")]
    assert sent[-1]["remove"] == ["hello/old.py"]


def test_dry_run_asks_what_would_change(
    folder: str, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "deploy", folder, "--dry-run", "--url", gateway.url) == 0
    assert gateway.asked[-1][0] == "PUT /_fn/files?dry_run=1"
    assert "nothing was done" in capfd.readouterr().err


def test_deploy_goes_on_after_a_pause_that_the_gateway_asks_for(
    folder: str, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.deploy._LONGEST_PAUSE_SECONDS", 0.01)
    done = (200, {"changed": ["hello/handler.py"], "functions": []})
    gateway.on("PUT /_fn/files", (429, {"error": "too many console requests, try again later"}), done)
    assert run(monkeypatch, "deploy", folder, "--url", gateway.url) == 0


def test_deploy_of_nothing_is_one_line(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run(monkeypatch, "deploy", str(tmp_path / "empty"), "--url", gateway.url) == 1
    assert "there are no functions in" in capfd.readouterr().err
    assert gateway.asked == []


def test_deploy_asks_for_nothing_that_is_said_to_be_ready(
    folder: str, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = HELLO | {"name": "other", "ready": False}
    done = {"changed": ["hello/handler.py"], "functions": [HELLO | {"ready": True}, other]}
    gateway.on("PUT /_fn/files", (200, done))
    assert run(monkeypatch, "deploy", folder, "--url", gateway.url) == 0
    asked = [request for request, _, _ in gateway.asked if request.startswith("GET /_fn/function")]
    assert len(asked) == 1
    assert "name=other" in asked[0]
