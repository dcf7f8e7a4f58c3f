"""What a handler's `proxy` becomes, and what of it is refused."""

from typing import Any

import orjson
import pytest

from libs.messages.web import Edge
from libs.outbound.client import Request
from services.gateway import directives
from services.gateway.directives import UnfitDirectiveError

ANY = Edge()
API = Edge(base_url="https://api.example.com/v1", allow_hosts=("other.example.com", "*.cdn.example.com", "127.0.0.1:9000"))


def parse(edge: Edge = ANY, /, **wanted: Any) -> Request:
    return directives.parse(orjson.dumps(wanted), edge, seconds=2.5)


def refused(edge: Edge = ANY, /, **wanted: Any) -> str:
    with pytest.raises(UnfitDirectiveError) as caught:
        parse(edge, **wanted)
    return str(caught.value)


def test_a_directive_is_a_get_when_it_has_only_a_url() -> None:
    request = parse(url="https://example.com/a/b?c=d&e")
    assert (request.method, request.scheme, request.host, request.port) == ("GET", "https", "example.com", 443)
    assert (request.target, request.headers, request.body) == (b"/a/b?c=d&e", [], b"")
    assert (request.seconds, request.max_response_bytes, request.private) == (2.5, 2 * 1024 * 1024, False)


def test_a_path_goes_behind_the_base_url() -> None:
    request = parse(API, path="/users?x=1")
    assert (request.host, request.target) == ("api.example.com", b"/v1/users?x=1")


def test_everything_that_a_directive_says_is_taken_over() -> None:
    request = parse(
        url="http://example.com:81",
        method="post",
        headers={"X-One": "1", "X-Many": ["a", "b"], "X-Number": 5, "X-None": None},
        body={"a": 1},
        timeout_ms=400,
        max_response_bytes=10,
    )
    assert (request.method, request.port, request.target, request.body) == ("POST", 81, b"/", b'{"a":1}')
    assert request.headers == [(b"x-one", b"1"), (b"x-many", b"a"), (b"x-many", b"b"), (b"x-number", b"5")]
    assert (request.seconds, request.max_response_bytes) == (0.4, 10)


@pytest.mark.parametrize("said", [{"is_base64": True, "body": "AAH/"}, {"body_base64": "AAH/"}])
def test_a_body_is_bytes_when_it_is_base64(said: dict[str, Any]) -> None:
    assert parse(url="http://example.com", **said).body == b"\x00\x01\xff"


def test_bounds_are_the_policy_s_when_a_directive_wants_more() -> None:
    request = parse(Edge(max_response_bytes=100), url="http://example.com", timeout_ms=60_000, max_response_bytes=1000)
    assert (request.seconds, request.max_response_bytes) == (2.5, 100)


def test_headers_of_a_connection_are_left_out() -> None:
    names = ("connection", "keep-alive", "te", "transfer-encoding", "upgrade", "proxy-authorization", "host", "content-length")
    assert parse(url="http://example.com", headers=dict.fromkeys(names, "x") | {"accept": "*/*"}).headers == [
        (b"accept", b"*/*")
    ]


def test_headers_of_the_answer_s_connection_are_left_out() -> None:
    headers = [
        (b"Content-Type", b"text/plain"),
        (b"Connection", b"close, X-Hop"),
        (b"X-Hop", b"1"),
        (b"Trailer", b"x"),
        (b"Set-Cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
    ]
    assert directives.kept(headers) == [("content-type", "text/plain"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://[::1]/", "http://0.0.0.0/", "http://2130706433/", "http://0177.0.0.1/", "http://0x7f.1/",
        "http://[::ffff:7f00:1]/", "http://169.254.169.254/latest", "http://10.0.0.1", "http://[64:ff9b::7f00:1]", "http://[fd00::1]",
        "http://127.0.0.1./", "http://①②⑦.0.0.1/",
    ],
)  # fmt: skip
def test_a_directive_is_refused_when_its_host_is_a_private_address(url: str) -> None:
    assert refused(url=url) == "private host not allowed"


def test_a_private_address_is_taken_when_the_policy_allows_it() -> None:
    assert parse(Edge(allow_private=True), url="http://127.0.0.1:9000/x").private
    assert refused(Edge(allow_private=True), url="http://169.254.169.254/") == "private host not allowed"


@pytest.mark.parametrize(
    "url",
    ["https://other.example.com", "https://a.cdn.example.com/x", "https://a.b.cdn.example.com", "https://api.example.com/y"],
)
def test_a_host_is_taken_when_the_policy_lists_it(url: str) -> None:
    assert parse(API, url=url).host


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com", "https://cdn.example.com", "https://other.example.com.evil.com", "https://evilother.example.com",
        "http://api.example.com", "https://api.example.com:444", "http://127.0.0.1:9001",
    ],
)  # fmt: skip
def test_a_directive_is_refused_when_its_host_is_not_listed(url: str) -> None:
    assert refused(API, url=url) == "host not in allowlist"


def test_only_the_base_url_s_host_is_allowed_when_there_is_no_list() -> None:
    assert refused(Edge(base_url="https://api.example.com"), url="https://example.com") == "host not in allowlist"


@pytest.mark.parametrize(
    "path",
    [
        "/_fn/health", "/console", "/console/x", "//_fn/x", "/a/../_fn/x", "/./console/", "/%5ffn/x", "/%255ffn/x", "/_FN/x",
        "/a/%2e%2e/_fn", "/a/..%2f_fn", "/_fn?x", "/a/..%5c_fn",
    ],
)  # fmt: skip
def test_a_directive_is_refused_when_its_path_is_the_control_plane_s(path: str) -> None:
    assert refused(url=f"https://example.com{path}") == "control-plane path not allowed"
    assert refused(API, path=path) == "control-plane path not allowed"


@pytest.mark.parametrize("path", ["/_fnord", "/consoles", "/a/_fn/b", "/%20"])
def test_a_path_is_taken_when_it_only_resembles_the_control_plane_s(path: str) -> None:
    assert parse(url=f"https://example.com{path}").target == path.encode()


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({}, "url or path is required"),
        ({"path": "/x"}, "path needs edge.base_url"),
        ({"url": "ftp://example.com"}, "url must be http or https, without credentials"),
        ({"url": "http://a:b@example.com"}, "url must be http or https, without credentials"),
        ({"url": "http://exa mple.com"}, "url must be http or https, without credentials"),
        ({"url": "http://example.com/\r\nX: y"}, "url must be http or https, without credentials"),
        ({"url": "http://example.com\\@127.0.0.1/"}, "url must be http or https, without credentials"),
        ({"url": "http://example.com:99999"}, "url must be http or https, without credentials"),
        ({"url": "http://"}, "url must be http or https, without credentials"),
        ({"url": 5}, "url or path is required"),
        (
            {"url": "http://example.com", "method": "TRACE"},
            "method must be one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
        ),
        ({"url": "http://example.com", "headers": ["a"]}, "headers must be an object"),
        ({"url": "http://example.com", "headers": {"a b": "c"}}, "header 'a b' cannot be sent"),
        ({"url": "http://example.com", "headers": {"a": "b\r\nc: d"}}, "header 'a' cannot be sent"),
        ({"url": "http://example.com", "timeout_ms": 0}, "timeout_ms must be > 0"),
        ({"url": "http://example.com", "is_base64": True, "body": "?"}, "body_base64 is not base64"),
    ],
)
def test_a_directive_is_refused_when_it_cannot_be_done(wanted: dict[str, Any], text: str) -> None:
    assert refused(**wanted) == text


def test_a_path_is_refused_when_it_would_change_the_host() -> None:
    assert refused(Edge(base_url="https://api.example.com"), path="@evil.com/") == "path must start with /"
    assert parse(Edge(base_url="https://api.example.com"), path="/@evil.com/").host == "api.example.com"


def test_a_directive_is_refused_when_it_is_no_object() -> None:
    with pytest.raises(UnfitDirectiveError, match="proxy must be an object"):
        directives.parse(b"[]", ANY, seconds=1)
