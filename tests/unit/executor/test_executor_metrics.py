"""What is told of each function on an executor: its workers and the calls that wait for them. Not of all functions."""

from collections.abc import Sequence

from services.executor.catalogue import VersionKey
from services.executor.metrics import MOST_FUNCTIONS, OTHER, of_functions
from services.executor.pool.slots import Load


def load(function: str, digest: str = "d", *, starting: int = 0, idle: int = 0, busy: int = 0, waiting: int = 0) -> Load:
    return Load(VersionKey("default", "python", function, digest), starting, idle, busy, waiting)


def told(loads: Sequence[Load]) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("fnbus_executor_function_"), *sample.labels.values()): sample.value
        for family in of_functions(loads)
        for sample in family.samples
    }


def test_versions_of_a_function_count_together() -> None:
    assert told([load("f", "one", idle=2, busy=1), load("f", "two", starting=1, waiting=5), load("g", idle=1)]) == {
        ("workers", "python", "f", "busy"): 1,
        ("workers", "python", "f", "idle"): 2,
        ("workers", "python", "f", "starting"): 1,
        ("waiting", "python", "f"): 5,
        ("workers", "python", "g", "idle"): 1,
    }


def test_functions_beyond_a_number_are_one() -> None:
    many = [load(f"f{number}", idle=2) for number in range(MOST_FUNCTIONS)]
    found = told([load("small", idle=1), *many, load("less", waiting=1)])
    assert len({labels[2] for labels in found}) == MOST_FUNCTIONS + 1
    assert found["workers", "", OTHER, "idle"] == 1
    assert found["waiting", "", OTHER] == 1


def test_nothing_is_told_of_an_executor_at_rest() -> None:
    assert told([]) == {}
