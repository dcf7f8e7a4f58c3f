"""What an executor is told in its environment."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.executor import settings
from services.executor.settings import ExecutorSettings


def test_fenced_ports_are_read_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FNBUS_FENCED_PORTS", "4222, 8080")
    assert ExecutorSettings().fenced_ports == (4222, 8080)


def test_fence_is_around_the_platforms_ports_unless_told_otherwise() -> None:
    told = ExecutorSettings(nats_url="nats://127.0.0.1:4999", ops_port=9100, fenced_ports=(8080,))
    assert settings.fenced(told) == {4999, 9100, 8080}
    assert settings.fenced(ExecutorSettings()) == {4222}
    assert settings.fenced(ExecutorSettings(nats_url="nats://a:1, nats://127.0.0.1:4998")) == {1, 4998}
    assert settings.fenced(ExecutorSettings(fence="machine", fenced_ports=(8080,))) == frozenset()


@pytest.mark.parametrize("text", ["web", "0", "70000", "1-2"])
def test_fenced_ports_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FNBUS_FENCED_PORTS", text)
    with pytest.raises(ValidationError, match="fenced_ports"):
        ExecutorSettings()


@pytest.mark.parametrize(("bound", "expected"), [("1000000", 800_000), ("max", None), ("9223372036854771712", None)])
def test_workers_have_no_more_memory_than_their_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, expected: int | None
) -> None:
    unbounded = settings.memory_budget(ExecutorSettings())
    (tmp_path / "bound").write_text(f"{bound}\n")
    monkeypatch.setattr(settings, "_CONTAINER_BOUNDS", (tmp_path / "bound",))
    found = settings.memory_budget(ExecutorSettings())
    assert found == expected if expected else found > unbounded // 2


def test_workers_of_a_language_may_stay_for_a_time_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PY", "1000"), ("NODE", "2000"), ("PHP", "3000"), ("RUST", "500")):
        monkeypatch.setenv(f"FN_{name}_POOL_IDLE_TTL_MS", value)
    assert settings.idle_seconds(ExecutorSettings()) == {"python": 1.0, "node": 2.0, "php": 3.0, "rust": 0.5}
    assert settings.idle_seconds(ExecutorSettings(py_pool_idle_ttl_ms=0, node_pool_idle_ttl_ms=0)) == {"php": 3.0, "rust": 0.5}


def test_languages_may_be_kept_from_installing_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.uninstalled(ExecutorSettings()) == frozenset()
    for name in ("REQUIREMENTS", "NODE_DEPS", "PHP_DEPS"):
        monkeypatch.setenv(f"FN_AUTO_{name}", "0")
    assert settings.uninstalled(ExecutorSettings()) == {"python", "node", "php"}


def test_programs_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.programs(ExecutorSettings()) == {}
    for name in ("node", "deno", "php", "composer"):
        monkeypatch.setenv(f"FN_{name.upper()}_BIN", f"/opt/{name}")
    assert settings.programs(ExecutorSettings()) == {name: Path(f"/opt/{name}") for name in ("node", "deno", "php", "composer")}


def test_functions_may_read_what_is_there_and_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FN_STRICT_FS_ALLOW", f"{tmp_path}, relative, {tmp_path / 'missing'}")
    assert settings.allowed(ExecutorSettings()) == (tmp_path,)


def test_jobs_at_once_have_fastfns_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FN_JOBS_MAX_CONCURRENCY", "2")
    assert ExecutorSettings().job_slots == 2
