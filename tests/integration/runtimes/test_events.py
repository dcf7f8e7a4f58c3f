"""What a handler sees, on every runtime."""

import base64

import pytest

from libs.testing.guests import Answered, Bench, Sources

ECHO: Sources = {
    "python": "def handler(event):\n    return {'status': 200, 'body': event}\n",
    "node": "exports.handler = (event) => ({ status: 200, body: event });\n",
    "deno": "export const handler = (event) => ({ status: 200, body: event });\n",
    "php": (
        "<?php\n"
        "function handler(array $event) {\n"
        "    $event['secrets'] = (object) $event['secrets'];\n"
        "    return ['status' => 200, 'body' => $event];\n"
        "}\n"
    ),
    "rust": (
        "use serde_json::{json, Value};\n"
        "pub fn handler(event: Value) -> Value {\n"
        '    json!({"status": 200, "body": event})\n'
        "}\n"
    ),
}


def test_event_has_the_request_line_query_headers_and_client(answered: Answered) -> None:
    event = answered(ECHO, method="POST", query={"a": ["1", "2"], "flag": True}, headers={"x-a": ["1", "2"], "b": "c"}).json()
    assert event["id"] == "req-1700000000000-77-000001"
    assert event["ts"] == 1_700_000_000_000
    assert event["method"] == "POST"
    assert event["path"] == "/tested"
    assert event["raw_path"] == "/tested?name=World"
    assert event["query"] == {"a": ["1", "2"], "flag": True}
    assert event["headers"] == {"x-a": ["1", "2"], "b": "c"}
    assert event["client"] == {"ip": "127.0.0.1", "ua": "tests"}
    assert event["secrets"] == {}


def test_event_context_has_what_the_catalogue_and_the_call_say(answered: Answered) -> None:
    context = answered(ECHO, user={"id": 7}, trigger={"type": "cron"}).json()["context"]
    assert context == {
        "runtime": "any",
        "function_name": "tested",
        "version": "default",
        "timeout_ms": 2500,
        "request_id": "req-1700000000000-77-000001",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "user": {"id": 7},
        "trigger": {"type": "cron"},
    }


def test_event_has_user_trigger_and_version_only_inside_the_context_or_when_pinned(answered: Answered) -> None:
    event = answered(ECHO).json()
    assert "user" not in event["context"]
    assert "trigger" not in event["context"]
    assert event.keys().isdisjoint({"user", "trigger", "version", "traceparent", "session"})


def test_event_has_the_version_when_the_caller_pinned_it(answered: Answered) -> None:
    assert answered(ECHO, pinned="v2").json()["version"] == "v2"


def test_event_body_is_null_when_there_is_none(answered: Answered) -> None:
    assert answered(ECHO).json().get("body") is None


def test_event_body_is_text_and_never_parsed(answered: Answered) -> None:
    event = answered(ECHO, body='{"größe": "5 €"}'.encode(), headers={"content-type": "application/json"}).json()
    assert event["body"] == '{"größe": "5 €"}'
    assert "is_base64" not in event


def test_event_body_comes_as_base64_when_it_is_not_utf8(answered: Answered) -> None:
    data = bytes(range(256))
    event = answered(ECHO, body=data).json()
    assert event["is_base64"] is True
    assert base64.b64decode(event["body_base64"]) == data
    assert event["body"] is None


def test_event_has_a_session_only_with_cookies(answered: Answered) -> None:
    event = answered(ECHO, headers={"cookie": "theme=dark; sid=abc; x=a=b"}).json()
    assert event["session"] == {
        "id": "abc",
        "raw": "theme=dark; sid=abc; x=a=b",
        "cookies": {"theme": "dark", "sid": "abc", "x": "a=b"},
    }


def test_event_session_prefers_session_id_over_its_other_names(answered: Answered) -> None:
    assert answered(ECHO, headers={"cookie": ["sid=1", "session_id=2"]}).json()["session"]["id"] == "2"


def test_event_params_are_there_under_both_names_and_are_one_object(answered: Answered) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    return {'same': event['params'] is event['path_params'], 'p': event['params']}\n",
        "node": "exports.handler = (event) => ({ same: event.params === event.path_params, p: event.params });\n",
        "deno": "export const handler = (event) => ({ same: event.params === event.path_params, p: event.params });\n",
        "php": (
            "<?php\n"
            "function handler($event) {\n"
            "    return ['same' => $event['params'] === $event['path_params'], 'p' => $event['params']];\n"
            "}\n"
        ),
        "rust": (
            "use serde_json::{json, Value};\n"
            "pub fn handler(event: Value) -> Value {\n"
            '    json!({"same": event["params"] == event["path_params"], "p": event["params"]})\n'
            "}\n"
        ),
    }
    assert answered(sources, params={"id": "7"}).json() == {"same": True, "p": {"id": "7"}}


def test_params_are_given_to_a_handler_that_asks_for_them(answered: Answered) -> None:
    sources: Sources = {
        "python": "def handler(event, id, *, slug='none'):\n    return {'id': id, 'slug': slug, 'm': event['method']}\n",
        "node": "exports.handler = (event, { id, slug = 'none' }) => ({ id, slug, m: event.method });\n",
        "deno": "export const handler = (event, { id, slug = 'none' }) => ({ id, slug, m: event.method });\n",
        "php": (
            "<?php\n"
            "function handler(array $event, array $params) {\n"
            "    return ['id' => $params['id'], 'slug' => $params['slug'] ?? 'none', 'm' => $event['method']];\n"
            "}\n"
        ),
        "rust": (
            "use serde_json::{json, Value};\n"
            "pub fn handler(event: Value) -> Value {\n"
            '    json!({"id": event["id"], "slug": event["slug"].as_str().unwrap_or("none"), "m": event["method"]})\n'
            "}\n"
        ),
    }
    assert answered(sources, params={"id": "7", "other": "x"}).json() == {"id": "7", "slug": "none", "m": "GET"}


def test_params_are_given_whole_as_a_second_argument(answered: Answered) -> None:
    sources: Sources = {
        "python": "def handler(event, params):\n    return {'params': params}\n",
        "node": "exports.handler = (event, params) => ({ params });\n",
        "deno": "export const handler = (event, params) => ({ params });\n",
        "php": "<?php function handler($event, $params) { return ['params' => $params]; }\n",
    }
    assert answered(sources, params={"id": "7"}).json() == {"params": {"id": "7"}}


def test_environment_is_in_the_event_and_in_the_process(answered: Answered) -> None:
    sources: Sources = {
        "python": "import os\nAT_LOAD = os.environ['KEY']\ndef handler(event):\n    return [AT_LOAD, event['env']]\n",
        "node": "const atLoad = process.env.KEY;\nexports.handler = (event) => [atLoad, event.env];\n",
        "deno": "const atLoad = Deno.env.get('KEY');\nexport const handler = (event) => [atLoad, event.env];\n",
        "php": (
            "<?php\n"
            "$atLoad = getenv('KEY');\n"
            "function handler($event) {\n"
            "    global $atLoad;\n"
            "    return [$_ENV['KEY'] === $atLoad ? $atLoad : null, $event['env']];\n"
            "}\n"
        ),
        "rust": (
            "use serde_json::{json, Value};\n"
            "pub fn handler(event: Value) -> Value {\n"
            '    json!([std::env::var("KEY").unwrap(), event["env"]])\n'
            "}\n"
        ),
    }
    assert answered(sources, env={"KEY": "välue"}).json() == ["välue", {"KEY": "välue"}]


def test_secrets_are_in_the_event_and_not_in_the_process(bench: Bench) -> None:
    sources: Sources = {
        "python": (
            "import os\n"
            "def handler(event):\n"
            "    seen = dict(event['secrets'])\n"
            "    event['secrets'].clear()\n"
            "    return [seen, 'KEY' in os.environ]\n"
        ),
        "node": (
            "exports.handler = (event) => {\n"
            "  const seen = { ...event.secrets };\n"
            "  delete event.secrets.KEY;\n"
            "  return [seen, 'KEY' in process.env];\n"
            "};\n"
        ),
        "deno": (
            "export const handler = (event) => {\n"
            "  const seen = { ...event.secrets };\n"
            "  delete event.secrets.KEY;\n"
            "  return [seen, Deno.env.has('KEY')];\n"
            "};\n"
        ),
        "php": (
            "<?php\n"
            "function handler($event) {\n"
            "    $seen = $event['secrets'];\n"
            "    unset($event['secrets']['KEY']);\n"
            "    return [$seen, getenv('KEY') !== false];\n"
            "}\n"
        ),
        "rust": (
            "use serde_json::{json, Value};\n"
            "pub fn handler(event: Value) -> Value {\n"
            '    json!([event["secrets"], std::env::var("KEY").is_ok()])\n'
            "}\n"
        ),
    }
    guest = bench.loaded(sources, secrets={"KEY": "sécret"})
    assert guest.call().json() == [{"KEY": "sécret"}, False]
    assert guest.call().json() == [{"KEY": "sécret"}, False]


def test_event_is_new_for_each_call_when_a_handler_changes_it(bench: Bench) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    seen = list(event['env'])\n    event['env']['MORE'] = 'x'\n    return seen\n",
        "node": "exports.handler = (event) => { const seen = Object.keys(event.env); event.env.MORE = 'x'; return seen; };\n",
        "deno": ("export function handler({ env }) { const seen = Object.keys(env); env.MORE = 'x'; return seen; }\n"),
        "php": (
            "<?php\n"
            "function handler($event) {\n"
            "    $seen = array_keys($event['env']);\n"
            "    $event['env']['MORE'] = 'x';\n"
            "    return $seen;\n"
            "}\n"
        ),
        "rust": (
            "use serde_json::{json, Value};\n"
            "pub fn handler(mut event: Value) -> Value {\n"
            '    let seen: Vec<String> = event["env"].as_object().unwrap().keys().cloned().collect();\n'
            '    event["env"]["MORE"] = json!("x");\n'
            "    json!(seen)\n"
            "}\n"
        ),
    }
    guest = bench.loaded(sources, env={"KEY": "v"})
    assert guest.call().json() == ["KEY"]
    assert guest.call().json() == ["KEY"]


@pytest.mark.core
def test_memory_of_a_module_lives_from_call_to_call(bench: Bench) -> None:
    sources: Sources = {
        "python": "n = 0\ndef handler(event):\n    global n\n    n += 1\n    return {'n': n}\n",
        "node": "let n = 0;\nexports.handler = () => ({ n: ++n });\n",
        "deno": "let n = 0;\nexport const handler = () => ({ n: ++n });\n",
        "php": "<?php\n$n = 0;\nfunction handler() {\n    global $n;\n    return ['n' => ++$n];\n}\n",
        "rust": (
            "use serde_json::{json, Value};\n"
            "use std::sync::atomic::{AtomicU32, Ordering};\n"
            "static N: AtomicU32 = AtomicU32::new(1);\n"
            "pub fn handler(_: Value) -> Value {\n"
            '    json!({"n": N.fetch_add(1, Ordering::Relaxed)})\n'
            "}\n"
        ),
        "bash": "handler() { printf '{\"n\":%d}' $((++n)); }\n",
    }
    guest = bench.loaded(sources)
    assert [guest.call().json()["n"] for _ in range(3)] == [1, 2, 3]
