"""Records to bytes and back: every record, every value, every kind of damage."""

from dataclasses import field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs import errors
from libs.messages import codec
from libs.messages.calls import Invocation, Reply, ReplyKind
from libs.messages.catalog import FunctionEntry
from libs.testing.records import record_classes, records, sample

MAPS = st.dictionaries(st.text(max_size=3), st.integers(0, 99)).map(lambda each: bytes(msgpack.packb(each)))


class Color(StrEnum):
    RED = "red"


@codec.record(version=2)
class Inner:
    number: int


@codec.record()
class Outer:
    text: str
    inner: Inner
    maybe: Inner | None = None
    many: tuple[Inner, ...] = ()
    named: dict[str, Inner] = field(default_factory=dict)
    color: Color = Color.RED
    ratio: float = 0.0
    at: datetime | None = None
    free: Any = None


def packed(**fields: Any) -> bytes:
    return msgpack.packb({"v": 1, **fields}, datetime=True)


@pytest.mark.parametrize("cls", record_classes(), ids=lambda cls: cast("type", cls).__name__)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_record_comes_back_as_it_was(cls: type[codec.Record], data: st.DataObject) -> None:
    made = data.draw(records(cls))
    assert codec.decode(cls, codec.encode(made)) == made
    assert codec.from_document(cls, msgpack.unpackb(msgpack.packb(codec.to_document(made), datetime=True), timestamp=3)) == made


@pytest.mark.parametrize("cls", record_classes(), ids=lambda cls: cast("type", cls).__name__)
def test_record_ignores_fields_it_does_not_know(cls: type[codec.Record]) -> None:
    document = codec.to_document(sample(cls)) | {"from_the_future": {"a": [1]}}
    assert codec.decode(cls, msgpack.packb(document, datetime=True)) == sample(cls)


@pytest.mark.parametrize("cls", record_classes(), ids=lambda cls: cast("type", cls).__name__)
def test_record_of_a_newer_version_is_refused(cls: type[codec.Record]) -> None:
    document = codec.to_document(sample(cls)) | {"v": 99}
    with pytest.raises(codec.MalformedMessageError, match=cls.__name__):
        codec.decode(cls, msgpack.packb(document, datetime=True))


@pytest.mark.parametrize("cls", [Invocation, Reply, FunctionEntry])
@settings(deadline=None)
@given(data=st.binary() | MAPS)
def test_decode_raises_nothing_but_malformed(cls: type[codec.Record], data: bytes) -> None:
    with pytest.raises(codec.MalformedMessageError):
        codec.decode(cls, data)


@settings(deadline=None)
@given(at=st.integers(0), bit=st.integers(0, 7))
def test_damaged_bytes_are_malformed_or_another_record(at: int, bit: int) -> None:
    data = bytearray(codec.encode(sample(FunctionEntry)))
    data[at % len(data)] ^= 1 << bit
    try:
        codec.decode(FunctionEntry, bytes(data))
    except codec.MalformedMessageError:
        return


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        packed()[:-1] + b"\x81",
        packed() + b"x",
        b"\x91" * 100_000,
        b"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff",  # a timestamp beyond every calendar
        b"\x81\xa1\xff\x01",  # a key that is not UTF-8
    ],
)
def test_bytes_that_are_not_msgpack_are_malformed(data: bytes) -> None:
    with pytest.raises(codec.MalformedMessageError):
        codec.decode(Outer, data)


def test_malformed_is_permanent_and_a_value_error() -> None:
    assert issubclass(codec.MalformedMessageError, errors.PermanentError)
    assert issubclass(codec.MalformedMessageError, ValueError)


INNER = {"v": 1, "number": 1}


@pytest.mark.parametrize(
    ("fields", "where", "fault"),
    [
        ({"inner": INNER}, "text", "required field is missing"),
        ({"text": "x"}, "inner", "required field is missing"),
        ({"text": 1, "inner": INNER}, "text", "expected str, got int"),
        ({"text": None, "inner": INNER}, "text", "expected str, got nothing"),
        ({"text": "x", "inner": []}, "inner", "expected a map, got list"),
        ({"text": "x", "inner": {"v": 3, "number": 1}}, "inner", "version 3"),
        ({"text": "x", "inner": INNER, "many": {}}, "many", "expected a list, got dict"),
        ({"text": "x", "inner": INNER, "many": [INNER, 7]}, "many[1]", "expected a map, got int"),
        ({"text": "x", "inner": INNER, "named": {"a": 7}}, "named.a", "expected a map, got int"),
        ({"text": "x", "inner": INNER, "color": "blue"}, "color", "blue"),
        ({"text": "x", "inner": INNER, "color": []}, "color", "Color"),
        ({"text": "x", "inner": INNER, "ratio": True}, "ratio", "expected float, got bool"),
        ({"text": "x", "inner": INNER, "at": 12}, "at", "expected datetime, got int"),
    ],
)
def test_fault_names_record_field_and_what_is_wrong(fields: dict[str, Any], where: str, fault: str) -> None:
    with pytest.raises(codec.MalformedMessageError) as caught:
        codec.decode(Outer, packed(**fields))
    assert caught.value.where == where
    assert fault in caught.value.fault


def test_defaults_stand_in_for_fields_that_are_missing() -> None:
    made = codec.decode(Outer, packed(text="x", inner=INNER))
    assert made == Outer(text="x", inner=Inner(number=1))


def test_older_version_is_read() -> None:
    assert codec.decode(Inner, packed(number=5)) == Inner(number=5)
    assert msgpack.unpackb(codec.encode(Inner(number=5))) == {"number": 5, "v": 2}


def test_whole_number_is_a_float_where_one_is_due() -> None:
    made = codec.decode(Outer, packed(text="x", inner=INNER, ratio=2))
    assert type(made.ratio) is float


def test_time_keeps_its_microseconds_in_utc() -> None:
    at = datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert codec.decode(Outer, packed(text="x", inner=INNER, at=at)).at == at


def test_enum_is_one_again() -> None:
    made = codec.decode(Reply, codec.encode(Reply(kind=ReplyKind.BUSY, executor="e")))
    assert made.kind is ReplyKind.BUSY


def test_class_that_is_no_record_is_refused() -> None:
    with pytest.raises(TypeError, match="not a record"):
        codec.decode(int, packed())
    assert not codec.is_record(int)
    assert not codec.is_record(5)
