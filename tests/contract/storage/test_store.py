"""What `libs/storage/port.py` promises, sentence by sentence."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import pytest

from libs.storage.port import (
    Collection,
    Document,
    DuplicateKeyError,
    Index,
    RevisionConflictError,
    Store,
    Where,
)

JOBS = Collection(
    "jobs",
    (Index(("key",), unique=True), Index(("state", "due")), Index(("rank",))),
)
PAIRS = Collection("pairs", (Index(("left", "right"), unique=True),))
PLAIN = Collection("plain")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def job(id: str, **fields: Any) -> Document:  # noqa: A002  the port's name
    return {"_id": id, "key": id, **fields}


async def fill(store: Store, *documents: Document) -> None:
    await store.ensure(JOBS)
    assert await store.insert_many(JOBS, documents) == len(documents)


async def ids(store: Store, *where: Where, sort: str = "_id", descending: bool = False, limit: int = 1000) -> list[str]:
    found = await store.find(JOBS, where, sort=sort, descending=descending, limit=limit)
    return [document["_id"] for document in found]


# -- ensure -------------------------------------------------------------------------------------------------------


async def test_ensure_changes_nothing_when_repeated(store: Store) -> None:
    await fill(store, job("a"))
    await store.ensure(JOBS)
    assert await store.count(JOBS) == 1
    with pytest.raises(DuplicateKeyError):
        await store.insert(JOBS, job("b", key="a"))


async def test_ensure_adds_an_index_to_documents_that_are_there(store: Store) -> None:
    await store.ensure(Collection("jobs"))
    await store.insert(Collection("jobs"), job("a", rank=2))
    await store.insert(Collection("jobs"), job("b", rank=1))
    await store.ensure(JOBS)
    assert await ids(store, sort="rank") == ["b", "a"]
    assert await ids(store, Where("rank", "==", 2)) == ["a"]
    with pytest.raises(DuplicateKeyError):
        await store.insert(JOBS, job("c", key="a"))


async def test_ensure_refuses_a_unique_index_over_documents_that_share_a_value(store: Store) -> None:
    await store.ensure(Collection("jobs"))
    await store.insert_many(Collection("jobs"), [job("a", key="k"), job("b", key="k")])
    with pytest.raises(DuplicateKeyError):
        await store.ensure(JOBS)


async def test_collection_is_refused_before_ensure(store: Store) -> None:
    with pytest.raises(ValueError, match="before ensure"):
        await store.insert(JOBS, job("a"))


async def test_ensure_refuses_a_name_that_is_not_a_plain_word(store: Store) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        await store.ensure(Collection('x"; drop'))


# -- insert -------------------------------------------------------------------------------------------------------


async def test_insert_makes_revision_1(store: Store) -> None:
    await store.ensure(JOBS)
    await store.insert(JOBS, job("a", revision=7))
    assert await store.get(JOBS, "a") == {"_id": "a", "key": "a", "revision": 1}


async def test_insert_leaves_the_callers_document_alone(store: Store) -> None:
    await store.ensure(JOBS)
    document = job("a", tags=["x"])
    await store.insert(JOBS, document)
    assert document == job("a", tags=["x"])
    document["tags"].append("y")
    found = await store.get(JOBS, "a")
    assert found is not None
    assert found["tags"] == ["x"]
    found["tags"].append("z")
    assert (await store.get(JOBS, "a") or {})["tags"] == ["x"]


async def test_insert_refuses_a_taken_id(store: Store) -> None:
    await fill(store, job("a", note="first"))
    with pytest.raises(DuplicateKeyError):
        await store.insert(JOBS, job("a", key="other"))
    assert (await store.get(JOBS, "a") or {})["note"] == "first"


async def test_insert_refuses_a_taken_value_of_a_unique_index(store: Store) -> None:
    await fill(store, job("a", key="k"))
    with pytest.raises(DuplicateKeyError):
        await store.insert(JOBS, job("b", key="k"))
    assert await store.get(JOBS, "b") is None


async def test_unique_index_counts_a_missing_field_as_none(store: Store) -> None:
    await store.ensure(JOBS)
    await store.insert(JOBS, {"_id": "a"})
    for late in ({"_id": "b"}, {"_id": "c", "key": None}):
        with pytest.raises(DuplicateKeyError):
            await store.insert(JOBS, late)


async def test_unique_index_over_two_fields_takes_both_into_account(store: Store) -> None:
    await store.ensure(PAIRS)
    for name, left, right in (("a", 1, 1), ("b", 1, 2), ("c", 2, 1), ("d", 1, None), ("e", None, 1)):
        await store.insert(PAIRS, {"_id": name, "left": left, "right": right})
    for left, right in ((1, 1), (1, None), (None, 1)):
        with pytest.raises(DuplicateKeyError):
            await store.insert(PAIRS, {"_id": "z", "left": left, "right": right})


async def test_unique_value_is_free_again_once_its_document_is_gone_or_changed(store: Store) -> None:
    await fill(store, job("a", key="k"), job("b", key="m"))
    await store.delete(JOBS, "a")
    await store.replace(JOBS, job("b", key="n"), revision=1)
    await store.insert(JOBS, job("c", key="k"))
    await store.insert(JOBS, job("d", key="m"))
    assert await ids(store) == ["b", "c", "d"]


async def test_insert_many_leaves_out_what_is_taken(store: Store) -> None:
    await fill(store, job("a", key="k"))
    added = await store.insert_many(
        JOBS, [job("a", key="x"), job("b", key="k"), job("c"), job("c", key="twice"), job("d", key="c"), job("e")]
    )
    assert added == 2
    assert await ids(store) == ["a", "c", "e"]


async def test_insert_many_of_nothing_adds_nothing(store: Store) -> None:
    await store.ensure(JOBS)
    assert await store.insert_many(JOBS, []) == 0


async def test_insert_many_takes_3000_documents(store: Store) -> None:
    await store.ensure(JOBS)
    assert await store.insert_many(JOBS, [job(f"{n:04}", rank=n % 7) for n in range(3000)]) == 3000
    assert await store.count(JOBS) == 3000
    assert len(await store.find(JOBS, limit=5000)) == 3000
    assert len(await store.find(JOBS)) == 1000
    assert await store.delete_where(JOBS, [Where("rank", "<", 3)]) == 1287
    assert await store.count(JOBS) == 1713


# -- values -------------------------------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "small": -7,
    "large": 2**63 - 1,
    "least": -(2**63),
    "float": 1.5,
    "whole_float": 2.0,
    "text": "Grüße, \u4e16\u754c \U0001f680",
    "empty": "",
    "bytes": bytes(range(256)),
    "no_bytes": b"",
    "moment": datetime(2026, 5, 1, 12, 0, 0, 123000, tzinfo=UTC),
    "before_epoch": datetime(1931, 5, 1, 12, 0, 0, 1000, tzinfo=UTC),
    "list": [1, "two", b"three", None, [4.5], {"six": NOON}, [[], [7, [8]], {"%": [9]}]],
    "map": {"a": {"b": {"c": [True, NOON]}}, "": 1, "a.b": 2, "$set": 3, "per%cent": 4, "%": [[1]], "%2E": 5, "ümlaut": 6},
    "no_list": [],
    "no_map": {},
}


def exactly_alike(left: Any, right: Any) -> bool:
    """Equality that tells 1, 1.0 and True apart and asks for the plain type."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        ours = cast("Document", left)
        return ours.keys() == right.keys() and all(exactly_alike(ours[key], right[key]) for key in ours)
    if isinstance(left, list):
        items = cast("list[Any]", left)
        return len(items) == len(right) and all(map(exactly_alike, items, right))
    return bool(left == right)


async def test_every_type_of_value_comes_back_as_it_was(store: Store) -> None:
    await store.ensure(PLAIN)
    await store.insert(PLAIN, {"_id": "inserted", **VALUES})
    await store.insert(PLAIN, {"_id": "replaced"})
    await store.replace(PLAIN, {"_id": "replaced", **VALUES}, revision=1)
    for name, revision in (("inserted", 1), ("replaced", 2)):
        wanted = {"_id": name, "revision": revision, **VALUES}
        for found in (await store.get(PLAIN, name), *await store.find(PLAIN, [Where("_id", "==", name)])):
            assert found == wanted
            assert exactly_alike(found, wanted)


async def test_datetimes_come_back_aware_in_utc_with_their_milliseconds(store: Store) -> None:
    await store.ensure(PLAIN)
    paris = timezone(timedelta(hours=2))
    await store.insert(PLAIN, {"_id": "a", "at": datetime(2026, 5, 1, 14, 0, 0, 123987, tzinfo=paris)})
    found = (await store.get(PLAIN, "a") or {})["at"]
    assert found == datetime(2026, 5, 1, 12, 0, 0, 123000, tzinfo=UTC)
    assert found.utcoffset() == timedelta(0)


async def test_odd_ids_are_told_apart(store: Store) -> None:
    odd = ["", "a", "A", "a ", "$where", "a.b", "käse", "x@2026-05-01T12:00:00Z", "%"]
    await store.ensure(PLAIN)
    for name in odd:
        await store.insert(PLAIN, {"_id": name})
    assert [document["_id"] for document in await store.find(PLAIN)] == sorted(odd)
    for name in odd:
        assert (await store.get(PLAIN, name) or {})["_id"] == name


@pytest.mark.parametrize(
    "value",
    [2**63, -(2**63) - 1, float("nan"), float("inf"), datetime(2026, 5, 1), {1: 2}, {"x": {1, 2}}, object(), "\ud800"],  # noqa: DTZ001  a naive one is the point
    ids=["too large", "too small", "nan", "inf", "naive", "key is no text", "set", "object", "surrogate"],
)
async def test_value_that_not_every_store_can_hold_is_refused(store: Store, value: Any) -> None:
    await store.ensure(PLAIN)
    with pytest.raises(ValueError, match=r"at\[0\]"):
        await store.insert(PLAIN, {"_id": "a", "at": [value]})
    assert await store.count(PLAIN) == 0


@pytest.mark.parametrize("document", [{}, {"_id": 7}, {"_id": None}, {"_id": "a", "rank": [1]}, {"_id": "a", "rank": {}}])
async def test_document_without_text_id_or_with_a_list_in_an_index_is_refused(store: Store, document: Document) -> None:
    await store.ensure(JOBS)
    with pytest.raises(ValueError, match="must be"):
        await store.insert(JOBS, document)


async def test_document_of_a_megabyte_comes_back(store: Store) -> None:
    await store.ensure(PLAIN)
    await store.insert(PLAIN, {"_id": "big", "body": b"\x00\xff" * 500_000})
    assert len((await store.get(PLAIN, "big") or {})["body"]) == 1_000_000


# -- replace ------------------------------------------------------------------------------------------------------


async def test_replace_returns_the_new_revision_and_drops_what_is_left_out(store: Store) -> None:
    await fill(store, job("a", note="old", rank=1))
    assert await store.replace(JOBS, job("a", rank=2), revision=1) == 2
    assert await store.replace(JOBS, job("a", rank=3, revision=99), revision=2) == 3
    assert await store.get(JOBS, "a") == {"_id": "a", "key": "a", "rank": 3, "revision": 3}
    assert await ids(store, Where("rank", "==", 1)) == []
    assert await ids(store, Where("rank", "==", 3)) == ["a"]


@pytest.mark.parametrize("revision", [0, 1, 3])
async def test_replace_is_refused_at_another_revision(store: Store, revision: int) -> None:
    await fill(store, job("a"))
    await store.replace(JOBS, job("a", note="second"), revision=1)
    with pytest.raises(RevisionConflictError):
        await store.replace(JOBS, job("a", note="late"), revision=revision)
    assert (await store.get(JOBS, "a") or {})["note"] == "second"


async def test_replace_is_refused_and_makes_nothing_when_the_document_is_gone(store: Store) -> None:
    await fill(store, job("a"))
    await store.delete(JOBS, "a")
    with pytest.raises(RevisionConflictError):
        await store.replace(JOBS, job("a"), revision=1)
    assert await store.count(JOBS) == 0
    await store.insert(JOBS, job("a"))


async def test_replace_is_refused_when_a_unique_index_is_taken(store: Store) -> None:
    await fill(store, job("a"), job("b"))
    with pytest.raises(DuplicateKeyError):
        await store.replace(JOBS, job("b", key="a"), revision=1)
    assert await store.get(JOBS, "b") == {"_id": "b", "key": "b", "revision": 1}
    assert await store.replace(JOBS, job("b", key="c"), revision=1) == 2


# -- get, find, count ---------------------------------------------------------------------------------------------


async def test_get_returns_none_when_there_is_no_such_document(store: Store) -> None:
    await store.ensure(JOBS)
    assert await store.get(JOBS, "nobody") is None


async def test_find_joins_conditions_sort_and_limit(store: Store) -> None:
    await fill(
        store,
        job("a", state="queued", due=NOON),
        job("b", state="queued", due=NOON - timedelta(minutes=1)),
        job("c", state="done", due=NOON - timedelta(minutes=2)),
        job("d", state="queued", due=NOON + timedelta(minutes=1)),
        job("e", state="queued", due=NOON - timedelta(minutes=3)),
    )
    due = [Where("state", "==", "queued"), Where("due", "<=", NOON)]
    assert await ids(store, *due, sort="due") == ["e", "b", "a"]
    assert await ids(store, *due, sort="due", limit=2) == ["e", "b"]
    assert await ids(store, *due, sort="due", descending=True) == ["a", "b", "e"]
    assert await ids(store, *due, Where("_id", ">", "a"), sort="due") == ["e", "b"]
    assert await store.count(JOBS, due) == 3


async def test_find_orders_equal_keys_by_id(store: Store) -> None:
    await fill(store, *(job(name, rank=rank) for name, rank in (("c", 1), ("a", 2), ("b", 1), ("e", 1), ("d", 2))))
    assert await ids(store, sort="rank") == ["b", "c", "e", "a", "d"]
    assert await ids(store, sort="rank", limit=2) == ["b", "c"]
    assert await ids(store, sort="rank", descending=True) == ["d", "a", "e", "c", "b"]


MIXED: list[tuple[str, Any]] = [
    ("none", None),
    ("minus", -3),
    ("half", 0.5),
    ("one", 1),
    ("ten", 10),
    ("text", ""),
    ("texta", "a"),
    ("textb", "b"),
    ("textbb", "bb"),
    ("textz", "\u00fc"),
    ("x1", b"\xff"),
    ("x2", b"\x00\x00"),
    ("xfalse", False),
    ("xtrue", True),
    ("y1", datetime(1960, 1, 1, tzinfo=UTC)),
    ("y2", NOON),
    ("y3", NOON + timedelta(milliseconds=1)),
]


async def test_find_sorts_none_numbers_text_bytes_bools_and_datetimes_in_this_order(store: Store) -> None:
    await fill(store, *(job(name, rank=value) for name, value in reversed(MIXED)))
    assert await ids(store, sort="rank") == [name for name, _ in MIXED]


@pytest.mark.parametrize(
    ("op", "value", "found"),
    [
        ("==", 1, ["one"]),
        ("==", 1.0, ["one"]),
        ("==", True, ["xtrue"]),
        ("==", None, ["none"]),
        ("==", "", ["text"]),
        ("==", b"\xff", ["x1"]),
        ("==", NOON, ["y2"]),
        ("<", 1, ["none", "minus", "half"]),
        ("<=", 1, ["none", "minus", "half", "one"]),
        (">", 0, ["half", "one", "ten"]),
        (">=", 10, ["ten"]),
        ("<", "b", ["none", "text", "texta"]),
        (">=", "b", ["textb", "textbb", "textz"]),
        ("<", NOON, ["none", "y1"]),
        (">=", NOON, ["y2", "y3"]),
        (">", NOON, ["y3"]),
        ("<", True, ["none", "xfalse"]),
        (">", False, ["xtrue"]),
        (">", b"\xff", ["x2"]),
        ("<", None, []),
        ("<=", None, ["none"]),
        (">", None, [name for name, _ in MIXED[1:]]),
        (">=", None, [name for name, _ in MIXED]),
        ("in", [], []),
        ("in", [1, "a", NOON, True, None, "nothing"], ["none", "one", "texta", "xtrue", "y2"]),
        ("in", ("b",), ["textb"]),
    ],
)
async def test_condition_finds_values_of_its_own_kind_and_none_below_all(
    store: Store, op: Any, value: Any, found: list[str]
) -> None:
    await fill(store, *(job(name, rank=value) for name, value in MIXED))
    assert await ids(store, Where("rank", op, value), sort="rank") == found
    assert await store.count(JOBS, [Where("rank", op, value)]) == len(found)


async def test_condition_takes_a_missing_field_for_none(store: Store) -> None:
    await fill(store, job("a"), job("b", rank=1))
    assert await ids(store, Where("rank", "==", None)) == ["a"]
    assert await ids(store, Where("rank", "<", 5)) == ["a", "b"]
    assert await ids(store, sort="rank") == ["a", "b"]


@pytest.mark.parametrize(
    "fault", [{"where": [Where("note", "==", 1)]}, {"sort": "note"}, {"where": [Where("rank", "in", "ab")]}]
)
async def test_find_refuses_what_no_index_serves(store: Store, fault: dict[str, Any]) -> None:
    await fill(store, job("a"))
    with pytest.raises(ValueError, match=r"rank|note"):
        await store.find(JOBS, **fault)


async def test_find_with_limit_0_returns_nothing(store: Store) -> None:
    await fill(store, job("a"))
    assert await ids(store, limit=0) == []


# -- delete -------------------------------------------------------------------------------------------------------


async def test_delete_tells_whether_there_was_a_document(store: Store) -> None:
    await fill(store, job("a"), job("b"))
    assert await store.delete(JOBS, "a") is True
    assert await store.delete(JOBS, "a") is False
    assert await ids(store) == ["b"]


async def test_delete_removes_nothing_at_another_revision(store: Store) -> None:
    await fill(store, job("a"))
    await store.replace(JOBS, job("a"), revision=1)
    assert await store.delete(JOBS, "a", revision=1) is False
    assert await store.delete(JOBS, "a", revision=2) is True
    assert await store.get(JOBS, "a") is None


async def test_delete_where_removes_what_meets_all_conditions(store: Store) -> None:
    await fill(store, *(job(f"{state}{rank}", state=state, rank=rank) for state in ("done", "queued") for rank in range(4)))
    assert await store.delete_where(JOBS, [Where("state", "==", "done"), Where("rank", "<", 2)]) == 2
    assert await ids(store, Where("state", "==", "done")) == ["done2", "done3"]
    assert await store.count(JOBS) == 6
    with pytest.raises(ValueError, match="not indexed"):
        await store.delete_where(JOBS, [Where("note", "==", 1)])


# -- at the same time ---------------------------------------------------------------------------------------------


async def test_200_increments_by_40_tasks_at_once_lose_none(store: Store) -> None:
    await fill(store, job("counter", total=0))

    async def increment() -> None:
        while True:
            found = await store.get(JOBS, "counter")
            assert found is not None
            try:
                await store.replace(JOBS, {**found, "total": found["total"] + 1}, revision=found["revision"])
            except RevisionConflictError:
                continue
            return

    async def increment_five_times() -> None:
        for _ in range(5):
            await increment()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(40):
            tasks.create_task(increment_five_times())
    counter = await store.get(JOBS, "counter")
    assert counter is not None
    assert (counter["total"], counter["revision"]) == (200, 201)


async def test_concurrent_replaces_of_one_revision_have_one_winner(store: Store) -> None:
    await fill(store, job("a"))
    outcomes = await asyncio.gather(
        *(store.replace(JOBS, job("a", rank=n), revision=1) for n in range(50)), return_exceptions=True
    )
    winners = [n for n, outcome in enumerate(outcomes) if outcome == 2]
    assert len(winners) == 1
    assert sum(isinstance(outcome, RevisionConflictError) for outcome in outcomes) == 49
    assert await ids(store, Where("rank", "==", winners[0])) == ["a"]


async def test_concurrent_inserts_of_one_key_have_one_winner(store: Store) -> None:
    await store.ensure(JOBS)
    outcomes = await asyncio.gather(
        *(store.insert(JOBS, job(f"j{n}", key="one")) for n in range(20)),
        *(store.insert(JOBS, job("same", key=f"k{n}")) for n in range(20)),
        return_exceptions=True,
    )
    for half in (outcomes[:20], outcomes[20:]):
        assert [type(outcome) for outcome in half].count(type(None)) == 1
        assert sum(isinstance(outcome, DuplicateKeyError) for outcome in half) == 19
    assert await store.count(JOBS) == 2


async def test_failing_writes_leave_their_neighbours_alone(store: Store) -> None:
    await fill(store, job("taken"), *(job(f"old{n}") for n in range(10)))
    outcomes = await asyncio.gather(
        *(store.insert(JOBS, job(f"new{n}")) for n in range(10)),
        *(store.insert(JOBS, job(f"dup{n}", key="taken")) for n in range(10)),
        *(store.replace(JOBS, job(f"old{n}", key="taken" if n % 2 else f"moved{n}"), revision=1) for n in range(10)),
        *(store.replace(JOBS, job(f"gone{n}"), revision=1) for n in range(10)),
        *(store.delete(JOBS, f"nobody{n}") for n in range(10)),
        store.delete(JOBS, "taken", revision=9),
        return_exceptions=True,
    )
    assert outcomes[:10] == [None] * 10
    assert [type(outcome) for outcome in outcomes[10:20]] == [DuplicateKeyError] * 10
    assert [type(outcome) for outcome in outcomes[20:30]] == [int, DuplicateKeyError] * 5
    assert [type(outcome) for outcome in outcomes[30:40]] == [RevisionConflictError] * 10
    assert outcomes[40:] == [False] * 11
    assert await store.count(JOBS) == 21


async def test_writes_to_one_document_are_made_in_the_order_of_their_calls(store: Store) -> None:
    await store.ensure(JOBS)
    outcomes = await asyncio.gather(
        store.insert(JOBS, job("a", rank=1)),
        store.replace(JOBS, job("a", rank=2), revision=1),
        store.replace(JOBS, job("a", rank=3), revision=2),
        store.replace(JOBS, job("a", rank=4), revision=2),
        store.delete(JOBS, "a", revision=3),
        store.insert(JOBS, job("a", rank=5)),
        store.delete_where(JOBS, [Where("rank", "==", 5)]),
        store.insert_many(JOBS, [job("a", rank=6)]),
        return_exceptions=True,
    )
    assert isinstance(outcomes[3], RevisionConflictError)
    assert [*outcomes[:3], *outcomes[4:]] == [None, 2, 3, True, None, 1, 1]
    assert await store.get(JOBS, "a") == {"_id": "a", "key": "a", "rank": 6, "revision": 1}


async def test_1000_concurrent_inserts_are_all_there(store: Store) -> None:
    await store.ensure(JOBS)
    async with asyncio.TaskGroup() as tasks:
        for n in range(1000):
            tasks.create_task(store.insert(JOBS, job(f"{n:04}", rank=n)))
    assert await store.count(JOBS) == 1000
    assert await ids(store, Where("rank", ">=", 990), sort="rank") == [f"{n:04}" for n in range(990, 1000)]


async def test_write_that_was_canceled_leaves_the_others_alone(store: Store) -> None:
    await store.ensure(JOBS)
    async with asyncio.TaskGroup() as tasks:
        doomed = [tasks.create_task(store.insert(JOBS, job(f"doomed{n}"))) for n in range(5)]
        kept = [tasks.create_task(store.insert(JOBS, job(f"kept{n}"))) for n in range(5)]
        await asyncio.sleep(0)
        for task in doomed:
            task.cancel()
    assert all(task.done() and not task.cancelled() for task in kept)
    assert [name for name in await ids(store) if name.startswith("kept")] == [f"kept{n}" for n in range(5)]


async def test_ping_returns_when_the_store_answers(store: Store) -> None:
    await store.ping()
