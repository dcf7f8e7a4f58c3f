"""Which executors can give users of their own to workers."""

from pathlib import Path

import pytest

from services.executor.sandbox.users import may_be_given


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("CapEff:\t000001ffffffffff\n", True),
        ("Name:\tpython\nCapEff:\t00000000a82c25fb\n", True),
        ("Name:\tpython\nCapEff:\t00000000a82425fb\n", False),
        ("Name:\tpython\nCapEff:\t00000000a80c25fb\n", False),
        ("Name:\tpython\nCapEff:\t00000000a80425fb\n", False),
        ("Name:\tpython\n", False),
    ],
    ids=["all", "both", "no-ptrace", "no-admin", "container", "unknown"],
)
def test_users_are_given_by_an_executor_that_has_the_capabilities(tmp_path: Path, status: str, *, expected: bool) -> None:
    (tmp_path / "status").write_text(status)
    assert may_be_given(tmp_path / "status") == expected
    assert not may_be_given(tmp_path / "none")
