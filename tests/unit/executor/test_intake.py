"""A body that is read by and by: what may be asked for, and what must not come."""

import pytest

from libs.messages.calls import BodyPiece
from services.executor.workers.frames import WINDOW
from services.executor.workers.intake import Intake


def piece(number: int, data: bytes = b"x", *, end: bool = False) -> BodyPiece:
    return BodyPiece(reply="inbox", number=number, data=data, end=end)


@pytest.fixture
def asked() -> list[int]:
    return []


@pytest.fixture
def intake(asked: list[int]) -> Intake:
    return Intake(asked.append)


def test_intake_asks_for_what_the_guest_grants_up_to_a_window(intake: Intake, asked: list[int]) -> None:
    assert intake.grant(WINDOW)
    assert not intake.take(piece(1))
    assert intake.grant(1)
    assert asked == [WINDOW, 1]
    assert not intake.grant(1)


@pytest.mark.parametrize("pieces", [0, WINDOW + 1, 0xFFFF])
def test_intake_refuses_a_grant_of_nothing_or_of_more_than_a_window(intake: Intake, asked: list[int], pieces: int) -> None:
    assert not intake.grant(pieces)
    assert not asked


def test_intake_asks_for_nothing_after_the_end_and_bears_no_endless_wishes(intake: Intake, asked: list[int]) -> None:
    intake.grant(2)
    assert not intake.take(piece(1, b"all", end=True))
    assert intake.size == 3
    asked.clear()
    granted = sum(intake.grant(1) for _ in range(100))
    assert granted == WINDOW - 1
    assert not asked


def test_intake_takes_an_empty_end_without_having_asked_for_it(intake: Intake) -> None:
    intake.grant(1)
    assert not intake.take(piece(1))
    assert not intake.take(piece(2, b"", end=True))


@pytest.mark.parametrize(
    ("pieces", "fault"),
    [
        ([piece(1), piece(3)], "was lost"),
        ([piece(2)], "was lost"),
        ([piece(1), piece(1)], "was lost"),
        ([piece(1, end=True), piece(2)], "after its end"),
        ([piece(1, end=True), piece(2, b"", end=True)], "after its end"),
        ([piece(1), piece(2), piece(3)], "than was asked for"),
        ([piece(1), piece(2), piece(3, b"")], "than was asked for"),
    ],
)
def test_intake_tells_what_must_not_come(intake: Intake, pieces: list[BodyPiece], fault: str) -> None:
    intake.grant(2)
    told = [intake.take(each) for each in pieces]
    assert not any(told[:-1])
    assert fault in told[-1]
