"""The request's head is the JSON that guests expect."""

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.messages import heads
from libs.messages.catalog import FunctionEntry, Policy, VersionEntry, WorkerPoolPolicy

VERSION = VersionEntry(
    label="v2",
    digest="d",
    bundle="b",
    entrypoint="main.py",
    policy=Policy(timeout_ms=1500, max_concurrency=7, worker_pool=WorkerPoolPolicy(max_queue=3), include_debug_headers=True),
)
FUNCTION = FunctionEntry(namespace="default", runtime="python", name="hello", revision=1, source="folder", versions=(VERSION,))
JSON_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def head(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": "req-1",
        "method": "GET",
        "path": "/hello",
        "raw_path": "/hello?a=1",
        "query": {"a": "1"},
        "headers": {"accept": "*/*"},
        "params": {},
        "client": {"ip": "127.0.0.1", "ua": ""},
        "context": heads.static_context(FUNCTION, VERSION),
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    return json.loads(heads.encode(**(fields | changes)))


def test_head_holds_the_request() -> None:
    made = head(ts=1234)
    assert made["id"] == "req-1"
    assert made["ts"] == 1234
    assert (made["method"], made["path"], made["raw_path"]) == ("GET", "/hello", "/hello?a=1")
    assert made["query"] == {"a": "1"}
    assert made["client"] == {"ip": "127.0.0.1", "ua": ""}
    assert made["traceparent"].startswith("00-")


def test_head_has_version_user_and_trigger_only_when_given() -> None:
    assert not {"version", "user", "trigger"} & set(head())
    made = head(pinned="v2", user={"id": 1}, trigger={"type": "schedule"})
    assert (made["version"], made["user"], made["trigger"]) == ("v2", {"id": 1}, {"type": "schedule"})


def test_head_has_the_time_of_now_when_none_is_given() -> None:
    assert head()["ts"] > 1_700_000_000_000


def test_context_is_that_of_the_version() -> None:
    context = head()["context"]
    assert (context["runtime"], context["function_name"], context["version"]) == ("python", "hello", "v2")
    assert (context["timeout_ms"], context["max_concurrency"]) == (1500, 7)
    assert context["debug"] == {"enabled": True}


def test_pool_without_a_limit_has_that_of_the_concurrency() -> None:
    pool = head()["context"]["worker_pool"]
    assert pool["max_workers"] == 7
    assert pool["max_queue"] == 3


@settings(deadline=None)
@given(query=st.dictionaries(JSON_TEXT, JSON_TEXT | st.lists(JSON_TEXT) | st.just(value=True)), path=JSON_TEXT)
def test_head_carries_any_text(query: dict[str, Any], path: str) -> None:
    made = head(query=query, path=path)
    assert (made["query"], made["path"]) == (query, path)


def test_request_ids_are_unlike_and_of_one_form() -> None:
    ids = [heads.request_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(re.fullmatch(r"req-\d{13}-\d+-\d{6}", each) for each in ids)
    assert heads.request_id("job").startswith("job-")
