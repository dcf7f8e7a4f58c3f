"""The wire format is what it was: services of two releases meet on one bus while a platform is updated."""

from pathlib import Path
from typing import cast

import pytest

from libs.messages import codec
from libs.testing.records import record_classes, sample, write_golden

GOLDEN = Path(__file__).parent / "golden"
CLASSES = record_classes()
CHANGED = "the wire format changed: if older replicas can live with that, run python -m libs.testing.records --all {folder}"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cast("type", cls).__name__)
def test_record_encodes_to_its_golden_bytes(cls: type[codec.Record]) -> None:
    golden = (GOLDEN / f"{cls.__name__}.msgpack").read_bytes()
    assert codec.encode(sample(cls)) == golden, CHANGED.format(folder=GOLDEN)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cast("type", cls).__name__)
def test_record_decodes_from_its_golden_bytes(cls: type[codec.Record]) -> None:
    golden = (GOLDEN / f"{cls.__name__}.msgpack").read_bytes()
    assert codec.decode(cls, golden) == sample(cls), CHANGED.format(folder=GOLDEN)


def test_every_record_has_golden_bytes_and_all_golden_bytes_a_record() -> None:
    assert {path.stem for path in GOLDEN.glob("*.msgpack")} == {cls.__name__ for cls in CLASSES}


def test_record_names_are_unique() -> None:
    assert len({cls.__name__ for cls in CLASSES}) == len(CLASSES)


def test_writing_golden_bytes_leaves_those_that_are_there(tmp_path: Path) -> None:
    assert len(write_golden(tmp_path, everything=False)) == len(CLASSES)
    assert write_golden(tmp_path, everything=False) == []
    (tmp_path / "Reply.msgpack").unlink()
    assert write_golden(tmp_path, everything=False) == ["Reply"]
    assert len(write_golden(tmp_path, everything=True)) == len(CLASSES)
