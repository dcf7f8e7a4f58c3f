"""`docs/isolation.md` names a test for each promise: each of them exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "isolation.md"


def rows() -> list[tuple[str, str]]:
    """Return promises and the tests that show them."""
    lines = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    cells = [(line[1].strip(), line[3].strip().strip("`")) for line in lines]
    return [each for each in cells if each[1] != "test" and not each[1].startswith("-")]


@pytest.mark.parametrize("name", sorted({test for _, test in rows()}))
def test_promise_is_shown_by_a_test_that_exists(name: str) -> None:
    pattern = re.compile(rf"def {re.escape(name)}\(")
    assert any(pattern.search(path.read_text()) for path in (ROOT / "tests").rglob("test_*.py"))


def test_page_names_a_test_for_every_attack() -> None:
    named = {test for _, test in rows()}
    attacks = {
        name
        for path in (ROOT / "tests" / "integration" / "isolation").glob("test_*.py")
        for name in re.findall(r"async def (test_\w+)\(", path.read_text())
    }
    assert attacks - named <= {"test_fork_bomb_of_a_shell_is_stopped"}
