"""The short way of records against the long one: the same bytes and records, and never a record that is wrong."""

from typing import Any, cast

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.messages import calls, codec
from libs.testing.records import record_classes, records, sample

_REPLY = {**codec.to_document(sample(calls.Reply)), "kind": "busy", "code": ""}


@given(record=st.sampled_from(record_classes()).flatmap(records))
def test_record_is_the_same_both_ways(record: codec.Record) -> None:
    document = codec.to_document(record)
    assert codec.encode(record) == msgpack.packb(document, datetime=True)
    long_way = codec.from_document(type(record), document)
    assert codec.decode(type(record), codec.encode(record)) == long_way == record


def test_record_read_the_short_way_is_frozen() -> None:
    reply = codec.decode(calls.Reply, msgpack.packb(_REPLY))
    assert reply.kind is calls.ReplyKind.BUSY
    with pytest.raises(AttributeError):
        reply.status = 1  # pyright: ignore[reportAttributeAccessIssue]  what is tested


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"status": "200"}, "status"),
        ({"status": True}, "status"),
        ({"kind": "maybe"}, "kind"),
        ({"kind": 1}, "kind"),
        ({"v": 2}, ""),
        ({"v": True, "body": None}, "body"),
        ({"v": "1"}, ""),
        ({"v": 1.0}, ""),
    ],
)
def test_message_that_is_wrong_is_refused_by_name(change: dict[str, Any], where: str) -> None:
    with pytest.raises(codec.MalformedMessageError) as caught:
        codec.decode(calls.Reply, msgpack.packb(_REPLY | change))
    assert caught.value.where == where


def test_fields_that_are_missing_or_unknown_are_no_fault() -> None:
    reply = codec.decode(calls.Reply, msgpack.packb({"v": 1, "kind": "answer", "executor": "x", "new": [1]}))
    assert reply == calls.Reply(kind=calls.ReplyKind.ANSWER, executor="x")
    assert codec.decode(calls.Reply, msgpack.packb(_REPLY | {"new": 1})) == codec.from_document(calls.Reply, _REPLY)


@pytest.mark.parametrize("document", [None, [], 1, "text", {}, {1: 2}])
def test_bytes_of_something_else_are_refused(document: object) -> None:
    with pytest.raises(codec.MalformedMessageError):
        codec.decode(calls.CancelInvocation, msgpack.packb(document))


def test_value_that_cannot_be_packed_is_refused_and_leaves_nothing_behind() -> None:
    wrong = calls.CancelInvocation(id=cast("str", object()))
    with pytest.raises(TypeError, match="a record cannot hold a object"):
        codec.encode(wrong)
    assert codec.decode(calls.CancelInvocation, codec.encode(calls.CancelInvocation(id="x"))).id == "x"
