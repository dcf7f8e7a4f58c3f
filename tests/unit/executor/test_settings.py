"""What an executor is told in its environment."""

import pytest
from pydantic import ValidationError

from services.executor.settings import ExecutorSettings


def test_fenced_ports_are_read_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FNBUS_FENCED_PORTS", "4222, 8080")
    assert ExecutorSettings().fenced_ports == (4222, 8080)


@pytest.mark.parametrize("text", ["web", "0", "70000", "1-2"])
def test_fenced_ports_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FNBUS_FENCED_PORTS", text)
    with pytest.raises(ValidationError, match="fenced_ports"):
        ExecutorSettings()
