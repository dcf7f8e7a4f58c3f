"""Gates: slots are counted, limits followed, and what is gone is forgotten."""

from libs.messages.catalog import Policy, WorkerPoolPolicy
from libs.testing.fakes import function_entry
from services.gateway.admission import Gate, Gates


def _gate(policy: Policy) -> Gate:
    function = function_entry("f", policy=policy)
    return Gates().gate("f", function, function.versions[0])


def test_gate_lets_in_as_many_as_its_limit() -> None:
    gate = _gate(Policy(max_concurrency=2))
    assert [gate.enter(), gate.enter(), gate.enter()] == [True, True, False]
    assert gate.full
    gate.leave()
    assert gate.enter()


def test_gate_without_limit_is_never_full() -> None:
    gate = _gate(Policy(max_concurrency=0))
    assert all(gate.enter() for _ in range(1000))


def test_worker_pool_limit_goes_before_concurrency_unless_disabled() -> None:
    assert _gate(Policy(worker_pool=WorkerPoolPolicy(max_workers=3))).limit == 3
    assert _gate(Policy(worker_pool=WorkerPoolPolicy(max_workers=3, enabled=False))).limit == 20


def test_gate_outlives_a_change_of_policy_and_goes_with_its_version() -> None:
    gates = Gates()
    old, new = function_entry("f"), function_entry("f", policy=Policy(max_concurrency=1))
    gate = gates.gate("f", old, old.versions[0])
    gate.enter()
    assert gates.gate("f", new, new.versions[0]) is gate
    assert (gate.limit, gate.in_flight) == (1, 1)
    assert gates.called() == [gate]
    gates.keep("f", ())
    assert gates.called() == []
    assert gates.gate("f", new, new.versions[0]) is not gate
