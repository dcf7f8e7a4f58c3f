"""Which pages of other origins may call, as answers tell their browsers."""

import pytest

from libs.messages.web import Cors
from services.gateway.cors import Sharing

APP = "https://app.example.com"
VARY = (b"vary", b"Origin")


def allowed(cors: Cors, origin: str) -> bytes | None:
    return dict(Sharing(cors).answer(origin, [])).get(b"access-control-allow-origin")


def test_an_answer_names_the_origin_when_it_is_listed() -> None:
    cors = Cors(allow_origins=(APP,), allow_credentials=True, expose_headers=("x-total", "x-page"))
    assert Sharing(cors).answer(APP, []) == [
        (b"access-control-allow-origin", APP.encode()),
        (b"access-control-allow-credentials", b"true"),
        VARY,
        (b"access-control-expose-headers", b"x-total, x-page"),
    ]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://app.example.com", "https://app.example.com:444", "null", ""]
)
def test_an_answer_names_nobody_when_the_origin_is_not_listed(origin: str) -> None:
    assert Sharing(Cors(allow_origins=(APP,))).answer(origin, []) == [VARY]


def test_an_answer_is_the_same_for_all_when_all_may_read_it() -> None:
    assert Sharing(Cors(allow_origins=("*",))).answer(APP, []) == [(b"access-control-allow-origin", b"*")]
    assert Sharing(Cors(allow_origins=("*",))).answer("", []) == []


@pytest.mark.parametrize(
    ("origin", "taken"),
    [
        ("https://a.example.com", True),
        ("https://a.b.example.com", True),
        ("https://A.Example.com", True),
        ("https://example.com", False),
        ("https://.example.com", False),
        ("https://evil.com/.example.com", False),
        ("https://evil.com#.example.com", False),
        ("https://a.example.com.evil.com", False),
        ("http://a.example.com", False),
    ],
)
def test_a_star_stands_for_names_below(origin: str, *, taken: bool) -> None:
    assert (allowed(Cors(allow_origins=("https://*.example.com",)), origin) is not None) is taken


def test_what_the_handler_says_of_origins_counts_alone() -> None:
    present = [(b"access-control-allow-origin", b"https://own.example")]
    assert Sharing(Cors(allow_origins=("*",))).answer(APP, present) == []


def test_a_preflight_is_told_what_may_be_sent() -> None:
    headers = dict(Sharing(Cors(allow_origins=(APP,), max_age=5)).preflight(APP, "x-a, X-B", ("GET", "POST")))
    assert headers == {
        b"vary": b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        b"access-control-allow-origin": APP.encode(),
        b"access-control-allow-methods": b"GET, POST",
        b"access-control-allow-headers": b"x-a, X-B",
        b"access-control-max-age": b"5",
    }


def test_a_preflight_is_told_the_policy_s_lists_when_it_has_them() -> None:
    cors = Cors(allow_origins=("*",), allow_methods=("GET",), allow_headers=("X-Token",))
    headers = dict(Sharing(cors).preflight(APP, "x-other", ("GET", "POST")))
    assert (headers[b"access-control-allow-methods"], headers[b"access-control-allow-headers"]) == (b"GET", b"X-Token")


def test_a_preflight_is_told_nothing_when_the_origin_is_not_listed() -> None:
    headers = Sharing(Cors(allow_origins=(APP,))).preflight("https://evil.example", "", ("GET",))
    assert [name for name, _ in headers] == [b"vary"]


def test_what_a_preflight_asks_is_not_repeated_when_it_is_no_list_of_names() -> None:
    headers = dict(Sharing(Cors(allow_origins=(APP,))).preflight(APP, "a\r\nb: c", ("GET",)))
    assert b"access-control-allow-headers" not in headers
