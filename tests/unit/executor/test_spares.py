"""Spares: ready before they are needed, replaced, bounded, and gone when nobody needs their kind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs import errors
from libs.messages.catalog import Limits
from libs.testing.wait import eventually
from services.executor.profile import Profile
from services.executor.sandbox.process import ProcessSandbox
from services.executor.workers.descriptor import GuestDescriptor
from services.executor.workers.guests import Blank, Bounds, Guests
from services.executor.workers.places import Places
from services.executor.workers.process import WorkerEndedError
from services.executor.workers.shelves import Kind, Look
from services.executor.workers.spares import Spares
from tests.unit.executor.scripted import PATIENCE, ScriptedRuntime

KIND = Kind("well", Profile())
NEEDY, OTHERS = Look(".ts", "auto"), Look(".js", "auto")
OTHER = Kind("well", Profile(network=False))


class Kept:
    """Spares and what they are bounded by."""

    def __init__(self, folder: Path, tasks: asyncio.TaskGroup, descriptor: GuestDescriptor) -> None:
        self.room = 1 << 30
        self.quiet = False
        self.folder = folder
        self.places = Places(folder)
        guests = Guests(
            runtimes={script: ScriptedRuntime(script) for script in ("well", "dies")},
            sandbox=ProcessSandbox(),
            descriptor=descriptor,
            places=self.places,
            bounds=Bounds(ready_seconds=PATIENCE, max_body_bytes=1 << 20, max_booting=4),
        )
        self._guests, self._tasks = guests, tasks
        self.spares = self.others()

    def others(self, *, each: int = 2, quiet_bytes: int = 1 << 30, rest_seconds: float = 0.0) -> Spares:
        """Return spares of their own, bounded by the same."""
        return Spares(
            guests=self._guests,
            tasks=self._tasks,
            each=each,
            most=5,
            at_once=2,
            room=lambda: self.room,
            quiet=lambda: self.quiet,
            quiet_bytes=quiet_bytes,
            rest_seconds=rest_seconds,
        )

    def booted(self) -> int:
        """Return how many guests have begun to boot and are still there."""
        return len(list(self.folder.glob("executor-*/[0-9]*")))

    async def ready(self, count: int) -> None:
        """Wait until there are so many."""
        await eventually(lambda: self.spares.count == count, within=PATIENCE)

    async def settled(self) -> None:
        """Wait until no spare boots: one that is followed by another has that one begin before it is done."""
        await eventually(lambda: not any(task.get_name().startswith("spare ") for task in asyncio.all_tasks()), within=PATIENCE)


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    """Spares, two of each kind."""
    with contextlib.closing(GuestDescriptor()) as descriptor:
        async with asyncio.TaskGroup() as tasks:
            made = Kept(tmp_path, tasks, descriptor)
            yield made
            await made.spares.close()
        made.places.close()


async def test_spares_are_kept_of_kinds_in_use_only(kept: Kept) -> None:
    assert kept.spares.count == 0
    kept.spares.use(KIND)
    kept.spares.use(KIND)
    await kept.ready(2)
    kept.spares.use(Kind("unheard of", Profile()))
    kept.spares.disuse(KIND)
    assert kept.spares.count == 2
    kept.spares.disuse(KIND)
    assert kept.spares.count == 0


async def test_start_takes_a_spare_which_is_replaced(kept: Kept) -> None:
    kept.spares.use(KIND)
    await kept.ready(2)
    blank = await kept.spares.take(KIND)
    assert (kept.spares.taken, kept.spares.missed) == (1, 0)
    assert not list(blank.place.code.iterdir())
    await kept.ready(2)
    await blank.worker.kill()
    assert not blank.place.code.exists()
    assert kept.spares.count == 2


async def test_spare_is_replaced_at_once_only_when_few_are_left(kept: Kept) -> None:
    async with contextlib.AsyncExitStack() as stack:
        spares = kept.others(each=4, rest_seconds=3600)
        stack.push_async_callback(spares.close)
        spares.use(KIND)
        await eventually(lambda: spares.count == 4, within=PATIENCE)
        for left in (3, 2):
            stack.push_async_callback((await spares.take(KIND)).worker.kill)
            for _ in range(10):
                await asyncio.sleep(0)
            assert (spares.count, kept.booted()) == (left, 4)  # nobody takes the processor from the start
        stack.push_async_callback((await spares.take(KIND)).worker.kill)
        await eventually(lambda: spares.count == 4, within=PATIENCE)


async def test_start_boots_a_guest_itself_when_there_is_no_spare(kept: Kept) -> None:
    blank = await kept.spares.take(OTHER)
    assert (kept.spares.taken, kept.spares.missed) == (0, 1)
    await blank.worker.kill()
    with pytest.raises(errors.UnavailableError):
        await kept.spares.take(Kind("unheard of", Profile()))
    with pytest.raises(WorkerEndedError):
        await kept.spares.take(Kind("dies", Profile()))


async def test_start_takes_a_spare_that_boots_already_rather_than_boot_another(kept: Kept) -> None:
    spares = kept.others(each=1)
    spares.use(KIND)
    await asyncio.sleep(0)
    kept.room = 0
    blank = await spares.take(KIND)
    assert (kept.booted(), spares.count, spares.missed) == (1, 0, 1)
    await blank.worker.kill()
    await spares.close()


async def test_start_that_waits_for_a_spare_boots_one_itself_when_that_one_fails(kept: Kept) -> None:
    spares = kept.others(each=1)
    spares.use(Kind("dies", Profile()))
    await asyncio.sleep(0)
    with pytest.raises(WorkerEndedError):
        await spares.take(Kind("dies", Profile()))
    await spares.close()


async def test_start_that_is_given_up_while_a_spare_boots_leaves_it_to_the_next(kept: Kept) -> None:
    spares = kept.others(each=1)
    spares.use(KIND)
    await asyncio.sleep(0)
    kept.room = 0
    given_up = asyncio.ensure_future(spares.take(KIND))
    await asyncio.sleep(0)
    given_up.cancel()
    blank = await spares.take(KIND)
    assert (given_up.cancelled(), kept.booted()) == (True, 1)
    await blank.worker.kill()
    await spares.close()


async def test_more_spares_are_kept_after_a_burst(kept: Kept) -> None:
    kept.spares.use(KIND)
    blanks = [await kept.spares.take(KIND) for _ in range(3)]
    expected = 4 if kept.spares.missed == 1 else 5
    await kept.ready(expected)
    await kept.settled()
    assert kept.spares.count == expected
    await asyncio.gather(*(blank.worker.kill() for blank in blanks))


async def test_spare_that_dies_is_not_handed_out(kept: Kept) -> None:
    kept.spares.use(KIND)
    await kept.ready(2)
    blank = await kept.spares.take(KIND)
    await kept.ready(2)
    taken = [await kept.spares.take(KIND) for _ in range(2)]
    await taken[0].worker.kill()
    await eventually(lambda: kept.spares.count >= 2, within=PATIENCE)
    again = await kept.spares.take(KIND)
    assert not again.worker.ended
    await asyncio.gather(*(each.worker.kill() for each in (blank, *taken, again)))


async def test_spares_go_first_when_memory_runs_short_and_are_not_booted_at_once_again(kept: Kept) -> None:
    kept.spares.use(KIND)
    await kept.ready(2)
    assert kept.spares.shed(1) > 0
    assert kept.spares.count == 1
    kept.spares.shed(1 << 40)
    assert kept.spares.count == 0
    kept.spares.trim()
    assert kept.spares.count == 0


async def test_no_spare_is_booted_where_there_is_no_room(kept: Kept) -> None:
    kept.room = 0
    kept.spares.use(KIND)
    kept.spares.trim()
    assert kept.spares.count == 0
    kept.room = 1 << 30
    kept.spares.trim()
    await kept.ready(2)


async def test_spares_of_all_kinds_together_are_bounded(kept: Kept) -> None:
    kinds = [Kind("well", Profile(disk_mb=size)) for size in range(1, 6)]
    for kind in kinds:
        kept.spares.use(kind)
    await kept.ready(5)
    await kept.settled()
    assert (kept.spares.count, kept.booted()) == (5, 5)


async def test_more_spares_are_kept_by_and_by_while_there_is_nothing_to_do(kept: Kept) -> None:
    kept.spares.use(KIND)
    await kept.ready(2)
    kept.spares.trim()
    assert kept.spares.count == 2
    kept.quiet = True
    kept.spares.trim()
    await kept.ready(5)
    await kept.settled()
    assert kept.spares.count == 5  # as many as there may be of all kinds


async def test_no_more_spares_are_kept_without_a_burst_when_they_are_heavy(kept: Kept) -> None:
    kept.quiet = True
    async with contextlib.AsyncExitStack() as stack:
        spares = kept.others(quiet_bytes=1)
        stack.push_async_callback(spares.close)
        spares.use(KIND)
        await eventually(lambda: spares.count == 2, within=PATIENCE)
        for _ in range(3):
            await asyncio.sleep(0)
            spares.trim()
        assert kept.booted() == 2


async def test_spares_go_when_the_workers_need_their_room(kept: Kept) -> None:
    kept.spares.use(KIND)
    await kept.ready(2)
    kept.room = 1
    kept.spares.trim()
    assert kept.spares.count == 0


async def warmed(blank: Blank) -> bytes:
    """Return what a spare was asked to make ready: the scripted guest tells it when it loads."""
    frame = await blank.worker.assign(b"{}", limits=Limits(), seconds=PATIENCE)
    await blank.worker.kill()
    return frame.head


async def test_half_of_the_spares_are_warmed_for_what_code_needed_and_are_taken_for_code_like_that(kept: Kept) -> None:
    async with contextlib.AsyncExitStack() as stack:
        spares = kept.others(each=4, rest_seconds=3600)
        stack.push_async_callback(spares.close)
        spares.use(KIND)
        await eventually(lambda: spares.count == 4, within=PATIENCE)
        spares.learn(KIND, NEEDY, b'["compiler"]')
        spares.learn(KIND, OTHERS, b"")
        for _ in range(4):
            spares.trim()
        taken = [await spares.take(KIND, look) for look in (NEEDY, OTHERS, NEEDY, OTHERS)]
        assert [await warmed(blank) for blank in taken] == [b'["compiler"]', b"", b'["compiler"]', b""]


@pytest.mark.parametrize("told", [b"{", b"1", b'{"a": 1}', b'[1, null, "no word", ["x"]]', b"\xff"])
async def test_spares_are_not_warmed_for_what_are_no_words(kept: Kept, told: bytes) -> None:
    kept.spares.use(KIND)
    await kept.ready(2)
    kept.spares.learn(KIND, NEEDY, told)
    kept.spares.trim()
    assert await warmed(await kept.spares.take(KIND, NEEDY)) == b""


async def test_spares_are_not_warmed_any_more_when_code_of_that_look_has_no_needs(kept: Kept) -> None:
    kept.spares.use(KIND)
    await kept.ready(2)
    kept.spares.learn(KIND, NEEDY, b'["compiler"]')
    kept.spares.learn(KIND, NEEDY, b"")
    kept.spares.trim()
    assert await warmed(await kept.spares.take(KIND, NEEDY)) == b""


async def test_close_ends_all_spares_and_those_that_are_just_booting(kept: Kept) -> None:
    kept.spares.use(KIND)
    await asyncio.sleep(0)
    await kept.spares.close()
    kept.spares.use(OTHER)
    await kept.ready(0)
