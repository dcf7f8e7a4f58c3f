"""Configs, schedules and environments: what each field accepts, and how a wrong one is named."""

import json

import pytest

from libs.messages.catalog import KeepWarm, Limits, Permissions, Retry, WorkerPoolPolicy
from services.registry.source.config import Config, parse_config, parse_manifest
from services.registry.source.environment import parse_env
from services.registry.source.schedules import cron_fault


def parsed(config: object) -> Config:
    return parse_config("f/fn.config.json", json.dumps(config).encode())


def refusals(config: object) -> list[str]:
    problems = parsed(config).problems
    assert all(problem.path == "f/fn.config.json" for problem in problems)
    return [problem.message for problem in problems]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"timeout_ms": 0}, "timeout_ms must be > 0"),
        ({"timeout_ms": "5"}, "timeout_ms must be > 0"),
        ({"timeout_ms": True}, "timeout_ms must be > 0"),
        ({"timeout_ms": 1.5}, "timeout_ms must be a whole number"),
        ({"timeout_ms": 10**12}, "timeout_ms must be <= 2147483647"),
        ({"max_concurrency": -1}, "max_concurrency must be >= 0"),
        ({"max_body_bytes": 0}, "max_body_bytes must be > 0"),
        ({"invoke": []}, "invoke must be an object"),
        ({"invoke": {"handler": "a-b"}}, "invoke.handler must match ^[A-Za-z_][A-Za-z0-9_]*$"),
        ({"invoke": {"allow_hosts": ["a/b"]}}, "invoke.allow_hosts must be an array of host strings or null"),
        ({"invoke": {"allow_hosts": [5]}}, "invoke.allow_hosts must be an array of host strings or null"),
        ({"invoke": {"methods": ["TRACE"]}}, "invoke.methods must be a list of GET, POST, PUT, PATCH, DELETE"),
        ({"invoke": {"methods": []}}, "invoke.methods must be a list of GET, POST, PUT, PATCH, DELETE"),
        (
            {"invoke": {"adapter": "x"}},
            "invoke.adapter must be one of auto, native, fetch, fluxbase, asgi, wsgi, aws-lambda, cloudflare-worker",
        ),
        ({"memory_mb": 63}, "memory_mb must be from 64 to 1024"),
        ({"memory_mb": 1025}, "memory_mb must be <= 1024"),
        ({"memory_mb": "128"}, "memory_mb must be from 64 to 1024"),
        ({"cpu_ms": -1}, "cpu_ms must be from 0 to 86400000"),
        ({"processes": 0}, "processes must be from 1 to 4096"),
        ({"open_files": 3}, "open_files must be from 16 to 65536"),
        ({"disk_mb": 1.5}, "disk_mb must be a whole number"),
        ({"max_response_bytes": -1}, "max_response_bytes must be from 0 to 2147483647"),
        ({"permissions": "none"}, "permissions must be an object"),
        ({"permissions": {"network": "api.example.com"}}, "permissions.network must be true, false or a list of hosts"),
        (
            {"permissions": {"network": ["https://api.example.com"]}},
            "permissions.network must be a list of hosts: api.example.com, *.example.com, host:port",
        ),
        (
            {"permissions": {"hosts": [5]}},
            "permissions.hosts must be a list of hosts: api.example.com, *.example.com, host:port",
        ),
        ({"permissions": {"write": "yes"}}, "permissions.write must be true or false"),
        ({"permissions": {"ffi": True}}, "permissions.ffi is not a known field; it is ignored"),
        ({"keep_warm": "yes"}, "keep_warm must be an object"),
        ({"keep_warm": {"enabled": True, "ping_every_seconds": 0}}, "keep_warm.ping_every_seconds must be >= 1"),
        ({"invoke": {"routes": 5}}, "invoke.routes must contain valid URL paths (absolute, non-reserved)"),
        ({"invoke": {"surprise": 1}}, "invoke.surprise is not a known field; it is ignored"),
        ({"surprise": 1}, "surprise is not a known field; it is ignored"),
        ({"runtime": "cobol"}, "runtime must be one of python, node, php, rust, deno, not cobol"),
        ({"runtime": "lua"}, "runtime must be one of python, node, php, rust, deno, not lua (not supported yet)"),
        ({"name": "a b"}, "name must match ^[a-zA-Z0-9_/-]+$"),
        ({"name": ""}, "name must be a non-empty string"),
        ({"entrypoint": "../x.py"}, "entrypoint must be a relative path without .."),
        ({"worker_pool": {"overflow_status": 500}}, "worker_pool.overflow_status must be 429 or 503"),
        ({"worker_pool": {"queue_poll_ms": 201}}, "worker_pool.queue_poll_ms must be <= 200"),
        ({"schedule": "x"}, "schedule must be an object"),
        ({"schedule": {"every_seconds": 0}}, "schedule.every_seconds must be > 0"),
        ({"schedule": {"every_seconds": "5"}}, "schedule.every_seconds must be > 0"),
        ({"schedule": {}}, "schedule.every_seconds or schedule.cron must be set"),
        ({"schedule": {"every_seconds": 5, "cron": "@daily"}}, "schedule.every_seconds and schedule.cron cannot both be set"),
        ({"schedule": {"cron": "not a cron"}}, "schedule.cron must have 5 or 6 fields"),
        ({"schedule": {"cron": 5}}, "schedule.cron must have 5 or 6 fields"),
        ({"schedule": {"cron": "61 * * * *"}}, "schedule.cron has a minute field that is not one: 61"),
        ({"schedule": {"every_seconds": 5, "method": "TRACE"}}, "schedule.method must be a valid HTTP method"),
        ({"schedule": {"every_seconds": 5, "query": []}}, "schedule.query must be an object"),
        ({"schedule": {"every_seconds": 5, "retry": 5}}, "schedule.retry must be a boolean, object, or null"),
        ({"schedule": {"every_seconds": 5, "retry": {"max_attempts": 0}}}, "schedule.retry.max_attempts must be >= 1"),
        (
            {"schedule": {"every_seconds": 5, "retry": {"baseDelaySeconds": 9, "maxDelaySeconds": 1}}},
            "schedule.retry.max_delay_seconds must be >= base_delay_seconds",
        ),
    ],
)
def test_wrong_field_is_named_in_the_contracts_words(config: object, expected: str) -> None:
    assert refusals(config) == [expected]


def test_limits_and_permissions_have_the_platforms_defaults_where_a_config_says_nothing() -> None:
    assert parsed({}).bounds.limits() == Limits()
    assert parsed({}).bounds.permissions() == Permissions()
    assert parsed({}).keep_warm is None


def test_wrong_limit_leaves_the_default_and_the_others_as_they_are() -> None:
    assert parsed({"memory_mb": 1, "cpu_ms": 500}).bounds.limits() == Limits(cpu_ms=500)


def test_folder_takes_over_limits_and_permissions_field_by_field() -> None:
    above = parsed({"memory_mb": 256, "disk_mb": 8, "permissions": {"network": False, "env": False}, "keep_warm": True})
    held = parsed({"memory_mb": 512, "permissions": {"write": True}}).below(above)
    assert held.bounds.limits() == Limits(memory_mb=512, disk_mb=8)
    assert held.bounds.permissions() == Permissions(network=False, env=False, write=True)
    assert held.keep_warm == KeepWarm(enabled=True)


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        ({"network": ["API.example.com", "*.cdn.example"]}, Permissions(hosts=("*.cdn.example", "api.example.com"))),
        ({"network": True, "hosts": ["db.example:5432"]}, Permissions(hosts=("db.example:5432",))),
        ({"hosts": "api.example.com"}, Permissions(hosts=("api.example.com",))),
        ({"network": False, "hosts": ["api.example.com"]}, Permissions(network=False)),
        ({"network": []}, Permissions(network=False)),
        ({"network": True}, Permissions()),
        ({"network": True, "local": True}, Permissions(local=True)),
        ({"run": False}, Permissions(run=False)),
    ],
)
def test_network_is_off_on_or_confined_to_hosts(permissions: object, expected: Permissions) -> None:
    assert parsed({"permissions": permissions}).bounds.permissions() == expected


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        ({"network": "off"}, Permissions(network=False)),
        ({"network": ["api.example.com", "https://api.example.com"]}, Permissions(network=False)),
        ({"network": ["api.example.com"], "hosts": [5]}, Permissions(network=False)),
        ({"network": True, "hosts": ["a b"]}, Permissions(network=False)),
        ({"hosts": [5]}, Permissions(network=False)),
        ({"hosts": []}, Permissions(network=False)),
        ({"run": "no", "env": 0}, Permissions(run=False, env=False)),
        ("none", Permissions(network=False, run=False, env=False)),
    ],
)
def test_permission_that_is_wrong_is_none(permissions: object, expected: Permissions) -> None:
    found = parsed({"permissions": permissions}).below(parsed({"permissions": {"network": True, "run": True}}))
    assert found.bounds.permissions() == expected


def test_folder_that_opens_the_network_lifts_the_list_of_hosts_above_it() -> None:
    above = parsed({"permissions": {"network": ["api.example.com"]}})
    assert parsed({"permissions": {"network": True}}).below(above).bounds.permissions() == Permissions()
    assert parsed({"permissions": {"run": True}}).below(above).bounds.permissions().hosts == ("api.example.com",)


def test_keep_warm_is_read_with_its_defaults() -> None:
    assert parsed({"keep_warm": {"enabled": True, "min_warm": 3}}).keep_warm == KeepWarm(enabled=True, min_warm=3)
    assert parsed({"keep_warm": {"min_warm": 3}}).keep_warm == KeepWarm(min_warm=3)


@pytest.mark.parametrize(
    ("adapter", "style"),
    [
        ("auto", "auto"),
        ("Native", "native"),
        ("fetch", "fetch"),
        ("fluxbase", "fluxbase"),
        ("asgi", "asgi"),
        ("wsgi", "wsgi"),
        ("lambda", "aws-lambda"),
        ("apigw-v2", "aws-lambda"),
        ("api-gateway-v2", "aws-lambda"),
        ("workers", "cloudflare-worker"),
        ("cloudflare-workers", "cloudflare-worker"),
    ],
)
def test_adapter_names_a_handler_style(adapter: str, style: str) -> None:
    config = parsed({"invoke": {"adapter": adapter}})
    assert config.handler_style == style
    assert not config.problems


@pytest.mark.parametrize("zone", ["Mars/Phobos", "+25:00", "utc", 5, "../UTC"])
def test_zone_that_is_none_is_refused(zone: object) -> None:
    (refusal,) = refusals({"schedule": {"every_seconds": 5, "timezone": zone}})
    assert refusal.startswith("schedule.timezone must be UTC, local, Z, or a fixed offset (+HH:MM)")


@pytest.mark.parametrize("zone", ["UTC", "Z", "local", "+05:30", "-03:00", "Europe/Berlin"])
@pytest.mark.parametrize("field", ["timezone", "tz"])
def test_zone_is_kept_as_it_is_written(zone: str, field: str) -> None:
    schedule = parsed({"schedule": {"cron": "0 9 * * mon-fri", field: zone}}).schedule
    assert schedule is not None
    assert schedule.timezone == zone


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"5", b"\xff\xfe", b'"x"', b"[" * 5000])
def test_file_that_is_no_json_object_is_one_problem(data: bytes) -> None:
    config = parse_config("fn.config.json", data)
    assert len(config.problems) == 1
    assert config.timeout_ms is None


def test_byte_order_mark_is_no_fault() -> None:
    assert parse_config("fn.config.json", b"\xef\xbb\xbf{}").problems == ()


def test_one_wrong_field_does_not_cost_the_others() -> None:
    config = parsed({"timeout_ms": -1, "max_concurrency": 7, "schedule": {"cron": "x"}, "invoke": {"methods": "post"}})
    assert (config.timeout_ms, config.max_concurrency, config.schedule, config.methods) == (None, 7, None, ("POST",))
    assert len(config.problems) == 2


def test_fields_of_the_contract_are_known() -> None:
    assert refusals({
        "group": "g", "keep_warm": {}, "shared_deps": [], "edge": {}, "home": {}, "assets": {}, "strict_fs": False,
        "invoke": {"summary": "s", "query": {}, "body": "", "content_type": "text/csv", "default_method": "GET"},
        "zero_config": {}, "discovery": {}, "routing": {}, "response": {"include_debug_headers": True},
    }) == []  # fmt: skip


def test_secrets_are_named_once_each_and_inherited_unless_named_anew() -> None:
    above = parsed({"secrets": ["B", "A", "B"]})
    assert above.secrets == ("A", "B")
    assert parsed({"secrets": "KEY"}).below(above).secrets == ("KEY",)
    assert parsed({"secrets": []}).below(above).secrets == ()
    assert parsed({}).below(above).secrets == ("A", "B")


@pytest.mark.parametrize("secrets", [["a b"], [1], {"KEY": True}, True, ["K"] * 65])
def test_secrets_that_are_no_names_are_refused(secrets: object) -> None:
    assert refusals({"secrets": secrets}) == ["secrets must be an array of names of secrets"]


def test_invoke_beats_the_top_level() -> None:
    config = parsed({"methods": ["GET"], "routes": ["/a"], "invoke": {"methods": ["PUT"], "routes": ["/b"]}})
    assert (config.methods, config.routes) == (("PUT",), ("/b",))


def test_debug_headers_count_in_either_place() -> None:
    assert parsed({"response": {"include_debug_headers": True}}).include_debug_headers is True
    assert parsed({"include_debug_headers": False}).include_debug_headers is False
    assert parsed({}).include_debug_headers is None


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ({"enabled": False}, None),
        ({"enabled": False, "max_workers": 2}, WorkerPoolPolicy(enabled=False, max_workers=2)),
        ({"max_workers": 2, "min_warm": 5}, WorkerPoolPolicy(max_workers=2, min_warm=2)),
        ({"max_queue": 9, "overflow_status": 503}, WorkerPoolPolicy(max_queue=9, overflow_status=503)),
    ],
)
def test_worker_pool_is_read(pool: object, expected: WorkerPoolPolicy | None) -> None:
    assert parsed({"worker_pool": pool}).worker_pool == expected


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (None, None),
        (False, None),
        (True, Retry()),
        ({}, Retry()),
        ({"enabled": False}, None),
        ({"maxAttempts": 5, "jitter": 0}, Retry(max_attempts=5, jitter=0.0)),
        ({"base_delay_seconds": 100}, Retry(base_delay_seconds=100.0, max_delay_seconds=100.0)),
    ],
)
def test_retry_is_read(retry: object, expected: Retry | None) -> None:
    schedule = parsed({"schedule": {"every_seconds": 5, "retry": retry}}).schedule
    assert schedule is not None
    assert schedule.retry == expected


def test_schedule_request_is_read() -> None:
    request = {
        "method": "post",
        "query": {"a": 1},
        "headers": {"x": "y"},
        "body": {"n": 1},
        "context": {"c": True},
        "enabled": False,
    }
    schedule = parsed({"schedule": {"every_seconds": 5, **request}}).schedule
    assert schedule is not None
    assert (schedule.method, schedule.query, schedule.headers) == ("POST", {"a": 1}, {"x": "y"})
    assert (schedule.body, schedule.context, schedule.enabled) == ('{"n":1}', {"c": True}, False)


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *", "*/5 0-6 1,15 jan-mar MON", "0 0 * * 7", "30 */2 * * * *", "@hourly", "@Daily",
        "? * * * ?", "5/15 * * * *",
    ],
)  # fmt: skip
def test_cron_expression_fits(expression: str) -> None:
    assert cron_fault(expression) == ""


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "5 or 6 fields"),
        ("* * * *", "5 or 6 fields"),
        ("* * * * * * *", "5 or 6 fields"),
        ("@never", "5 or 6 fields"),
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of month"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "day of week"),
        ("* * * * foo", "day of week"),
        ("*/0 * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        ("60 0 0 1 1 1", "second"),
    ],
)
def test_cron_expression_that_is_none_is_refused(expression: str, words: str) -> None:
    assert words in cron_fault(expression)


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        ({"GET /_fn/x": "a.js"}, "reserved"),
        ({"TRACE /x": "a.js"}, "methods"),
        ({"x": "a.js"}, "absolute"),
        ({"/x": "../a.js"}, "target"),
        ({"/x": {}}, "target"),
        ([], "must be an object"),
    ],
)
def test_manifest_line_that_is_wrong_is_named(routes: object, words: str) -> None:
    manifest = parse_manifest("fn.routes.json", json.dumps({"routes": routes}).encode())
    assert manifest.routes == ()
    assert words in manifest.problems[0].message


def test_env_values_are_texts() -> None:
    env = parse_env(
        "fn.env.json", b'{"A": "x", "B": 1, "C": true, "D": 1.5, "E": null, "F": {"value": false, "is_secret": true}}'
    )
    assert {key: (value.text, value.is_secret) for key, value in env.values.items()} == {
        "A": ("x", False),
        "B": ("1", False),
        "C": ("true", False),
        "D": ("1.5", False),
        "F": ("false", True),
    }


@pytest.mark.parametrize(
    "key", ["MY_SECRET", "TOKEN", "DbPassword", "PWD", "API_KEY", "APIKEY", "PRIVATE_KEY", "AUTHOR", "CREDENTIALS"]
)
def test_env_value_is_secret_by_its_name(key: str) -> None:
    assert parse_env("fn.env.json", json.dumps({key: {"value": "x", "is_secret": False}}).encode()).values[key].is_secret


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({}, "env entry objects must include value"),
        ([], "env value must be string|number|boolean|null"),
        ({"value": {}}, "env value must be string|number|boolean|null"),
        ({"value": "x", "is_secret": "yes"}, "is_secret must be true or false"),
        ("a\0b", "NUL"),
    ],
)
def test_env_entry_that_is_wrong_is_left_out_and_named(entry: object, words: str) -> None:
    env = parse_env("fn.env.json", json.dumps({"GOOD": "1", "BAD": entry}).encode())
    assert set(env.values) == {"GOOD"}
    assert env.problems[0].message.startswith("BAD: ")
    assert words in env.problems[0].message


def test_env_value_never_shows_in_its_representation() -> None:
    assert "hunter2" not in repr(parse_env("fn.env.json", b'{"PASSWORD": "hunter2"}'))
