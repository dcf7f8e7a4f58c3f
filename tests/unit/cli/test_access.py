"""Profiles and logins as a person types them: what is kept, what is sent, what is never shown."""

import io
import json
import sys
from pathlib import Path

import pytest

from cli import profiles
from tests.unit.cli.serving import FakeGateway, run


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The profiles file."""
    monkeypatch.setenv("FNBUS_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path / "config.toml"


def piped(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_profile_is_used_with_its_token_from_then_on(
    file: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/catalog", (200, {}))
    piped(monkeypatch, "t0ken\n")
    assert run(monkeypatch, "profile", "add", "prod", "--url", gateway.url, "--token-stdin", "--use") == 0
    assert run(monkeypatch, "list") == 0
    assert gateway.asked[-1][1]["x-fn-admin-token"] == "t0ken"
    assert run(monkeypatch, "profile", "list") == 0
    assert run(monkeypatch, "profile", "list", "--json") == 0
    assert "t0ken" not in "".join(capfd.readouterr())
    assert file.stat().st_mode & 0o777 == 0o600


def test_profile_forgets_its_token_when_its_url_changes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, "t0ken")
    assert run(monkeypatch, "profile", "add", "prod", "--url", "http://a.example", "--token-stdin") == 0
    assert run(monkeypatch, "profile", "add", "prod", "--url", "http://a.example", "--use") == 0
    assert profiles.load(file).profiles["prod"].token == "t0ken"
    assert run(monkeypatch, "profile", "add", "prod", "--url", "http://b.example") == 0
    assert profiles.load(file).profiles["prod"].token == ""


def test_profile_is_removed_and_no_longer_in_use(
    file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "profile", "add", "prod", "--url", "http://a.example", "--use") == 0
    assert run(monkeypatch, "profile", "use", "other") == 1
    assert "there is no profile other" in capfd.readouterr().err
    assert run(monkeypatch, "profile", "rm", "prod") == 0
    assert profiles.load(file) == profiles.Book()


@pytest.mark.parametrize("url", ["a.example", "ftp://a.example"])
def test_profile_is_refused_when_its_url_is_none(file: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "profile", "add", "prod", "--url", url) == 1
    assert not file.exists()


def test_login_keeps_the_session_and_sends_it(
    file: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("POST /_fn/login", (200, {"ok": True, "user": "ada"}))
    gateway.headers["POST /_fn/login"] = {"set-cookie": "fastfn_session=abc.def; HttpOnly; SameSite=Lax; Path=/"}
    gateway.on("POST /_fn/logout", (200, {"ok": True}))
    gateway.on("GET /_fn/catalog", (200, {}))
    assert run(monkeypatch, "profile", "add", "prod", "--url", gateway.url, "--use") == 0
    piped(monkeypatch, "pass word\n")
    assert run(monkeypatch, "login", "-u", "ada", "--password-stdin") == 0
    assert json.loads(gateway.asked[-1][2]) == {"username": "ada", "password": "pass word"}
    assert run(monkeypatch, "list") == 0
    assert gateway.asked[-1][1]["cookie"] == "fastfn_session=abc.def"
    assert run(monkeypatch, "logout") == 0
    assert gateway.asked[-1][0] == "POST /_fn/logout"
    assert profiles.load(file).profiles["prod"].session == ""
    assert "abc.def" not in "".join(capfd.readouterr())


def test_login_to_a_url_makes_a_profile_named_by_its_host(
    file: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.on("POST /_fn/login", (200, {"ok": True}))
    gateway.headers["POST /_fn/login"] = {"set-cookie": "fastfn_session=abc; Path=/"}
    piped(monkeypatch, "x")
    assert run(monkeypatch, "login", "-u", "ada", "--password-stdin", "--url", gateway.url) == 0
    known = profiles.load(file).profiles["127.0.0.1"]
    assert (known.url, known.session) == (gateway.url, "fastfn_session=abc")


def test_session_that_has_ended_is_one_line_that_says_how_to_go_on(
    file: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    known = profiles.Profile(name="prod", url=gateway.url, session="fastfn_session=old")
    profiles.save(file, profiles.Book(current="prod", profiles={"prod": known}))
    gateway.on("GET /_fn/catalog", (401, {"error": "login required"}))
    assert run(monkeypatch, "list") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "the session has ended: log in again with `fnbus login`" in line


def test_login_asks_for_options_when_there_is_no_terminal(
    file: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    piped(monkeypatch, "")
    assert run(monkeypatch, "login", "--url", gateway.url) == 1
    assert "--username" in capfd.readouterr().err
    assert gateway.asked == []
    assert not file.exists()
