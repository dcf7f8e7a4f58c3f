"""What the port promises of buckets and object stores."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

import pytest

from libs import errors
from libs.bus.port import Bucket, Bus, Entry, KeyConflictError
from libs.testing.wait import eventually


@pytest.fixture
async def bucket(bus: Bus) -> Bucket:
    return await bus.bucket("catalog")


def watch_of(bucket: Bucket) -> aclosing[AsyncGenerator[Entry | None]]:
    return aclosing(cast("AsyncGenerator[Entry | None]", bucket.watch()))


async def take(entries: AsyncIterator[Entry | None], count: int) -> list[Entry | None]:
    async with asyncio.timeout(20):
        return [await anext(entries) for _ in range(count)]


async def test_bucket_is_created_by_whoever_comes_first_also_at_once(bus: Bus, other: Bus) -> None:
    one, two, _, _ = await asyncio.gather(*(each.bucket("catalog") for each in (bus, other, bus, other)))
    await one.put("key", b"value")
    found = await two.get("key")
    assert found is not None
    assert found.value == b"value"


async def test_get_returns_the_entry_or_none(bucket: Bucket) -> None:
    assert await bucket.get("missing") is None
    revision = await bucket.put("fn.default.python.users=2F=5Bid=5D", b"\x00\xff")
    found = await bucket.get("fn.default.python.users=2F=5Bid=5D")
    assert found == Entry("fn.default.python.users=2F=5Bid=5D", b"\x00\xff", revision)


async def test_put_returns_rising_revisions(bucket: Bucket) -> None:
    first = await bucket.put("key", b"1")
    second = await bucket.put("key", b"2")
    assert second > first
    assert await bucket.get("key") == Entry("key", b"2", second)


async def test_empty_value_is_not_a_deleted_key(bucket: Bucket) -> None:
    revision = await bucket.put("key", b"")
    assert await bucket.get("key") == Entry("key", b"", revision)
    assert await bucket.keys() == ["key"]


async def test_update_sets_when_the_revision_is_the_expected_one(bucket: Bucket) -> None:
    created = await bucket.update("key", b"1", revision=0)
    changed = await bucket.update("key", b"2", revision=created)
    assert await bucket.get("key") == Entry("key", b"2", changed)


async def test_update_conflicts_when_the_revision_is_another_one(bucket: Bucket) -> None:
    created = await bucket.put("key", b"1")
    with pytest.raises(KeyConflictError):
        await bucket.update("key", b"2", revision=created + 7)
    with pytest.raises(KeyConflictError):
        await bucket.update("key", b"2", revision=0)
    with pytest.raises(KeyConflictError):
        await bucket.update("other", b"2", revision=created)
    assert await bucket.get("key") == Entry("key", b"1", created)


async def test_update_of_a_deleted_key_is_a_creation(bucket: Bucket) -> None:
    await bucket.put("key", b"1")
    await bucket.delete("key")
    created = await bucket.update("key", b"2", revision=0)
    assert await bucket.get("key") == Entry("key", b"2", created)


async def test_update_has_one_winner_when_raced(bus: Bus, other: Bus) -> None:
    here, there = await bus.bucket("catalog"), await other.bucket("catalog")
    tries = await asyncio.gather(
        *(each.update("key", b"%d" % number, revision=0) for number, each in enumerate((here, there) * 5)),
        return_exceptions=True,
    )
    assert len([each for each in tries if isinstance(each, int)]) == 1
    assert len([each for each in tries if isinstance(each, KeyConflictError)]) == 9


async def test_delete_removes_and_a_missing_key_is_no_error(bucket: Bucket) -> None:
    await bucket.put("key", b"1")
    await bucket.delete("key")
    await bucket.delete("key")
    await bucket.delete("missing")
    assert await bucket.get("key") is None
    assert await bucket.keys() == []


async def test_keys_returns_all_that_are_not_deleted(bucket: Bucket) -> None:
    for key in ("a", "b.c", "b.d", "gone"):
        await bucket.put(key, b"x")
    await bucket.delete("gone")
    assert sorted(await bucket.keys()) == ["a", "b.c", "b.d"]


async def test_keys_of_an_empty_bucket_is_empty(bucket: Bucket) -> None:
    assert await bucket.keys() == []


async def test_watch_yields_present_entries_then_none_then_changes(bus: Bus, other: Bus) -> None:
    here, there = await bus.bucket("catalog"), await other.bucket("catalog")
    one = await here.put("one", b"1")
    await here.put("two", b"2")
    await here.put("gone", b"x")
    await here.delete("gone")
    two = await here.put("two", b"22")
    async with watch_of(there) as entries:
        present = await take(entries, 3)
        assert sorted(entry for entry in present[:2] if entry) == [Entry("one", b"1", one), Entry("two", b"22", two)]
        assert present[2] is None
        three = await here.put("three", b"3")
        assert await take(entries, 1) == [Entry("three", b"3", three)]
        await here.delete("one")
        (deleted,) = await take(entries, 1)
        assert deleted is not None
        assert (deleted.key, deleted.value) == ("one", None)
        again = await here.put("one", b"new")
        assert await take(entries, 1) == [Entry("one", b"new", again)]


async def test_watch_of_an_empty_bucket_yields_none_first(bucket: Bucket) -> None:
    async with watch_of(bucket) as entries:
        assert await take(entries, 1) == [None]


async def test_watch_yields_thousands_of_entries_and_each_reader_has_its_own(bucket: Bucket) -> None:
    for start in range(0, 2000, 100):
        await asyncio.gather(*(bucket.put(f"key.{number}", b"x" * 100) for number in range(start, start + 100)))
    async with watch_of(bucket) as one, watch_of(bucket) as two:
        first, second = await asyncio.gather(take(one, 2001), take(two, 2001))
    assert len({entry.key for entry in first if entry}) == len({entry.key for entry in second if entry}) == 2000
    assert first[-1] is None


async def test_objects_are_stored_and_returned(bus: Bus, other: Bus) -> None:
    here, there = await asyncio.gather(bus.objects("bundles"), other.objects("bundles"))
    for size in (0, 1, 100_000, 3_000_000):
        data = bytes(range(251)) * (size // 251 + 1)
        data = data[:size]
        await here.put(f"object-{size}", data)
        assert await there.get(f"object-{size}") == data
        assert await there.has(f"object-{size}")


async def test_object_that_is_missing_is_not_found(bus: Bus) -> None:
    objects = await bus.objects("bundles")
    assert not await objects.has("missing")
    with pytest.raises(errors.NotFoundError):
        await objects.get("missing")


async def test_object_that_exists_is_replaced(bus: Bus) -> None:
    objects = await bus.objects("bundles")
    await objects.put("key", b"a" * 2_000_000)
    await objects.put("key", b"b")
    assert await objects.get("key") == b"b"


async def test_object_is_deleted_and_a_missing_one_is_no_error(bus: Bus) -> None:
    objects = await bus.objects("bodies")
    await objects.put("key", b"body")
    await objects.delete("key")
    await objects.delete("key")
    await objects.delete("missing")
    assert not await objects.has("key")
    with pytest.raises(errors.NotFoundError):
        await objects.get("key")
    await objects.put("key", b"again")
    assert await objects.get("key") == b"again"


async def test_objects_vanish_after_their_time(bus: Bus) -> None:
    objects = await bus.objects("bodies", ttl_seconds=0.3)
    await objects.put("key", b"body")
    assert await objects.get("key") == b"body"

    async def gone() -> bool:
        return not await objects.has("key")

    await eventually(gone)


async def test_object_store_keeps_its_time_when_opened_without_one(bus: Bus, other: Bus) -> None:
    await bus.objects("bodies", ttl_seconds=0.3)
    objects = await other.objects("bodies")
    await objects.put("key", b"body")

    async def gone() -> bool:
        return not await objects.has("key")

    await eventually(gone)


async def test_infos_tell_of_all_objects_that_are_there(bus: Bus) -> None:
    objects = await bus.objects("layers")
    assert await objects.all_infos() == []
    for key, size in (("a", 3), ("a/part", 2_000_000), ("gone", 1)):
        await objects.put(key, b"x" * size)
    await objects.delete("gone")
    found = {info.key: info for info in await objects.all_infos()}
    assert {key: info.size for key, info in found.items()} == {"a": 3, "a/part": 2_000_000}
    assert await objects.info("a") == found["a"]
    assert await objects.info("gone") is None
    assert await objects.info("missing") is None


async def test_object_that_is_touched_is_newer_and_the_same(bus: Bus) -> None:
    objects = await bus.objects("layers")
    await objects.put("a", b"x" * 2_000_000)
    before = await objects.info("a")
    assert before is not None
    assert await objects.touch(before)
    after = await objects.info("a")
    assert after is not None
    assert after.revision > before.revision
    assert after.modified >= before.modified
    assert await objects.get("a") == b"x" * 2_000_000
    assert not await objects.touch(before)


async def test_object_is_discarded_only_as_it_was_seen(bus: Bus, other: Bus) -> None:
    here, there = await asyncio.gather(bus.objects("layers"), other.objects("layers"))
    await here.put("a", b"1")
    seen = await here.info("a")
    assert seen is not None
    await there.put("a", b"2")
    assert not await here.discard(seen)
    assert await here.get("a") == b"2"
    seen = await here.info("a")
    assert seen is not None
    assert await there.discard(seen)
    assert not await here.discard(seen)
    assert not await here.touch(seen)
    assert not await here.has("a")
    assert await here.all_infos() == []
    await here.put("a", b"3")
    assert await there.get("a") == b"3"


async def test_of_a_touch_and_a_discard_at_once_one_succeeds(bus: Bus, other: Bus) -> None:
    here, there = await asyncio.gather(bus.objects("layers"), other.objects("layers"))
    for number in range(20):
        key = f"layer-{number}"
        await here.put(key, b"1")
        seen = await here.info(key)
        assert seen is not None
        touched, gone = await asyncio.gather(here.touch(seen), there.discard(seen))
        assert (touched, gone) in ((True, False), (False, True))
        assert await here.has(key) is touched
