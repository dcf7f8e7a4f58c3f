"""Which writes go to a server together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.storage import bulks
from libs.storage.bulks import Delete, Insert, Replace
from libs.storage.port import DuplicateKeyError, RevisionConflictError


def insert(*ids: str, collection: str = "c") -> Insert:
    return Insert(collection=collection, ids=ids, documents=tuple(b"x" for _ in ids), skip_taken=True)


def replace(id: str, revision: int = 1, collection: str = "c") -> Replace:  # noqa: A002  the port's name
    return Replace(collection=collection, ids=(id,), revision=revision, fields=b"x")


def delete(*ids: str, collection: str = "c") -> Delete:
    return Delete(collection=collection, ids=ids, filter={})


def test_writes_to_different_documents_stay_together() -> None:
    writes = [insert("a", "b"), replace("c"), delete("d"), insert("a", collection="other")]
    assert bulks.segments(writes) == [[0, 1, 2, 3]]
    assert bulks.parts(writes, [0, 1, 2, 3]) == [[0], [1], [2], [3]]


def test_second_write_to_a_document_goes_into_the_next_segment() -> None:
    assert bulks.segments([insert("a"), insert("b"), replace("a"), replace("b"), delete("a")]) == [[0, 1], [2, 3], [4]]


def test_delete_by_filter_goes_alone() -> None:
    assert bulks.segments([insert("a"), delete(), insert("b"), insert("c")]) == [[0], [1], [2, 3]]
    assert bulks.segments([delete(), delete()]) == [[0], [1]]
    assert bulks.segments([]) == []


def test_one_command_takes_writes_of_one_kind_and_collection() -> None:
    writes = [insert("a"), replace("b"), insert("c"), insert("d", collection="other"), replace("e")]
    assert bulks.parts(writes, [0, 1, 2, 3, 4]) == [[0, 2], [1, 4], [3]]


@given(st.lists(st.integers(1, bulks.COMMAND_BYTES * 2), max_size=30))
def test_chunks_are_as_large_as_a_command_takes_and_leave_nothing_out(sizes: list[int]) -> None:
    cuts = list(bulks.chunks(sizes))
    assert [at for begin, end in cuts for at in range(begin, end)] == list(range(len(sizes)))
    assert all(end - begin == 1 or sum(sizes[begin:end]) <= bulks.COMMAND_BYTES for begin, end in cuts)
    assert all(sum(sizes[begin : end + 1]) > bulks.COMMAND_BYTES for begin, end in cuts[:-1])


def test_chunk_holds_a_bounded_number_of_statements() -> None:
    assert list(bulks.chunks([1] * 25_000)) == [(0, 10_000), (10_000, 20_000), (20_000, 25_000)]
    assert list(bulks.chunks([1] * 5, most=2)) == [(0, 2), (2, 4), (4, 5)]


@pytest.mark.parametrize("result", [2, RevisionConflictError("late")])
def test_revision_that_the_server_has_answered_for_is_lost_to_all_others(result: int | Exception) -> None:
    settled = bulks.Settled()
    assert not settled.lost(replace("a"))
    settled.learn(replace("a"), result)
    assert settled.lost(replace("a"))
    assert not settled.lost(replace("a", revision=2))
    assert not settled.lost(replace("a", collection="other"))
    assert not settled.lost(delete("a"))


@pytest.mark.parametrize("write", [insert("a"), delete("a"), delete()])
def test_revision_may_come_back_when_the_document_was_removed_or_added(write: bulks.Write) -> None:
    settled = bulks.Settled()
    settled.learn(replace("a"), 2)
    settled.learn(write, 1)
    assert not settled.lost(replace("a"))


def test_revision_is_not_lost_when_a_unique_index_stopped_the_first() -> None:
    settled = bulks.Settled()
    settled.learn(replace("a"), DuplicateKeyError("taken"))
    assert not settled.lost(replace("a"))
