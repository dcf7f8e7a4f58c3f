"""Group commit without any store: how groups form, and that each caller gets its own result."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.storage.groups import GroupCommitter
from libs.storage.port import DuplicateKeyError, StoreUnavailableError
from libs.testing.wait import eventually


class Disk:
    """Commits what it is given, or fails, when told to; remembers each group."""

    def __init__(self, *, open: bool = True) -> None:  # noqa: A002  the plain word for it
        self.groups: list[list[int]] = []
        self.gate = asyncio.Event()
        self.failure: Exception | None = None
        if open:
            self.gate.set()

    async def commit(self, writes: Sequence[int]) -> Sequence[int | Exception]:
        self.groups.append(list(writes))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return [DuplicateKeyError(f"{write} is odd") if write % 2 else write * 10 for write in writes]


def committer(disk: Disk, *, max_group: int = 1024, max_waiting: int = 65_536) -> GroupCommitter[int, int]:
    return GroupCommitter(disk.commit, name="test", max_group=max_group, max_waiting=max_waiting)


async def test_what_arrives_during_a_commit_is_committed_together() -> None:
    disk = Disk(open=False)
    groups = committer(disk)
    first = groups.write(0)
    await eventually(lambda: disk.groups)
    rest = [groups.write(n) for n in range(2, 400, 2)]
    disk.gate.set()
    assert await first == 0
    assert await asyncio.gather(*rest) == [n * 10 for n in range(2, 400, 2)]
    assert disk.groups == [[0], list(range(2, 400, 2))]


async def test_each_caller_gets_its_own_result_or_error() -> None:
    groups = committer(Disk())
    outcomes = await asyncio.gather(*(groups.write(n) for n in range(4)), return_exceptions=True)
    assert [outcomes[0], outcomes[2]] == [0, 20]
    assert [str(outcomes[1]), str(outcomes[3])] == ["1 is odd", "3 is odd"]


async def test_failed_commit_is_told_to_each_caller_and_the_next_one_is_made() -> None:
    disk = Disk()
    disk.failure = StoreUnavailableError("no disk", retry_after=2.0)
    groups = committer(disk)
    outcomes = await asyncio.gather(*(groups.write(n) for n in (2, 4)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 2
    assert outcomes[0] is not outcomes[1]
    assert getattr(outcomes[0], "retry_after", None) == 2.0
    disk.failure = None
    assert await groups.write(6) == 60


async def test_defect_in_a_commit_reaches_the_callers() -> None:
    disk = Disk()
    disk.failure = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await committer(disk).write(2)


async def test_group_is_no_larger_than_allowed() -> None:
    disk = Disk()
    groups = committer(disk, max_group=3)
    await asyncio.gather(*(groups.write(n) for n in range(0, 16, 2)))
    assert [len(group) for group in disk.groups] == [3, 3, 2]


async def test_write_is_refused_when_too_many_wait() -> None:
    disk = Disk(open=False)
    groups = committer(disk, max_waiting=2)
    accepted = [groups.write(0)]
    await eventually(lambda: disk.groups)
    accepted += [groups.write(2), groups.write(4)]
    with pytest.raises(StoreUnavailableError, match="2 writes are waiting") as caught:
        groups.write(6)
    assert caught.value.retry_after == 1.0
    disk.gate.set()
    assert await asyncio.gather(*accepted) == [0, 20, 40]


async def test_canceled_write_is_left_out_when_it_still_waits() -> None:
    disk = Disk(open=False)
    groups = committer(disk)
    first = groups.write(0)
    await eventually(lambda: disk.groups)
    taken_back, kept = groups.write(2), groups.write(4)
    taken_back.cancel()
    disk.gate.set()
    assert await asyncio.gather(first, kept) == [0, 40]
    assert disk.groups == [[0], [4]]


async def test_canceled_caller_does_not_disturb_the_commit_under_way() -> None:
    disk = Disk(open=False)
    groups = committer(disk)
    canceled, kept = groups.write(2), groups.write(4)
    await eventually(lambda: disk.groups)
    canceled.cancel()
    disk.gate.set()
    assert await kept == 40


async def test_close_finishes_what_waits_and_refuses_what_comes() -> None:
    disk = Disk(open=False)
    groups = committer(disk, max_group=1)
    writes = [groups.write(n) for n in (2, 4, 6)]
    await eventually(lambda: disk.groups)
    async with asyncio.TaskGroup() as tasks:
        closing = tasks.create_task(groups.close())
        await asyncio.sleep(0)
        assert not closing.done()
        with pytest.raises(StoreUnavailableError, match="closed"):
            groups.write(8)
        disk.gate.set()
    assert [write.result() for write in writes] == [20, 40, 60]


async def test_close_returns_at_once_when_nothing_waits() -> None:
    groups = committer(Disk())
    await groups.close()
    await groups.close()


@settings(max_examples=50, deadline=None)
@given(batches=st.lists(st.integers(0, 12), max_size=8), max_group=st.integers(1, 5))
def test_writes_are_committed_once_and_in_order(batches: list[int], max_group: int) -> None:
    async def run() -> list[list[int]]:
        disk = Disk()
        groups = committer(disk, max_group=max_group)
        writes: list[asyncio.Future[int]] = []
        for size in batches:
            writes += [groups.write(2 * (len(writes) + n)) for n in range(size)]
            await asyncio.sleep(0)
        await groups.close()
        assert [write.result() for write in writes] == [20 * n for n in range(len(writes))]
        return disk.groups

    committed = asyncio.run(run())
    assert [write for group in committed for write in group] == [2 * n for n in range(sum(batches))]
    assert all(0 < len(group) <= max_group for group in committed)
