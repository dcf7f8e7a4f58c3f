"""`fnbus export` and `fnbus import` against a gateway that is a few lines: what is asked, written, sent and said."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from cli import archive
from tests.unit.cli.serving import FakeGateway, run

CODE, PICTURE = b"code", b"\xff\x00"
LISTED: list[dict[str, Any]] = [
    {"path": "hello/fn.env.json", "size": 20, "sha256": None, "keys": ["COLOUR", "KEY"]},
    {"path": "hello/handler.py", "size": 4, "sha256": hashlib.sha256(CODE).hexdigest()},
    {"path": "hello/node_modules/x.js", "size": 4, "sha256": "0"},
    {"path": "hello/x.png", "size": 2, "sha256": hashlib.sha256(PICTURE).hexdigest()},
]
ALIASES = [
    {
        "runtime": "python",
        "name": "hello",
        "aliases": [
            {"alias": "canary", "versions": [{"version": "default", "weight": 90}, {"version": "v2", "weight": 10}]},
            {"alias": "old", "versions": [{"version": "0123456789ab", "weight": 1, "digest": "0123456789abcdef"}]},
        ],
    }
]
PAGES = (
    (200, {"files": [{"path": "hello/handler.py", "content": "code"}], "has_more": True}),
    (200, {"files": [{"path": "hello/x.png", "content_base64": "/wA="}], "has_more": False}),
)


@pytest.fixture(autouse=True)
def platform(gateway: FakeGateway) -> None:
    gateway.on("GET /_fn/files", (200, {"files": LISTED, "namespace": "shop"}), *PAGES)
    gateway.on("GET /_fn/secrets", (200, [{"key": "TOKEN"}]))
    gateway.on("GET /_fn/aliases", (200, {"functions": ALIASES}))
    gateway.on("PUT /_fn/aliases", (200, {}))


@pytest.fixture
def backup(gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What an export wrote."""
    file = tmp_path / "backup.zip"
    assert run(monkeypatch, "export", str(file), "--url", gateway.url) == 0
    gateway.asked.clear()
    gateway.on("GET /_fn/files", (200, {"files": []}))
    gateway.on("PUT /_fn/files", (200, {"changed": ["hello/handler.py", "hello/x.png"], "functions": []}))
    gateway.on("GET /_fn/secrets", (200, []))
    gateway.on("GET /_fn/aliases", (200, {"functions": []}))
    return file


def test_export_writes_files_and_names_what_is_left_out(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "backup.zip"
    assert run(monkeypatch, "export", str(file), "--url", gateway.url) == 0
    found = archive.unpack(file.read_bytes())
    assert {item.path: item.data for item in found.items} == {"hello/handler.py": CODE, "hello/x.png": PICTURE}
    assert (found.about.namespace, found.about.secrets) == ("shop", ("TOKEN",))
    assert found.about.values == {"hello/fn.env.json": ("COLOUR", "KEY")}
    assert [request for request, _, _ in gateway.asked][:3] == [
        "GET /_fn/files",
        "GET /_fn/files?contents=1",
        "GET /_fn/files?contents=1&after=hello%2Fhandler.py",
    ]
    err = capfd.readouterr().err
    assert "hello/fn.env.json: COLOUR, KEY" in err
    assert "secrets: TOKEN" in err
    assert "the alias hello@old is not in it" in err
    assert [str(each) for each in found.about.aliases] == ["hello@canary"]
    assert "exported 2 files" in err
    assert [path.name for path in tmp_path.iterdir()] == ["backup.zip"]


def test_export_replaces_a_file_only_when_told(
    backup: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = backup.read_bytes()
    assert run(monkeypatch, "export", str(backup), "--url", gateway.url) == 1
    assert "--force" in capfd.readouterr().err
    assert (backup.read_bytes(), gateway.asked) == (before, [])
    gateway.on("GET /_fn/files", (200, {"files": [], "has_more": False}))
    assert run(monkeypatch, "export", str(backup), "--force", "--json", "--url", gateway.url) == 0
    assert json.loads(capfd.readouterr().out)["files"] == 0
    assert backup.read_bytes() != before


def test_export_of_files_that_change_meanwhile_writes_nothing(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/files", (200, {"files": LISTED}), (200, {"files": [], "has_more": False}))
    assert run(monkeypatch, "export", str(tmp_path / "backup.zip"), "--url", gateway.url) == 1
    assert "changed while they were read" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_export_from_a_platform_that_shows_no_contents_is_one_line(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/files", (200, {"files": LISTED}))
    assert run(monkeypatch, "export", str(tmp_path / "backup.zip"), "--url", gateway.url) == 1
    assert "older than this command" in capfd.readouterr().err


def test_export_returns_1_when_a_file_cannot_be_in_it(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    large = {"path": "hello/large.bin", "size": 5_000_000, "sha256": "0"}
    gateway.on("GET /_fn/files", (200, {"files": [*LISTED, large]}), *PAGES)
    assert run(monkeypatch, "export", str(tmp_path / "backup.zip"), "--url", gateway.url) == 1
    assert "hello/large.bin is not in it" in capfd.readouterr().err
    assert archive.unpack((tmp_path / "backup.zip").read_bytes()).about.not_exported == ("hello/large.bin",)


def test_import_sends_what_differs_and_names_what_is_not_set(
    backup: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    there = [LISTED[1], {"path": "hello/fn.env.json", "size": 9, "sha256": None, "keys": ["COLOUR"]}]
    gateway.on("GET /_fn/files", (200, {"files": there}))
    gateway.on("PUT /_fn/files", (200, {"changed": ["hello/x.png"], "functions": []}))
    assert run(monkeypatch, "import", str(backup), "--json", "--url", gateway.url) == 0
    sent = [json.loads(body) for request, _, body in gateway.asked if request.startswith("PUT")]
    assert sent == [
        {"put": {"hello/x.png": {"content_base64": "/wA="}}, "remove": []},
        {"runtime": "python", "name": "hello", "alias": "canary", "versions": {"default": 90, "v2": 10}},
    ]
    told = json.loads(capfd.readouterr().out)
    assert told["changed"] == ["hello/x.png"]
    assert told["values_to_set"] == {"hello/fn.env.json": ["KEY"]}
    assert told["secrets_to_set"] == ["TOKEN"]


def test_import_of_what_is_there_sends_nothing(
    backup: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET /_fn/files", (200, {"files": LISTED}))
    gateway.on("GET /_fn/secrets", (200, [{"key": "TOKEN"}]))
    gateway.on("GET /_fn/aliases", (200, {"functions": ALIASES}))
    assert run(monkeypatch, "import", str(backup), "--url", gateway.url) == 0
    assert not [request for request, _, _ in gateway.asked if request.startswith("PUT")]
    err = capfd.readouterr().err
    assert "nothing has changed" in err
    assert "not set" not in err


def test_import_asks_nothing_when_the_file_has_a_fault(
    backup: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    backup.write_bytes(backup.read_bytes()[:-30])
    assert run(monkeypatch, "import", str(backup), "--url", gateway.url) == 1
    assert run(monkeypatch, "import", str(backup.with_name("none.zip")), "--url", gateway.url) == 1
    assert gateway.asked == []
    assert "no archive of fnbus" in capfd.readouterr().err


def test_import_only_says_what_would_change_when_told(
    backup: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "import", str(backup), "--dry-run", "--url", gateway.url) == 0
    assert [request for request, _, _ in gateway.asked if request.startswith("PUT")] == ["PUT /_fn/files?dry_run=1"]
    out, err = capfd.readouterr()
    assert "+ alias hello@canary" in out
    assert "nothing was done" in err


def test_import_returns_1_when_an_alias_cannot_be_set(
    backup: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.on("PUT /_fn/aliases", (404, {"error": "hello has no version v2"}))
    assert run(monkeypatch, "import", str(backup), "--url", gateway.url) == 1
    assert "hello has no version v2" in capfd.readouterr().err
