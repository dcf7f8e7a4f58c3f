"""What the doctor finds on this machine, and what it makes of a broken one."""

import json
import socket
from pathlib import Path

import pytest

from cli import doctor, preflight
from cli.checks import Verdict
from cli.doctor import Circumstances
from tests.unit.cli.serving import run


def _circumstances(tmp_path: Path, *, folder: Path | None = None, port: int = 0) -> Circumstances:
    return Circumstances(folder=folder, data=tmp_path / "state", host="127.0.0.1", port=port)


async def test_doctor_finds_what_this_platform_needs(tmp_path: Path) -> None:
    found = {finding.id: finding for finding in await doctor.examine(_circumstances(tmp_path))}
    assert {"system.python", "system.nats-server", "system.isolation", "project.port", "state.folder"} <= found.keys()
    assert found["system.python"].verdict is Verdict.OK
    assert found["project.port"].verdict is Verdict.OK
    assert found["state.folder"].verdict is Verdict.OK


async def test_doctor_says_which_limits_are_in_force(tmp_path: Path) -> None:
    (finding,) = [each for each in await doctor.examine(_circumstances(tmp_path)) if each.id == "system.isolation"]
    if finding.verdict is not Verdict.OK:
        assert "without a sandbox" in finding.text
        return
    assert finding.text.startswith("bubblewrap, ")
    for some in (("seccomp", "no seccomp"), ("cgroup v1", "cgroup v2", "rlimits and watchdog"), ("fence", "no fence")):
        assert any(f", {each}" in finding.text for each in some), some


async def test_doctor_warns_when_functions_are_to_run_without_a_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FNBUS_ISOLATION", "process")
    (finding,) = [each for each in await doctor.examine(_circumstances(tmp_path)) if each.id == "system.isolation"]
    assert (finding.verdict, "FNBUS_ISOLATION says so" in finding.text) == (Verdict.WARN, True)


async def test_doctor_says_that_a_program_that_a_setting_names_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FN_PHP_BIN", "/nope")
    monkeypatch.setenv("FNBUS_NODE_BIN", "/nope")
    found = {finding.id: finding for finding in await doctor.examine(_circumstances(tmp_path))}
    for language in ("php", "node"):
        finding = found[f"runtime.{language}"]
        assert (finding.verdict, f"FNBUS_{language.upper()}_BIN names /nope" in finding.text) == (Verdict.WARN, True)
        assert f"FN_{language.upper()}_BIN" in finding.hint


async def test_doctor_tells_problems_of_a_functions_folder(tmp_path: Path) -> None:
    functions = tmp_path / "functions"
    (functions / "broken").mkdir(parents=True)
    (functions / "get.hello.py").write_text("def handler(event):\n    return {}\n")
    (functions / "broken" / "handler.py").write_text("def handler(event):\n    return {}\n")
    (functions / "broken" / "fn.config.json").write_text("{not json")
    findings = await doctor.examine(_circumstances(tmp_path, folder=functions))
    texts = [finding.text for finding in findings if finding.id.startswith("project.")]
    assert any("2 functions" in text for text in texts), texts
    assert any("broken/fn.config.json" in text for text in texts), texts


async def test_doctor_warns_when_the_port_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        findings = await doctor.examine(_circumstances(tmp_path, port=port))
    (finding,) = [finding for finding in findings if finding.id == "project.port"]
    assert finding.verdict is Verdict.WARN
    assert str(port) in finding.text


def test_doctor_returns_1_and_prints_json_when_something_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(_circumstances(tmp_path, folder=tmp_path / "missing"), json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["scope"] == "local"
    assert told["summary"]["fail"] == 1
    assert {
        "domain": "project",
        "id": "project.functions_dir",
        "status": "FAIL",
        "message": f"there is no folder {tmp_path / 'missing'}",
        "hint": "--fix makes it",
        "details": {},
    } in told["checks"]


def test_doctor_shows_one_line_per_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doctor.run(_circumstances(tmp_path), json=False)
    shown = capsys.readouterr().out
    assert "OK    system.python" in shown
    assert "state.folder" in shown


def test_doctor_mends_what_it_can_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    state, config = tmp_path / "state", tmp_path / "config.toml"
    state.mkdir(mode=0o755)
    (state / "secret-keys").write_text("k:AAAA")
    (state / "secret-keys").chmod(0o644)
    (state / "lock").write_text("999999999\n")
    config.write_text("")
    config.chmod(0o644)
    monkeypatch.setenv("FNBUS_CONFIG", str(config))
    monkeypatch.setenv("FNBUS_URL", "")
    assert run(monkeypatch, "doctor", str(tmp_path / "new"), "--data", str(state), "--port", "0", "--fix", "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert len(told["fixed"]) == 5, told["fixed"]
    assert (tmp_path / "new").is_dir()
    assert [path.stat().st_mode & 0o777 for path in (state, state / "secret-keys", config)] == [0o700, 0o600, 0o600]
    assert not (state / "lock").exists()
    assert not [each for each in told["checks"] if each["id"].startswith(("state", "profiles")) and each["status"] != "OK"]


def test_doctor_leaves_the_lock_of_a_run_alone(tmp_path: Path) -> None:
    with preflight.hold_state(tmp_path / "state"):
        assert doctor.run(_circumstances(tmp_path), json=True, fix=True) == 0
        assert (tmp_path / "state" / "lock").exists()


def test_doctor_warns_of_what_a_project_says_in_vain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "fastfn.json").write_text('{"functions-dir": "api", "runtime-daemons": {}}')
    assert doctor.run(_circumstances(tmp_path, folder=tmp_path), json=False) == 0
    shown = capsys.readouterr().out
    assert "not used: runtime-daemons" in shown
    assert f"0 functions, 0 routes in {tmp_path / 'api'}" in shown


def test_doctor_says_what_is_wrong_with_a_domain(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "doctor", "domains", "--domain", "not a domain", "--json") == 1
    told = json.loads(capfd.readouterr().out)
    assert told["scope"] == "domains"
    assert [(each["domain"], each["id"], each["status"]) for each in told["checks"]] == [("domain", "domain.format", "FAIL")]
    assert run(monkeypatch, "doctor", "domains") == 1
    assert "--domain" in capfd.readouterr().err
