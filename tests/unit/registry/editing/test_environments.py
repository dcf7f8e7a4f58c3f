"""Environment values are merged one by one, and a secret one is never needed to keep it."""

import pytest

from libs import errors
from services.registry.editing.environments import changed, shown
from services.registry.source.environment import EnvValue


def test_values_are_merged_and_get_the_long_form() -> None:
    before = {"A": "old", "B": "kept", "C": {"value": "x", "is_secret": True}}
    after = changed(before, {"A": 5, "API_KEY": "k", "D": {"value": "d", "is_secret": True}})
    assert after == {
        "A": {"value": 5, "is_secret": False},
        "B": "kept",
        "C": {"value": "x", "is_secret": True},
        "API_KEY": {"value": "k", "is_secret": True},
        "D": {"value": "d", "is_secret": True},
    }


@pytest.mark.parametrize("nothing", [None, {"value": None}])
def test_null_removes_a_value(nothing: object) -> None:
    assert changed({"A": "1", "B": "2"}, {"A": nothing, "MISSING": nothing}) == {"B": "2"}


@pytest.mark.parametrize("hidden", ["<hidden>", {"value": "<hidden>"}, {"value": "<hidden>", "is_secret": True}])
def test_what_is_shown_of_a_secret_keeps_it(hidden: object) -> None:
    before = {"TOKEN": {"value": "s3cret", "is_secret": True}}
    assert changed(before, {"TOKEN": hidden}) == before


@pytest.mark.parametrize(
    ("update", "text"),
    [
        ({"A": {"is_secret": True}}, "env entry objects must include value"),
        ({"A": [1]}, "env value must be string|number|boolean|null"),
        ({"A": {"value": {}}}, "env value must be string|number|boolean|null"),
        ({"A B": "1"}, "A B: is not a name that an environment variable can have"),
        ({"NEW": "<hidden>"}, "NEW: there is no value to keep"),
    ],
)
def test_what_does_not_fit_is_refused(update: dict[str, object], text: str) -> None:
    with pytest.raises(errors.PermanentError) as refused:
        changed({}, update)
    assert str(refused.value) == text


def test_secret_values_are_not_shown() -> None:
    found = shown({"TOKEN": EnvValue(text="s3cret", is_secret=True), "A": EnvValue(text="1")})
    assert [(each.name, each.value, each.is_secret) for each in found] == [("A", "1", False), ("TOKEN", "", True)]
