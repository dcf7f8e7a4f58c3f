"""A change of a config says what it means, or is refused by name; nothing is dropped without a word."""

from typing import Any

import pytest

from libs import errors
from services.registry.editing.configs import changed, created


def test_change_is_merged_into_what_is_there() -> None:
    before = {"group": "a", "timeout_ms": 5, "invoke": {"methods": ["GET"], "summary": "s"}, "own": 1}
    after = changed(before, {"timeout_ms": 1200, "invoke": {"methods": ["GET", "POST"]}})
    assert after == {"group": "a", "timeout_ms": 1200, "invoke": {"methods": ["GET", "POST"], "summary": "s"}, "own": 1}


def test_nested_fields_beat_those_at_the_top_and_stand_in_their_place() -> None:
    after = changed({"methods": ["PUT"]}, {"methods": ["POST"], "routes": ["/a"], "invoke": {"methods": ["GET"]}})
    assert after == {"invoke": {"methods": ["GET"], "routes": ["/a"]}}


@pytest.mark.parametrize("name", ["sharedDeps", "deps", "shared_deps"])
def test_shared_packs_have_aliases(name: str) -> None:
    assert changed({}, {name: ["one"]}) == {"shared_deps": ["one"]}


@pytest.mark.parametrize("name", ["force-url", "force_url", "forceUrl"])
def test_force_url_has_aliases(name: str) -> None:
    assert changed({}, {name: True}) == changed({}, {"invoke": {name: True}}) == {"invoke": {"force-url": True}}


def test_null_and_empty_routes_take_back_what_was_said() -> None:
    before = {"schedule": {"every_seconds": 5}, "invoke": {"routes": ["/a"], "route": "/b", "methods": ["GET"]}}
    after = changed(before, {"schedule": None, "routes": []})
    assert after == {"invoke": {"methods": ["GET"]}}


def test_a_schedule_is_replaced_as_a_whole() -> None:
    after = changed({"schedule": {"every_seconds": 5}}, {"schedule": {"cron": "* * * * *"}})
    assert after == {"schedule": {"cron": "* * * * *"}}


@pytest.mark.parametrize(
    "update",
    [
        {"worker_pool": {"max_workers": 2, "max_queue": 3}},
        {"keep_warm": {"enabled": True, "min_warm": 2}},
        {"permissions": {"network": False}},
        {"memory_mb": 256},
        {"invoke": {"summary": "text", "query": {"a": 1}, "body": {"b": 2}, "content_type": "application/json"}},
        {"invoke": {"handler": "run", "adapter": "aws-lambda", "allow_hosts": ["a.example"]}},
        {"group": "g", "include_debug_headers": True, "response": {"include_debug_headers": True}},
        {"schedule": {"cron": "0 9 * * *", "timezone": "Europe/Berlin", "retry": True}},
    ],
)
def test_every_field_that_is_enforced_is_accepted(update: dict[str, Any]) -> None:
    assert changed({}, update) == update


@pytest.mark.parametrize(
    ("update", "text"),
    [
        ({"timeout_ms": 0}, "timeout_ms must be > 0"),
        ({"max_concurrency": -1}, "max_concurrency must be >= 0"),
        ({"max_body_bytes": 0}, "max_body_bytes must be > 0"),
        ({"routes": ["no"]}, "invoke.routes must contain valid URL paths (absolute, non-reserved)"),
        ({"invoke": {"route": "/_fn/x"}}, "invoke.routes must contain valid URL paths (absolute, non-reserved)"),
        ({"invoke": {"handler": "1x"}}, "invoke.handler must match ^[A-Za-z_][A-Za-z0-9_]*$"),
        ({"invoke": {"allow_hosts": [1]}}, "invoke.allow_hosts must be an array of host strings or null"),
        ({"shared_deps": {"a": 1}}, "shared_deps must be an array of strings, a string, or null"),
        ({"schedule": 5}, "schedule must be an object"),
        ({"schedule": {"every_seconds": 0}}, "schedule.every_seconds must be > 0"),
        ({"schedule": {"cron": "* *"}}, "schedule.cron must have 5 or 6 fields"),
        ({"schedule": {"every_seconds": 5, "method": "X"}}, "schedule.method must be a valid HTTP method"),
        ({"schedule": {"every_seconds": 5, "retry": 1}}, "schedule.retry must be a boolean, object, or null"),
        ({"schedule": {"every_seconds": 5, "retry": {"max_attempts": 0}}}, "schedule.retry.max_attempts must be >= 1"),
        (
            {"schedule": {"every_seconds": 5, "retry": {"base_delay_seconds": 5, "max_delay_seconds": 1}}},
            "schedule.retry.max_delay_seconds must be >= base_delay_seconds",
        ),
        ({"tiemout_ms": 5, "bogus": 1}, "unknown field: bogus, tiemout_ms"),
        ({"invoke": {"metods": []}}, "unknown field: invoke.metods"),
        ({"worker_pool": {"workers": 1}}, "unknown field: worker_pool.workers"),
        ({"invoke": {"routes": [f"/r{at}" for at in range(33)]}}, "invoke.routes must contain at most 32 routes"),
        ({"invoke": 5}, "invoke must be an object"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(update: dict[str, Any], text: str) -> None:
    with pytest.raises(errors.PermanentError) as refused:
        changed({}, update)
    assert str(refused.value) == text


@pytest.mark.parametrize("name", ["runtime", "name", "strict_fs", "assets", "zero_config"])
def test_what_would_change_nothing_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(errors.PermanentError, match=f"^{name} cannot be changed here: "):
        changed({}, {name: "x"})


def test_faults_that_were_there_before_do_not_stand_in_the_way() -> None:
    before = {"max_concurrency": -5, "odd": 1}
    assert changed(before, {"timeout_ms": 7}) == before | {"timeout_ms": 7}


def test_new_function_has_what_was_asked_for() -> None:
    assert created({}) == {"invoke": {"methods": ["GET"], "summary": "Generated function"}}
    options = {"methods": ["POST"], "summary": "s", "query_example": {"a": 1}, "body_example": "b", "route": "/x"}
    assert created(options, entrypoint="a.py") == {
        "invoke": {"methods": ["POST"], "summary": "s", "query": {"a": 1}, "body": "b", "routes": "/x"},
        "entrypoint": "a.py",
    }
