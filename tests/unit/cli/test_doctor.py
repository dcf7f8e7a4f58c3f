"""What the doctor finds on this machine, and what it makes of a broken one."""

import json
import socket
from pathlib import Path

import pytest

from cli import doctor
from cli.doctor import Circumstances, Verdict


def _circumstances(tmp_path: Path, *, folder: Path | None = None, port: int = 0) -> Circumstances:
    return Circumstances(folder=folder, data=tmp_path / "state", host="127.0.0.1", port=port)


async def test_doctor_finds_what_this_platform_needs(tmp_path: Path) -> None:
    found = {finding.subject: finding for finding in await doctor.examine(_circumstances(tmp_path))}
    assert {"python", "nats-server", "isolation", "port", "state"} <= found.keys()
    assert found["python"].verdict is Verdict.OK
    assert found["port"].verdict is Verdict.OK
    assert found["state"].verdict is Verdict.OK


async def test_doctor_tells_problems_of_a_functions_folder(tmp_path: Path) -> None:
    functions = tmp_path / "functions"
    (functions / "broken").mkdir(parents=True)
    (functions / "get.hello.py").write_text("def handler(event):\n    return {}\n")
    (functions / "broken" / "handler.py").write_text("def handler(event):\n    return {}\n")
    (functions / "broken" / "fn.config.json").write_text("{not json")
    findings = await doctor.examine(_circumstances(tmp_path, folder=functions))
    texts = [finding.text for finding in findings if finding.subject == "functions"]
    assert any("2 functions" in text for text in texts), texts
    assert any("broken/fn.config.json" in text for text in texts), texts


async def test_doctor_warns_when_the_port_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        findings = await doctor.examine(_circumstances(tmp_path, port=port))
    (finding,) = [finding for finding in findings if finding.subject == "port"]
    assert finding.verdict is Verdict.WARN
    assert str(port) in finding.text


def test_doctor_returns_1_and_prints_json_when_something_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(_circumstances(tmp_path, folder=tmp_path / "missing"), json=True) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {
        "subject": "functions",
        "verdict": "FAIL",
        "text": f"there is no folder {tmp_path / 'missing'}",
        "hint": "",
    } in findings


def test_doctor_shows_one_line_per_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doctor.run(_circumstances(tmp_path), json=False)
    shown = capsys.readouterr().out
    assert "OK    python" in shown
    assert "state" in shown
