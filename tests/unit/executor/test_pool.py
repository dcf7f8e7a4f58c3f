"""The pool: its rules one by one, and its invariants under whatever may happen."""

from collections import defaultdict
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.executor.pool.growth import LATE_SECONDS, PATIENCE_SECONDS
from services.executor.pool.pace import LONG_SECONDS, PAUSE_SECONDS
from services.executor.pool.pool import SHRINK_SECONDS, TURN_SECONDS, Pool
from services.executor.pool.slots import Call, Limits, Refusal, Slot, State, Terms

MAX_WORKERS = 4
MAX_WAITING = 12
MEMORY = 100
VERSION_LIMIT = 3
DEPTH = 3


@dataclass
class Recorder:
    """Effects that only note what was asked for."""

    started: list[Slot] = field(default_factory=list[Slot])
    running: dict[int, Call] = field(default_factory=dict[int, Call])
    ahead: dict[int, list[Call]] = field(default_factory=lambda: defaultdict[int, list[Call]](list))
    stopped: list[Slot] = field(default_factory=list[Slot])
    refused: list[tuple[Call, Refusal]] = field(default_factory=list[tuple[Call, Refusal]])

    def start(self, slot: Slot) -> None:
        self.started.append(slot)

    def run(self, call: Call, slot: Slot) -> None:
        assert slot.number not in self.running
        assert call.version == slot.version
        self.running[slot.number] = call

    def run_ahead(self, call: Call, slot: Slot) -> None:
        assert slot.number in self.running
        assert call.version == slot.version
        self.ahead[slot.number].append(call)

    def begin(self, call: Call, slot: Slot) -> None:
        assert slot.number not in self.running
        assert call is self.ahead[slot.number].pop(0)
        self.running[slot.number] = call

    def stop(self, slot: Slot) -> None:
        assert slot.number not in self.running
        self.stopped.append(slot)

    def refuse(self, call: Call, reason: Refusal) -> None:
        self.refused.append((call, reason))


def make(max_workers: int = MAX_WORKERS, **bounds: int) -> tuple[Pool[Call], Recorder]:
    effects = Recorder()
    return Pool[Call](Limits(max_workers=max_workers, **bounds), effects), effects


def call(version: str = "a", deadline: float = 100.0) -> Call:
    return Call(version=version, deadline=deadline)


def answer(pool: Pool[Call], effects: Recorder, slot: Slot, now: float) -> Call:
    """Let the call of a slot have its answer."""
    answered = effects.running.pop(slot.number)
    pool.answered(slot, now)
    return answered


def warm(pool: Pool[Call], effects: Recorder, version: str, *, now: float, run_seconds: float) -> Slot:
    """Let a version have one idle worker whose calls are known to take `run_seconds`."""
    pool.submit(call(version), now)
    slot = effects.started[-1]
    pool.ready(slot, now)
    answer(pool, effects, slot, now + run_seconds)
    return slot


def test_pool_starts_a_worker_at_once_when_a_version_has_none() -> None:
    pool, effects = make()
    pool.submit(call(), 0.0)
    assert [slot.version for slot in effects.started] == ["a"]


def test_pool_shares_a_warm_worker_when_handlers_are_short() -> None:
    pool, effects = make()
    warm(pool, effects, "a", now=0.0, run_seconds=0.001)
    for _ in range(4):
        pool.submit(call(), 1.0)
    assert len(effects.started) == 1


def test_pool_grows_at_once_when_handlers_are_slow() -> None:
    pool, effects = make()
    warm(pool, effects, "a", now=0.0, run_seconds=1.0)
    for _ in range(4):
        pool.submit(call(), 2.0)
    assert len(effects.started) == 4


def test_pool_grows_when_the_first_handler_turns_out_slow() -> None:
    pool, effects = make()
    for _ in range(3):
        pool.submit(call(), 0.0)
    pool.ready(effects.started[0], 0.0)
    assert len(effects.started) == 1
    pool.tick(LATE_SECONDS + 0.001)
    assert len(effects.started) == 3


def computing(pool: Pool[Call], effects: Recorder, *, calls: int = 30) -> Slot:
    """Let a version be known to compute only, in runs that take long because the machine is short."""
    slot = warm(pool, effects, "a", now=0.0, run_seconds=0.0)
    for _ in range(calls):
        pool.submit(call(), 1.0)
        effects.running.pop(slot.number)
        pool.answered(slot, 1.2, waited=False)
    return slot


def test_pool_grows_no_further_than_the_cores_when_handlers_only_compute() -> None:
    pool, effects = make(max_workers=16, max_computing=3)
    computing(pool, effects)
    for _ in range(10):
        pool.submit(call(), 2.0)
    assert len(effects.started) == 3


def test_pool_grows_at_once_when_one_of_ten_handlers_waits() -> None:
    pool, effects = make(max_workers=16, max_computing=3, max_starting=16)
    slot = computing(pool, effects)
    pool.submit(call(), 1.0)
    effects.running.pop(slot.number)
    pool.answered(slot, 1.2, waited=True)
    for _ in range(9):
        pool.submit(call(), 1.0)
        effects.running.pop(slot.number)
        pool.answered(slot, 1.2, waited=False)
    for _ in range(10):
        pool.submit(call(), 2.0)
    assert len(effects.started) == 10


def test_pool_grows_when_calls_do_not_get_on_though_handlers_only_computed() -> None:
    pool, effects = make(max_workers=16, max_computing=1)
    computing(pool, effects)
    for _ in range(3):
        pool.submit(call(), 2.0)
    assert len(effects.started) == 1
    pool.tick(2.0 + PATIENCE_SECONDS)
    assert len(effects.started) > 1


def test_pool_grows_no_further_when_calls_wait_long_but_get_on_and_handlers_only_compute() -> None:
    pool, effects = make(max_workers=16, max_computing=1)
    slot = computing(pool, effects)
    for _ in range(20):
        pool.submit(call(), 2.0)
    for turn in range(1, 10):
        effects.running.pop(slot.number)
        pool.answered(slot, 2.0 + turn * PATIENCE_SECONDS / 2, waited=False)
        pool.tick(2.0 + turn * PATIENCE_SECONDS / 2)
    assert len(effects.started) == 1


def test_pool_uses_the_worker_that_was_used_last_when_several_are_idle() -> None:
    pool, effects = make()
    first = warm(pool, effects, "a", now=0.0, run_seconds=1.0)
    pool.submit(call(), 2.0)
    pool.submit(call(), 2.0)
    second = effects.started[1]
    pool.ready(second, 2.1)
    answer(pool, effects, first, 3.0)
    answer(pool, effects, second, 4.0)
    pool.submit(call(), 5.0)
    assert list(effects.running) == [second.number]


def test_pool_refuses_a_call_when_the_queue_is_full() -> None:
    pool, effects = make(max_workers=1, max_waiting=2)
    for _ in range(3):
        pool.submit(call(), 0.0)
    assert [reason for _, reason in effects.refused] == [Refusal.BUSY]


def test_pool_refuses_a_call_as_cold_when_its_budget_ends_during_the_start() -> None:
    pool, effects = make()
    pool.submit(call(deadline=1.0), 0.0)
    pool.tick(1.0)
    assert [reason for _, reason in effects.refused] == [Refusal.COLD_TIMEOUT]


def test_pool_refuses_a_call_as_queued_when_its_budget_ends_behind_others() -> None:
    pool, effects = make(max_workers=1)
    pool.submit(call(), 0.0)
    pool.submit(call(deadline=1.0), 0.0)
    pool.ready(effects.started[0], 0.1)
    pool.tick(1.0)
    assert [reason for _, reason in effects.refused] == [Refusal.QUEUE_TIMEOUT]


def test_pool_tells_what_a_call_waited_for_the_start() -> None:
    pool, effects = make()
    mine = call()
    pool.submit(mine, 0.0)
    pool.ready(effects.started[0], 0.03)
    assert mine.cold_seconds == 0.03


def test_pool_evicts_the_idle_worker_used_least_recently_when_all_places_are_taken() -> None:
    pool, effects = make(max_workers=2)
    old = warm(pool, effects, "a", now=0.0, run_seconds=0.1)
    warm(pool, effects, "b", now=1.0, run_seconds=0.1)
    pool.submit(call("c"), 2.0)
    assert effects.stopped == [old]
    pool.ended(old, 2.1)
    assert effects.started[-1].version == "c"


def test_pool_gives_a_turn_to_another_version_when_one_floods_it() -> None:
    pool, effects = make(max_workers=1)
    for _ in range(5):
        pool.submit(call("flood"), 0.0)
    slot = effects.started[0]
    pool.ready(slot, 0.1)
    pool.submit(call("quiet"), 0.2)
    answer(pool, effects, slot, 0.1 + TURN_SECONDS)
    assert effects.stopped == [slot]
    pool.ended(slot, 0.3)
    assert effects.started[-1].version == "quiet"


def test_pool_fails_the_waiting_calls_when_the_only_worker_cannot_be_started() -> None:
    pool, effects = make()
    mine = call()
    pool.submit(mine, 0.0)
    assert pool.failed(effects.started[0], 0.1) == [mine]


def test_pool_starts_anew_when_the_worker_of_a_waiting_call_is_lost() -> None:
    pool, effects = make(max_workers=1)
    pool.submit(call(), 0.0)
    pool.submit(call(), 0.0)
    pool.ready(effects.started[0], 0.1)
    pool.ended(effects.started[0], 0.2)
    assert len(effects.started) == 2


def test_pool_starts_anew_at_once_when_the_last_worker_is_lost_soon_after_a_failed_start() -> None:
    """The pause after a failed start is for versions that have another worker to wait for."""
    pool, effects = make()
    first = warm(pool, effects, "a", now=0.0, run_seconds=1.0)
    for _ in range(2):
        pool.submit(call(), 2.0)
    second = effects.started[1]
    assert pool.failed(second, 2.1) == []
    pool.ended(second, 2.1)
    effects.running.pop(first.number)
    pool.ended(first, 2.2)
    assert [slot.version for slot in effects.started] == ["a", "a", "a"]


def test_pool_ends_idle_workers_when_their_time_is_up() -> None:
    pool, effects = make()
    slot = warm(pool, effects, "a", now=0.0, run_seconds=0.1)
    pool.trim(299.0)
    assert effects.stopped == []
    pool.trim(301.0)
    assert effects.stopped == [slot]


def test_pool_starts_as_many_as_calls_wait_once_a_handler_is_seen_to_wait() -> None:
    pool, effects = make(max_workers=20, max_starting=2)
    for _ in range(10):
        pool.submit(call(), 0.0)
    pool.ready(effects.started[0], 0.01)
    pool.seen(effects.started[0], 0.04, rests=True)
    pool.tick(0.04)
    assert len(effects.started) == 10


def test_pool_starts_few_at_a_time_while_handlers_compute() -> None:
    pool, effects = make(max_workers=20, max_starting=2)
    for _ in range(10):
        pool.submit(call(), 0.0)
    pool.ready(effects.started[0], 0.01)
    pool.seen(effects.started[0], 0.04, rests=False)
    pool.tick(0.04)
    assert len(effects.started) == 3


def sized(worker_bytes: int) -> Terms:
    return Terms(worker_bytes=worker_bytes)


def test_pool_opens_no_worker_that_does_not_fit_into_memory() -> None:
    pool, effects = make(max_workers=20, memory_bytes=100)
    for version in "abc":
        pool.submit(call(version), 0.0, sized(40))
    assert [slot.version for slot in effects.started] == ["a", "b"]
    assert pool.room_bytes == 20
    pool.ready(effects.started[0], 0.1)
    answer(pool, effects, effects.started[0], 0.2)
    assert effects.stopped == [effects.started[0]]
    pool.ended(effects.started[0], 0.3)
    assert effects.started[-1].version == "c"


def test_pool_opens_a_worker_larger_than_its_memory_when_there_is_no_other() -> None:
    pool, effects = make(memory_bytes=100)
    pool.submit(call("a"), 0.0, sized(40))
    pool.submit(call("b"), 0.0, sized(400))
    pool.ready(effects.started[0], 0.1)
    answer(pool, effects, effects.started[0], 0.1)
    pool.ended(effects.started[0], 0.2)
    assert effects.started[-1].version == "b"


def test_pool_evicts_idle_workers_when_busy_ones_turn_out_larger() -> None:
    pool, effects = make(max_workers=20, memory_bytes=100)
    for version in "abc":
        pool.submit(call(version), 0.0, sized(30))
    for slot in effects.started:
        pool.ready(slot, 0.1)
    first, second, third = effects.started
    answer(pool, effects, first, 0.2)
    answer(pool, effects, second, 0.3)
    effects.running.pop(third.number)
    pool.answered(third, 0.4, used_bytes=60)
    assert effects.stopped == [first]


def test_pool_lets_nobody_small_go_past_somebody_large_in_the_line() -> None:
    pool, effects = make(max_workers=20, memory_bytes=100)
    pool.submit(call("a"), 0.0, sized(60))
    pool.submit(call("large"), 0.0, sized(90))
    pool.submit(call("small"), 0.0, sized(10))
    assert [slot.version for slot in effects.started] == ["a"]
    pool.ready(effects.started[0], 0.1)
    answer(pool, effects, effects.started[0], 0.1)
    pool.ended(effects.started[0], 0.2)
    assert [slot.version for slot in effects.started] == ["a", "large", "small"]


def test_pool_gives_back_the_idle_workers_that_were_used_least_recently_when_memory_runs_short() -> None:
    pool, effects = make(memory_bytes=1000)
    for at, version in enumerate("abc"):
        pool.submit(call(version), at, sized(30))
        pool.ready(effects.started[-1], at)
        answer(pool, effects, effects.started[-1], at + 0.1)
    pool.relieve(31)
    assert [slot.version for slot in effects.stopped] == ["a", "b"]


def test_pool_keeps_as_many_workers_as_are_to_stay() -> None:
    pool, effects = make()
    terms = Terms(floor=2)
    pool.warm("a", 0.0, terms)
    assert len(effects.started) == 2
    for slot in effects.started:
        pool.ready(slot, 0.1)
    pool.trim(1000.0)
    assert effects.stopped == []
    pool.warm("a", 1000.0, terms)
    assert len(effects.started) == 2
    pool.retire("a")
    assert len(effects.stopped) == 2


def test_pool_replaces_a_kept_worker_and_takes_its_time_when_starts_fail() -> None:
    pool, effects = make()
    terms = Terms(floor=1)
    now = 0.0
    pool.warm("a", now, terms)
    for _ in range(600):
        for slot in [each for each in effects.started if each.state is State.STARTING]:
            assert pool.failed(slot, now) == []
            pool.ended(slot, now)
        now += 1.0
        pool.warm("a", now, terms)
    assert 5 < len(effects.started) < 25


def test_pool_ends_no_other_s_worker_for_one_that_nobody_waits_for() -> None:
    pool, effects = make(max_workers=1)
    warm(pool, effects, "a", now=0.0, run_seconds=0.1)
    pool.warm("b", 1.0, Terms(floor=1))
    assert effects.stopped == []
    assert len(effects.started) == 1


def test_pool_keeps_idle_workers_as_long_as_their_version_says() -> None:
    pool, effects = make()
    pool.submit(call(), 0.0, Terms(idle_seconds=10))
    pool.ready(effects.started[0], 0.0)
    answer(pool, effects, effects.started[0], 0.0)
    pool.trim(9.0)
    assert effects.stopped == []
    pool.trim(11.0)
    assert effects.stopped == effects.started


def short(pool: Pool[Call], effects: Recorder, *, depth: int = DEPTH) -> Slot:
    """Let a version have one idle worker that reads ahead and is known for short calls that compute."""
    pool.submit(call(), 0.0)
    slot = effects.started[-1]
    pool.ready(slot, 0.0, depth=depth)
    done(pool, effects, slot)
    for _ in range(30):
        pool.submit(call(), 0.0)
        done(pool, effects, slot)
    return slot


def done(pool: Pool[Call], effects: Recorder, slot: Slot, now: float = 0.0, *, used_us: int = 50, alone: bool = False) -> Call:
    """Let the call of a slot have an answer that took no time but the processor's."""
    answered = effects.running.pop(slot.number)
    pool.answered(slot, now, waited=False, used_us=used_us, alone=alone)
    return answered


def test_pool_sends_calls_ahead_in_order_when_they_are_short_and_no_worker_is_idle() -> None:
    pool, effects = make(max_computing=1)
    slot = short(pool, effects)
    mine = [call() for _ in range(6)]
    for each in mine:
        pool.submit(each, 0.0)
    assert done(pool, effects, slot) is mine[0]
    assert effects.running[slot.number] is mine[1]
    assert effects.ahead[slot.number] == mine[2:5]
    assert [done(pool, effects, slot) for _ in range(5)] == mine[1:]
    assert pool.unfinished == 0
    assert pool.idle == 1


def test_pool_sends_a_worker_no_more_ahead_than_its_share() -> None:
    pool, effects = make(max_computing=2)
    first = short(pool, effects)
    pool.warm("a", 0.0, Terms(floor=2))
    pool.ready(effects.started[1], 0.0, depth=DEPTH)
    for _ in range(5):
        pool.submit(call(), 0.0)
    done(pool, effects, first)
    assert len(effects.ahead[first.number]) == 1


def test_pool_sends_no_call_ahead_that_is_to_be_apart_nor_one_behind_it() -> None:
    class Apart(Call):
        @property
        def apart(self) -> bool:
            return True

    pool, effects = make(max_computing=1)
    slot = short(pool, effects)
    mine = [call(), call(), call(), Apart(version="a", deadline=100.0), call(), call()]
    for each in mine:
        pool.submit(each, 0.0)
    assert done(pool, effects, slot) is mine[0]
    assert effects.ahead[slot.number] == mine[2:3]
    assert [done(pool, effects, slot) for _ in range(5)] == mine[1:]
    assert (pool.unfinished, pool.idle) == (0, 1)


def test_pool_gives_up_workers_one_by_one_when_there_are_more_than_make_use_of_the_cores() -> None:
    pool, effects = make(max_computing=2)
    pool.warm("a", 0.0, Terms(floor=4))
    for slot in effects.started:
        pool.ready(slot, 0.0)
    for turn in range(100):
        now = turn * SHRINK_SECONDS / 4
        idle = [each for each in effects.started if each.state is State.IDLE]
        for _ in idle:
            pool.submit(call(), now)
        for slot in idle:
            done(pool, effects, slot, now)
        assert len(effects.stopped) <= 1 + turn // 4
    assert len(effects.stopped) == 2


def test_pool_gives_a_call_to_an_idle_worker_rather_than_behind_another() -> None:
    pool, effects = make(max_computing=2)
    first = short(pool, effects)
    pool.warm("a", 0.0, Terms(floor=2))
    pool.ready(effects.started[1], 0.0, depth=DEPTH)
    pool.submit(call(), 0.0)
    pool.submit(call(), 0.0)
    assert len(effects.running) == 2
    assert not effects.ahead[first.number]


def test_pool_keeps_no_worker_idle_that_got_ready_when_there_was_too_little_memory() -> None:
    pool, effects = make(memory_bytes=100)
    busy = warm(pool, effects, "a", now=0.0, run_seconds=0.1)
    left = call("b")
    pool.submit(left, 1.0, Terms(worker_bytes=40))
    late = effects.started[-1]
    pool.cancel(left, 1.0)
    pool.submit(call("a"), 1.0)
    effects.running.pop(busy.number)
    pool.submit(call("a"), 1.0)  # it waits, so that the slot goes on
    pool.answered(busy, 1.1, used_bytes=90)
    pool.ready(late, 1.2)
    assert late.state is State.ENDING


@pytest.mark.parametrize("why", ["printed", "long", "waits", "streams"])
def test_pool_sends_none_ahead_when_a_call_has_to_be_alone(why: str) -> None:
    pool, effects = make(max_computing=1)
    slot = short(pool, effects)
    for _ in range(5):
        pool.submit(call(), 0.0)
    if why == "printed":
        done(pool, effects, slot, alone=True)
    elif why == "long":
        done(pool, effects, slot, used_us=round(LONG_SECONDS * 1e6))
    elif why == "waits":
        answer(pool, effects, slot, 0.0)
    else:
        pool.takes_long(slot, 0.0)
        done(pool, effects, slot)
    assert not effects.ahead[slot.number]


def test_pool_sends_none_ahead_when_what_they_take_is_more_than_waking() -> None:
    pool, effects = make(max_computing=1)
    slot = short(pool, effects)
    for _ in range(30):
        pool.submit(call(), 0.0)
        done(pool, effects, slot, used_us=900)
    for _ in range(5):
        pool.submit(call(), 0.0)
    done(pool, effects, slot)
    assert not effects.ahead[slot.number]


def test_pool_sends_calls_ahead_again_when_the_last_that_was_alone_is_long_ago() -> None:
    pool, effects = make(max_computing=1)
    slot = short(pool, effects)
    pool.takes_long(slot, 0.0)
    for _ in range(5):
        pool.submit(call(), PAUSE_SECONDS)
    done(pool, effects, slot, PAUSE_SECONDS)
    assert effects.ahead[slot.number]


def test_pool_sends_none_ahead_while_another_version_stands_in_line() -> None:
    pool, effects = make(max_workers=1)
    slot = short(pool, effects)
    for _ in range(5):
        pool.submit(call(), 0.0)
    pool.submit(call("b"), 0.0)
    done(pool, effects, slot)
    assert not effects.ahead[slot.number]


def test_pool_runs_calls_elsewhere_and_first_when_the_worker_that_had_them_ahead_ends() -> None:
    pool, effects = make(max_computing=1)
    slot = short(pool, effects)
    mine = [call() for _ in range(7)]
    for each in mine:
        pool.submit(each, 0.0)
    done(pool, effects, slot)
    assert effects.ahead[slot.number] == mine[2:5]
    effects.running.pop(slot.number)
    pool.ended(slot, 0.0, again=mine[3:5])
    assert pool.waiting == len(mine[3:])
    other = effects.started[-1]
    pool.ready(other, 0.1)
    for each in mine[3:]:
        assert done(pool, effects, other) is each


class PoolMachine(RuleBasedStateMachine):
    """Random calls, answers, crashes, failures, cancellations, deadlines, evictions, sizes, and short memory."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.pool, self.effects = make(
            max_waiting=MAX_WAITING, max_waiting_per_version=8, max_starting=2, max_computing=2, memory_bytes=MEMORY
        )
        self.requeued = 0
        self.submitted: list[Call] = []
        self.done: list[Call] = []

    def starting(self) -> list[Slot]:
        return [slot for slot in self.effects.started if slot.state is State.STARTING]

    def elsewhere(self) -> list[Call]:
        """Return the calls that do not wait: those that are over, run, or are sent ahead."""
        ahead = [each for sent in self.effects.ahead.values() for each in sent]
        return [*self.done, *(each for each, _ in self.effects.refused), *self.effects.running.values(), *ahead]

    def waiting(self) -> list[Call]:
        known = set(map(id, self.elsewhere()))
        return [each for each in self.submitted if id(each) not in known]

    def finish(self, slot: Slot) -> None:
        self.done.append(self.effects.running.pop(slot.number))

    @rule(
        version=st.sampled_from("abcd"),
        budget=st.floats(0.01, 2.0),
        limit=st.sampled_from([0, VERSION_LIMIT]),
        size=st.sampled_from([0, 10, 40, 2 * MEMORY]),
    )
    def submit(self, version: str, budget: float, limit: int, size: int) -> None:
        mine = call(version, self.now + budget)
        self.submitted.append(mine)
        self.pool.submit(mine, self.now, Terms(limit=limit, worker_bytes=size))

    @rule(version=st.sampled_from("abcd"), floor=st.integers(0, 3), size=st.sampled_from([0, 10, 40]))
    def version_is_kept_warm(self, version: str, floor: int, size: int) -> None:
        self.pool.warm(version, self.now, Terms(floor=floor, worker_bytes=size))

    @rule(missing=st.integers(1, 100))
    def memory_runs_short(self, missing: int) -> None:
        self.pool.relieve(missing)

    @precondition(lambda self: self.effects.running)
    @rule(data=st.data(), rests=st.booleans())
    def running_call_is_looked_at(self, data: st.DataObject, *, rests: bool) -> None:
        slot = data.draw(st.sampled_from([each for each in self.effects.started if each.number in self.effects.running]))
        self.pool.seen(slot, self.now, rests=rests)

    @rule(seconds=st.floats(0.001, 0.5))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.pool.tick(self.now)

    @rule(seconds=st.floats(100, 400))
    def quiet_time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.pool.tick(self.now)
        self.pool.trim(self.now)

    @precondition(lambda self: self.starting())
    @rule(data=st.data())
    def worker_gets_ready(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(self.starting()))
        depth = data.draw(st.sampled_from([0, DEPTH]))
        slot.pool.growth.waits = 0.0 if depth else slot.pool.growth.waits  # as after many calls that only computed
        self.pool.ready(slot, self.now, depth=depth)

    @precondition(lambda self: self.starting())
    @rule(data=st.data())
    def start_fails(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(self.starting()))
        self.done += self.pool.failed(slot, self.now)
        self.pool.ended(slot, self.now)

    @precondition(lambda self: self.effects.running)
    @rule(
        data=st.data(),
        waited=st.sampled_from([False, False, False, True]),
        size=st.sampled_from([0, 5, 30, 80]),
        used=st.sampled_from([50, 50, 50, 10_000]),
        alone=st.sampled_from([False, False, False, True]),
    )
    def call_is_answered(self, data: st.DataObject, *, waited: bool, size: int, used: int, alone: bool) -> None:
        slot = data.draw(st.sampled_from([each for each in self.effects.started if each.number in self.effects.running]))
        self.finish(slot)
        self.pool.answered(slot, self.now, waited=waited, used_bytes=size, used_us=used, alone=alone)

    @precondition(lambda self: any(slot.state in (State.BUSY, State.IDLE) for slot in self.effects.started))
    @rule(data=st.data())
    def worker_crashes(self, data: st.DataObject) -> None:
        alive = [slot for slot in self.effects.started if slot.state in (State.BUSY, State.IDLE)]
        slot = data.draw(st.sampled_from(alive))
        if slot.state is State.BUSY:
            self.finish(slot)
        sent = self.effects.ahead.pop(slot.number, [])
        begun = data.draw(st.integers(0, len(sent)))
        self.done += sent[:begun]
        self.requeued += len(sent) - begun
        self.pool.ended(slot, self.now, again=sent[begun:])
        self.effects.started.remove(slot)

    @precondition(lambda self: self.effects.stopped)
    @rule(data=st.data())
    def stopped_worker_is_gone(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(self.effects.stopped))
        self.effects.stopped.remove(slot)
        self.pool.ended(slot, self.now)

    @precondition(lambda self: self.pool.waiting)
    @rule(data=st.data())
    def call_is_canceled(self, data: st.DataObject) -> None:
        mine = data.draw(st.sampled_from(self.waiting()))
        assert self.pool.cancel(mine, self.now)
        self.done.append(mine)

    @rule(version=st.sampled_from("abcd"))
    def version_is_retired(self, version: str) -> None:
        self.pool.retire(version)

    @invariant()
    def workers_stay_within_the_limits(self) -> None:
        assert self.pool.workers <= MAX_WORKERS
        assert self.pool.waiting <= MAX_WAITING + self.requeued
        assert all(len(sent) <= DEPTH for sent in self.effects.ahead.values())
        assert self.pool.ahead == sum(len(sent) for sent in self.effects.ahead.values())

    @invariant()
    def calls_are_ahead_only_of_workers_that_run_one(self) -> None:
        assert {number for number, sent in self.effects.ahead.items() if sent} <= set(self.effects.running)

    @invariant()
    def reserved_memory_is_what_the_slots_reserve(self) -> None:
        serving = [each for each in self.effects.started if each.state is not State.ENDING]
        assert self.pool.reserved == sum(each.reserved for each in (*serving, *self.effects.stopped))

    @invariant()
    def no_more_is_reserved_than_there_is_while_a_worker_is_idle(self) -> None:
        assert self.pool.room_bytes >= 0 or self.pool.ending or not self.pool.idle or self.pool.workers == 1

    @invariant()
    def no_slot_is_lost(self) -> None:
        states = [slot.state for slot in self.effects.started]
        serving = sum(state is not State.ENDING for state in states)
        assert self.pool.workers == serving + self.pool.ending
        assert self.pool.ending == len(self.effects.stopped)
        assert self.pool.busy == states.count(State.BUSY) == len(self.effects.running)
        assert self.pool.idle == states.count(State.IDLE)

    @invariant()
    def what_is_told_of_versions_is_all_there_is(self) -> None:
        loads = list(self.pool.loads())
        assert sum(load.busy for load in loads) == self.pool.busy
        assert sum(load.idle for load in loads) == self.pool.idle
        assert sum(load.starting for load in loads) == self.pool.workers - self.pool.busy - self.pool.idle - self.pool.ending
        assert sum(load.waiting for load in loads) == self.pool.waiting

    @invariant()
    def every_call_is_in_one_place(self) -> None:
        places = [*self.elsewhere(), *self.waiting()]
        assert sorted(map(id, places)) == sorted(map(id, self.submitted))
        assert len(self.waiting()) == self.pool.waiting

    @invariant()
    def no_call_waits_beside_an_idle_worker(self) -> None:
        idle = {slot.version for slot in self.effects.started if slot.state is State.IDLE}
        assert not idle & {each.version for each in self.waiting()}

    @invariant()
    def no_call_waits_for_nothing(self) -> None:
        serving = {slot.version for slot in self.effects.started if slot.state is not State.ENDING}
        for each in self.waiting():
            assert each.version in serving or self.pool.workers  # which come free, or end

    def teardown(self) -> None:
        """When workers do their part, every call is answered in the end."""
        for _ in range(10_000):
            if not self.pool.unfinished:
                break
            self.now += 0.01
            for slot in list(self.effects.stopped):
                self.stopped_gone(slot)
            for slot in self.starting():
                self.pool.ready(slot, self.now)
            for slot in [each for each in self.effects.started if each.number in self.effects.running]:
                self.finish(slot)
                self.pool.answered(slot, self.now)
            self.pool.tick(self.now)
        assert self.pool.unfinished == 0

    def stopped_gone(self, slot: Slot) -> None:
        self.effects.stopped.remove(slot)
        self.pool.ended(slot, self.now)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
