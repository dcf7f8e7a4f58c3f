"""Settings: what the environment says, and what is said when it is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from libs import settings

_ROOT = Path(__file__).parents[3]

_PROGRAM = """
from pydantic import SecretStr, field_validator
from libs.settings import ServiceSettings, load

class Settings(ServiceSettings):
    hosts: list[str] = []
    token: SecretStr = SecretStr("")

    @field_validator("token")
    @classmethod
    def long(cls, value):
        if value and len(value.get_secret_value()) < 8:
            raise ValueError("is too short")
        return value

print(load(Settings).model_dump_json())
"""


def _load(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=tmp_path,
        env={"PYTHONPATH": str(_ROOT), "PATH": os.environ["PATH"], **environment},
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FNBUS_OPS_PORT", "99999"),
        ("FNBUS_OPS_PORT", "http"),
        ("FNBUS_LOG_LEVEL", "loud"),
        ("FNBUS_DRAIN_SECONDS", "-1"),
        ("FNBUS_MAX_BODY_BYTES", "6MiB"),
        ("FNBUS_EXIT_WITH_PARENT", "perhaps"),
    ],
)
def test_load_names_the_setting_and_exits_with_2_when_a_value_is_wrong(tmp_path: Path, name: str, value: str) -> None:
    done = _load(tmp_path, **{name: value})
    assert done.returncode == 2
    assert done.stderr.startswith(f"fnbus: setting {name}: ")
    assert f"(got {value!r})" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_load_names_every_setting_that_is_wrong(tmp_path: Path) -> None:
    done = _load(tmp_path, FNBUS_OPS_PORT="http", FNBUS_LOG_FORMAT="xml")
    assert done.returncode == 2
    assert "FNBUS_OPS_PORT" in done.stderr
    assert "FNBUS_LOG_FORMAT" in done.stderr


def test_load_keeps_a_secret_to_itself_when_its_value_is_wrong(tmp_path: Path) -> None:
    done = _load(tmp_path, FNBUS_TOKEN="hush")
    assert done.returncode == 2
    assert "FNBUS_TOKEN: is too short" in done.stderr
    assert "hush" not in done.stderr


def test_load_exits_with_2_when_a_list_is_not_json(tmp_path: Path) -> None:
    done = _load(tmp_path, FNBUS_HOSTS="a,b")
    assert done.returncode == 2
    assert "hosts" in done.stderr
    assert "Traceback" not in done.stderr


def test_load_takes_the_standard_name_for_the_collector(tmp_path: Path) -> None:
    done = _load(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318", FNBUS_NATS_URL="nats://a:1", FNBUS_OPS_PORT="0")
    assert done.returncode == 0, done.stderr
    assert '"otlp_endpoint":"http://127.0.0.1:4318"' in done.stdout
    assert '"nats_url":"nats://a:1"' in done.stdout


def test_key_ring_that_is_none_is_named_and_no_key_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FNBUS_SECRET_KEYS", "k1:c2VjcmV0")

    with pytest.raises(SystemExit) as ended:
        settings.load(settings.ServiceSettings)

    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("fnbus: setting FNBUS_SECRET_KEYS: ")
    assert "k1" in said
    assert "c2VjcmV0" not in said
