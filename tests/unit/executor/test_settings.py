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
