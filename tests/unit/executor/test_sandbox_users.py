"""Which executors can give users of their own to workers."""

from pathlib import Path

import pytest

from services.executor.sandbox.users import sees_others


@pytest.mark.parametrize(
    ("status", "sees"),
    [
        ("Name:\tpython\nCapEff:\t000001ffffffffff\n", True),
        ("Name:\tpython\nCapEff:\t00000000a82435fb\n", False),  # root of a container with SYS_ADMIN and no SYS_PTRACE
        ("Name:\tpython\n", False),
    ],
    ids=["all", "container", "unknown"],
)
def test_executor_sees_into_workers_of_other_users_when_it_may(tmp_path: Path, status: str, *, sees: bool) -> None:
    (tmp_path / "status").write_text(status)
    assert sees_others(tmp_path / "status") == sees
    assert not sees_others(tmp_path / "none")
