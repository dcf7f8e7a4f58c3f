"""Patterns of subjects, as NATS has them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.bus.subject_filter import matches, overlap

SUBJECTS = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map(".".join)
PATTERNS = st.tuples(st.lists(st.sampled_from("ab*"), min_size=1, max_size=3), st.sampled_from(["", ".>"])).map(
    lambda made: ".".join(made[0]) + made[1]
)


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("*.b", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.b.c", "a.b", False),
    ],
)
def test_pattern_matches_what_it_should(pattern: str, subject: str, *, expected: bool) -> None:
    assert matches(pattern, subject) is expected


@settings(deadline=None)
@given(one=PATTERNS, other=PATTERNS, subject=SUBJECTS)
def test_patterns_that_share_a_subject_overlap(one: str, other: str, subject: str) -> None:
    if matches(one, subject) and matches(other, subject):
        assert overlap(one, other)
    assert overlap(one, other) is overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("a.>", "b.>", False), ("a.*", "a.b", True), ("a", "a.>", False), ("*.b", "a.*", True), ("a.b", "a.b.c", False)],
)
def test_overlap_is_told(one: str, other: str, *, expected: bool) -> None:
    assert overlap(one, other) is expected
