"""Versions, rollback, aliases and the audit trail, as a person types them."""

import json

import pytest

from tests.unit.cli.serving import FakeGateway, run

CATALOG = {"mapped_routes": {"/hello": [{"runtime": "python", "fn_name": "get.hello.py", "methods": ["GET"]}]}}
ALIASES = {
    "aliases": [
        {
            "alias": "canary",
            "versions": [
                {"version": "default", "weight": 90, "percent": 90.0, "digest": "a" * 64},
                {"version": "v9", "weight": 10, "percent": 0, "digest": None},
            ],
        }
    ]
}


@pytest.fixture(autouse=True)
def catalog(gateway: FakeGateway) -> None:
    gateway.on("GET /_fn/catalog", (200, CATALOG))


def test_versions_shows_what_runs_and_what_was_rolled_back(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    version = {"digest": "b" * 64, "version": "default", "labels": ["default"], "created_at_ms": 1, "by": "folder"}
    pins = [{"version": "default", "by": "ada"}]
    gateway.on("GET /_fn/versions", (200, {"versions": [version], "pins": pins}))

    assert run(monkeypatch, "versions", "hello", "--url", gateway.url) == 0

    out, err = capfd.readouterr()
    assert "bbbbbbbbbbbb  default  runs as default" in out
    assert "rolled back by ada" in err
    assert "name=get.hello.py" in gateway.asked[-1][0]


@pytest.mark.parametrize(
    ("typed", "body"),
    [
        (("hello",), {"name": "get.hello.py", "version": "default"}),
        (("hello", "abcd1234", "--version", "v2"), {"name": "get.hello.py", "version": "v2", "digest": "abcd1234"}),
    ],
)
def test_rollback_asks_for_what_was_typed(
    gateway: FakeGateway,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    typed: tuple[str, ...],
    body: dict[str, str],
) -> None:
    done = {"version": "default", "digest": "c" * 64, "before": "d" * 64, "pinned": True, "note": "stays"}
    gateway.on("POST /_fn/rollback", (200, done))

    assert run(monkeypatch, "rollback", *typed, "--url", gateway.url) == 0

    assert json.loads(gateway.asked[-1][2]) == body
    out, err = capfd.readouterr()
    assert out == "get.hello.py@default runs cccccccccccc (was dddddddddddd)\n"
    assert err == "stays\n"


def test_rollback_undo_gives_the_label_back(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.on("DELETE /_fn/rollback", (200, {"version": "default", "digest": "c", "before": "d", "pinned": False}))

    assert run(monkeypatch, "rollback", "hello", "--undo", "--json", "--url", gateway.url) == 0
    assert run(monkeypatch, "rollback", "hello", "abcd1234", "--undo", "--url", gateway.url) == 1


def test_alias_set_sends_weights_and_shows_shares(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("PUT /_fn/aliases", (200, ALIASES))

    assert run(monkeypatch, "alias", "set", "hello", "canary", "default=90", "v9", "--url", gateway.url) == 0

    sent = json.loads(gateway.asked[-1][2])
    assert sent == {"name": "get.hello.py", "alias": "canary", "versions": {"default": 90, "v9": 100}}
    out = capfd.readouterr().out
    assert "90 %" in out
    assert "is gone" in out


def test_alias_with_a_weight_that_is_no_number_is_refused(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "alias", "set", "hello", "canary", "default=much", "--url", gateway.url) == 1


def test_alias_list_and_rm_ask_for_the_function(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.on("GET /_fn/aliases", (200, ALIASES))
    gateway.on("DELETE /_fn/aliases", (200, {"aliases": []}))

    assert run(monkeypatch, "alias", "list", "hello", "--json", "--url", gateway.url) == 0
    assert run(monkeypatch, "alias", "rm", "hello", "canary", "--url", gateway.url) == 0
    assert "alias=canary" in gateway.asked[-1][0]


def test_audit_shows_who_did_what_and_how_to_go_on(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    record = {"at_ms": 1, "principal": "ada", "ip": "127.0.0.1", "action": "alias.set", "name": "x", "changed": ["a", "b"]}
    gateway.on("GET /_fn/audit", (200, {"records": [record], "next": "42"}))

    assert run(monkeypatch, "audit", "--url", gateway.url) == 0

    out, err = capfd.readouterr()
    assert "ada 127.0.0.1" in out
    assert "a, b" in out
    assert "--before 42" in err
