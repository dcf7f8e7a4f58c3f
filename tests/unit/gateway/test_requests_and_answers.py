"""Raw requests into their parts, and outcomes into answers."""

from ipaddress import ip_network

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.messages import calls
from libs.messages.calls import FailureCode, ReplyKind
from libs.testing.fakes import answer
from services.gateway import answers, requests
from services.gateway.outcomes import Outcome, Trouble
from services.gateway.requests import Headers

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_headers_keep_repeated_ones_and_bytes_that_are_not_utf8() -> None:
    raw = [(b"a", b"1"), (b"a", b"2"), (b"b", b"\xff"), (b"c", "é".encode()), (b"a", b"3")]
    assert requests.headers_of(raw) == {"a": ["1", "2", "3"], "b": "ÿ", "c": "é"}


def test_public_headers_are_without_the_admin_token() -> None:
    assert requests.public({"x-fn-admin-token": "s", "a": "1"}) == {"a": "1"}


@pytest.mark.parametrize(
    ("cookie", "shown"),
    [
        ("sid=1; theme=dark", {"cookie": "sid=1; theme=dark"}),
        ("fastfn_session=secret", {}),
        ("sid=1; fastfn_session=secret; theme=dark", {"cookie": "sid=1; theme=dark"}),
        (["sid=1", "fastfn_session=secret"], {"cookie": "sid=1"}),
        (" fastfn_session = secret ; sid=1", {"cookie": "sid=1"}),
        ("my_fastfn_session=mine", {"cookie": "my_fastfn_session=mine"}),
    ],
)
def test_functions_never_see_the_session_of_the_control_plane(cookie: str | list[str], shown: Headers) -> None:
    headers: Headers = {"cookie": cookie, "a": "1"}
    assert requests.public(headers) == {"a": "1"} | shown
    assert headers["cookie"] == cookie


def test_query_knows_flags_repeats_and_encoded_text() -> None:
    assert requests.query_of(b"a=1&a=2&flag&empty=&n%C3%A4me=x+y&&=v") == {
        "a": ["1", "2"],
        "flag": True,
        "empty": "",
        "näme": "x y",
        "": "v",
    }


@PATIENT
@given(st.binary(max_size=80))
def test_query_never_fails_and_is_json(raw: bytes) -> None:
    orjson.dumps(requests.query_of(raw))


@pytest.mark.parametrize(
    ("given_id", "taken"), [("abc-1.2_3", "abc-1.2_3"), ("", ""), ("a b", ""), ("x" * 129, ""), ("x\n", ""), ("é", "")]
)
def test_request_id_is_taken_over_when_it_is_plain(given_id: str, taken: str) -> None:
    assert requests.sane_request_id({"x-request-id": given_id}) == taken


def test_client_ip_believes_only_configured_proxies() -> None:
    headers: requests.Headers = {"x-forwarded-for": "1.1.1.1, 2.2.2.2, 10.0.0.9"}
    assert requests.Origin().client_ip(("127.0.0.1", 1), headers) == "127.0.0.1"
    trusting = requests.Origin([ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")])
    assert trusting.client_ip(("127.0.0.1", 1), headers) == "2.2.2.2"
    assert trusting.client_ip(("9.9.9.9", 1), headers) == "9.9.9.9"
    assert trusting.client_ip(("127.0.0.1", 1), {"x-forwarded-for": "garbage"}) == "127.0.0.1"


def test_local_means_loopback_and_not_forwarded() -> None:
    origin = requests.Origin()
    assert origin.is_local(("127.0.0.1", 1), {})
    assert origin.is_local(("::1", 1), {})
    assert not origin.is_local(("127.0.0.1", 1), {"x-forwarded-for": "127.0.0.1"})
    assert not origin.is_local(("192.168.1.5", 1), {})
    assert not origin.is_local(None, {})


@pytest.mark.parametrize(("value", "host"), [("A.test:80", "a.test"), ("a.test", "a.test"), ("[::1]:80", "[::1]"), ("", "")])
def test_host_is_lower_case_without_port(value: str, host: str) -> None:
    assert requests.without_port(value) == host


def _failure(code: FailureCode, message: str = "") -> calls.Reply:
    return calls.Reply(kind=ReplyKind.FAILURE, executor="e", code=code, message=message)


@pytest.mark.parametrize(
    ("outcome", "status", "text"),
    [
        (Trouble.NO_RESPONDERS, 503, "runtime unavailable"),
        (Trouble.DISCONNECTED, 503, "runtime unavailable"),
        (Trouble.TIMEOUT, 504, "runtime timeout"),
        (Trouble.MALFORMED, 502, "invalid runtime response"),
        (_failure(FailureCode.TIMEOUT), 504, "runtime timeout"),
        (_failure(FailureCode.CRASH, "exit 3"), 502, "runtime error: exit 3"),
        (_failure(FailureCode.CRASH), 502, "runtime error: crash"),
        (_failure(FailureCode.INVALID_RESPONSE), 502, "invalid runtime response"),
        (_failure(FailureCode.UNKNOWN_VERSION), 503, "runtime unavailable"),
        (_failure(FailureCode.UNAVAILABLE), 503, "runtime unavailable"),
        (_failure(FailureCode.UNAVAILABLE, "dependencies are being installed"), 503, "dependencies are being installed"),
        (
            _failure(FailureCode.MEMORY_LIMIT, "memory limit of 128 MB exceeded"),
            502,
            "runtime error: memory limit of 128 MB exceeded",
        ),
        (_failure(FailureCode.CPU_LIMIT), 502, "runtime error: cpu_limit"),
        (_failure(FailureCode.PROCESS_LIMIT), 502, "runtime error: process_limit"),
        (_failure(FailureCode.TOO_LARGE), 502, "runtime error: response too large"),
        (calls.Reply(kind=ReplyKind.BUSY, executor="e"), 429, "worker pool overflow"),
        (answer(status=42), 502, "invalid runtime response"),
    ],
)
def test_failure_has_the_contracts_status_and_text(outcome: Outcome, status: int, text: str) -> None:
    failed = answers.failure(outcome, overflow_status=429)
    assert failed is not None
    assert (failed.status, failed.text) == (status, text)


def test_answer_is_no_failure() -> None:
    assert answers.failure(answer(), overflow_status=429) is None


def test_head_becomes_headers_without_those_the_server_decides() -> None:
    head = b'[["Content-Type","a/b"],["set-cookie","a=1"],["set-cookie","b=2"],["Content-Length","9"],["connection","close"]]'
    assert answers.parse_head(head) == [(b"content-type", b"a/b"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]


@pytest.mark.parametrize(
    "cookie",
    ["fastfn_session=x", "fastfn_session", " fastfn_session =x; Path=/", "=fastfn_session=x", "fastfn_session; HttpOnly"],
)
@pytest.mark.parametrize("name", ["set-cookie", "Set-Cookie"])
def test_head_never_sets_the_session_of_the_control_plane(name: str, cookie: str) -> None:
    head = orjson.dumps([[name, cookie], [name, "my_fastfn_session=1"], ["x-note", "fastfn_session=x"]])
    assert answers.parse_head(head) == [(b"set-cookie", b"my_fastfn_session=1"), (b"x-note", b"fastfn_session=x")]


@pytest.mark.parametrize(
    "head",
    [b"{", b"{}", b'["a"]', b'[["a"]]', b'[["a",1]]', b'[["a\\r\\nx","1"]]', b'[["a","1\\r\\nset-cookie: x"]]', b'[["","1"]]'],
)
def test_head_that_is_none_is_refused(head: bytes) -> None:
    assert answers.parse_head(head) is None


def test_body_without_type_is_text() -> None:
    heads = answers.Heads()
    assert heads.headers(answer(b"x", head=b"[]")) == [(b"content-type", b"text/plain")]
    assert heads.headers(answer(b"", head=b"")) == []
