"""Dead letters of others on their way into the scheduler's store."""

import asyncio
from datetime import timedelta

import pytest

from libs.bus import streams
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.clock import SystemClock
from libs.messages import codec, subjects
from libs.messages.jobs import DeadLetter
from libs.storage.memory import MemoryStore
from libs.testing.wait import eventually
from services.scheduler import dead_letters
from services.scheduler.dead_letters import DeadLetterKeeper
from services.scheduler.store import JobStore


async def test_letter_that_nobody_foresaw_is_tried_a_few_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dead_letters, "_RETRY_SECONDS", 0.01)
    bus, store, clock = MemoryBus(MemoryBroker()), JobStore(MemoryStore()), SystemClock()
    await store.prepare()
    await bus.ensure_stream(streams.EVENTS)
    tries = 0
    keep = store.add_letter

    async def add(letter: DeadLetter, **more: object) -> None:
        nonlocal tries
        if letter.subject == "odd":
            tries += 1
            raise RuntimeError("nobody foresaw this")
        await keep(letter, **more)  # pyright: ignore[reportArgumentType]  as they came

    monkeypatch.setattr(store, "add_letter", add)
    for subject in ("odd", "good"):
        letter = DeadLetter(subject=subject, reason="x", data=b"", source="test", at=clock.now())
        await bus.append(subjects.DEAD_LETTER, codec.encode(letter))
    async with asyncio.TaskGroup() as tasks:
        keeper = DeadLetterKeeper(store=store, clock=clock, keep=timedelta(hours=1), tasks=tasks)
        consumer = await keeper.start(bus)
        await eventually(lambda: keeper.kept == 1 and tries == 5)
        await consumer.stop()
    assert [letter.subject for letter in await store.letters(limit=10)] == ["good"]
    await bus.close()
