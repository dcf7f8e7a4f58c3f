"""The queue in front of a full gate: whatever happens, nobody is let in over the limit, or before others, or never."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from libs.messages.catalog import Policy, WorkerPoolPolicy
from libs.testing.fakes import function_entry
from libs.testing.wait import eventually
from services.gateway import turn
from services.gateway.admission import Gate, Gates
from services.gateway.answers import Refusal
from services.gateway.outcomes import Gone

FOR_EVER = 30_000


def _policy(*, limit: int = 1, queue: int = 8, timeout_ms: int = 0, enabled: bool = True) -> Policy:
    pool = WorkerPoolPolicy(enabled=enabled, max_workers=limit, max_queue=queue, queue_timeout_ms=timeout_ms)
    return Policy(max_concurrency=limit, worker_pool=pool)


def _gate(policy: Policy) -> Gate:
    function = function_entry("f", policy=policy)
    return Gates().gate("f", function, function.versions[0])


async def _never() -> None:
    await asyncio.Event().wait()


async def _refusal(gate: Gate, gone: Gone) -> Refusal | None:
    try:
        await turn.wait(gate, budget_ms=FOR_EVER, gone=gone)
    except Refusal as refusal:
        return refusal
    return None


async def _settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def test_call_that_waits_gets_the_slot_that_comes_free() -> None:
    gate = _gate(_policy())
    assert gate.enter()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(turn.wait(gate, budget_ms=FOR_EVER, gone=_never))
        await _settle()
        assert (gate.in_flight, gate.waiting) == (1, 1)
        gate.leave()
    assert waiting.result() > 0
    assert (gate.in_flight, gate.waiting) == (1, 0)


@pytest.mark.parametrize(("timeout_ms", "budget_ms"), [(20, FOR_EVER), (0, 20), (FOR_EVER, 20)])
async def test_call_that_waited_long_enough_is_refused(timeout_ms: int, budget_ms: int) -> None:
    gate = _gate(_policy(timeout_ms=timeout_ms))
    assert gate.enter()
    with pytest.raises(Refusal, match="worker pool queue timeout") as caught:
        await turn.wait(gate, budget_ms=budget_ms, gone=_never)
    assert caught.value.status == 429
    assert (gate.timed_out, gate.shed, gate.waiting, gate.in_flight) == (1, 0, 0, 1)


async def test_call_for_which_the_queue_has_no_room_is_refused_at_once() -> None:
    gate = _gate(_policy(queue=0))
    assert gate.enter()
    with pytest.raises(Refusal, match="worker pool overflow"):
        await turn.wait(gate, budget_ms=FOR_EVER, gone=_never)
    assert (gate.timed_out, gate.shed) == (0, 1)


async def test_client_that_leaves_gives_its_place_up() -> None:
    gate = _gate(_policy(queue=1))
    assert gate.enter()
    left = asyncio.Event()

    async def gone() -> None:
        await left.wait()

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(_refusal(gate, gone))
        await eventually(lambda: gate.full)
        left.set()
    assert str(waiting.result()) == "client closed request"
    assert (gate.waiting, gate.full, gate.in_flight) == (0, False, 1)


async def test_wider_limit_lets_in_who_waits_and_a_narrower_one_nobody() -> None:
    gate = _gate(_policy())
    assert gate.enter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(turn.wait(gate, budget_ms=FOR_EVER, gone=_never))
        await _settle()
        gate.follow(_policy(limit=3))
        assert (gate.in_flight, gate.waiting) == (3, 1)
        gate.follow(_policy(limit=1))
        gate.leave()
        gate.leave()
        assert (gate.in_flight, gate.waiting) == (1, 1)
        gate.follow(replace(_policy(limit=0), max_concurrency=0))
        assert (gate.in_flight, gate.waiting) == (2, 0)


def test_pool_that_is_off_has_no_queue() -> None:
    gate = _gate(_policy(enabled=False))
    assert (gate.limit, gate.max_queue) == (1, 0)


@st.composite
def _steps(draw: st.DrawFn) -> list[tuple[str, int]]:
    step = st.tuples(st.sampled_from(("ask", "ask", "ask", "leave", "leave", "cancel", "limit")), st.integers(0, 5))
    return draw(st.lists(step, max_size=60))


@given(steps=_steps())
@example(steps=[("ask", 0), ("ask", 0), ("ask", 1), ("ask", 0), ("limit", 3)])
@settings(deadline=None, max_examples=60)
def test_gate_keeps_its_promises_whatever_happens(steps: list[tuple[str, int]]) -> None:
    asyncio.run(_drive(steps))


class _Crowd:
    """Calls that come to a gate and leave it."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.gate = _gate(_policy(limit=2, queue=4))
        self.holders: list[int] = []
        self.entered: list[int] = []
        self._waiting: dict[int, asyncio.Task[None]] = {}
        self._tasks = tasks

    def do(self, number: int, step: str, value: int) -> None:
        """Do one step, if it can be done now."""
        match step:
            case "ask" if self.gate.enter():
                self.holders.append(number)
            case "ask" if not self.gate.full:
                self._waiting[number] = self._tasks.create_task(self._wait(number))
            case "leave" if self.holders:
                self.leave(value)
            case "cancel" if self._waiting:
                self._waiting.pop(list(self._waiting)[value % len(self._waiting)]).cancel()
            case "limit":
                self.gate.follow(_policy(limit=value + 1, queue=4))
            case _:
                pass

    def leave(self, value: int) -> None:
        """Let one go."""
        self.holders.pop(value % len(self.holders))
        self.gate.leave()

    def check(self) -> None:
        """Compare with what the gate says, once all tasks have done what they can."""
        assert self.gate.in_flight == len(self.holders)
        assert not self.gate.waiting or self.gate.in_flight >= self.gate.limit

    async def _wait(self, number: int) -> None:
        at_once = self.gate.in_flight < self.gate.limit
        assert not (at_once and self.gate.waiting)  # it goes past nobody
        assert await self.gate.enter_in_turn(within=FOR_EVER)
        if not at_once:  # one that was let in and one for which there is room since tell of it in any order
            self.entered.append(number)
        self.holders.append(number)
        self._waiting.pop(number, None)


async def _drive(steps: list[tuple[str, int]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        crowd = _Crowd(tasks)
        for number, (step, value) in enumerate(steps):
            crowd.do(number, step, value)
            if value % 2:  # else the next step comes before anybody has been woken
                await _settle()
                crowd.check()
        await _settle()
        while crowd.holders:
            crowd.leave(0)
            await _settle()
            crowd.check()
    assert crowd.entered == sorted(crowd.entered)
    assert (crowd.gate.in_flight, crowd.gate.waiting) == (0, 0)
