"""A round that has much to do says how far it is."""

import logging

import pytest

from libs.messages.catalog import Bundle, BundleFile
from services.registry.deploys import rounds
from services.registry.deploys.rounds import Progress, Round


def test_progress_says_how_far_the_last_stage_is() -> None:
    progress = Progress()
    progress.expect("stored", 5000)
    progress.step("stored")
    assert str(progress) == "1 of 5000 functions are stored"
    progress.expect("on the bus", 9000)
    progress.step("on the bus")
    assert str(progress) == "1 of 9000 functions are on the bus"


def test_progress_says_nothing_of_a_few_functions() -> None:
    progress = Progress()
    progress.expect("stored", 3)
    progress.step("stored")
    assert not str(progress)


def test_progress_is_told_while_it_goes_on(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_PROGRESS_SECONDS", 0.0)
    progress = Progress()
    progress.expect("stored", 200)
    with caplog.at_level(logging.INFO, logger="services.registry.deploys.rounds"):
        progress.step("stored")
    assert caplog.messages == ["1 of 200 functions are stored"]


def test_round_keeps_code_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_KEPT_BYTES", 10)
    now = Round(began=0.0)
    for name, size in (("large", 20), ("small", 8), ("more", 8)):
        now.keep({name: Bundle(files=(BundleFile(path="x", data=bytes(size)),))})
    assert set(now.code) == {"small"}
