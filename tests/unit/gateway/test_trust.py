"""Who may use the control plane."""

import pytest

from services.gateway.answers import Refusal
from services.gateway.requests import Headers, Origin
from services.gateway.trust import Trust

TRUST = Trust(origin=Origin(), admin_token="secret")
LOCAL = ("127.0.0.1", 5)
FOREIGN = ("203.0.113.9", 5)


@pytest.mark.parametrize(
    ("method", "peer", "headers"),
    [
        ("POST", LOCAL, {}),
        ("GET", LOCAL, {"origin": "https://evil.test"}),
        ("POST", LOCAL, {"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:8080"}),
        ("POST", LOCAL, {"sec-fetch-site": "same-origin"}),
        ("POST", LOCAL, {"origin": "https://evil.test", "x-fn-request": "1"}),
        ("POST", FOREIGN, {"x-fn-admin-token": "secret"}),
    ],
)
def test_check_lets_pass(method: str, peer: tuple[str, int], headers: Headers) -> None:
    TRUST.check(method=method, peer=peer, headers=headers)


@pytest.mark.parametrize(
    ("method", "peer", "headers", "text"),
    [
        ("GET", FOREIGN, {}, "console api local-only"),
        ("GET", LOCAL, {"x-forwarded-for": "127.0.0.1"}, "console api local-only"),
        ("GET", FOREIGN, {"x-fn-admin-token": "wrong"}, "console api local-only"),
        ("POST", LOCAL, {"origin": "https://evil.test", "host": "localhost"}, "missing CSRF header"),
        ("DELETE", LOCAL, {"sec-fetch-site": "cross-site"}, "missing CSRF header"),
        ("POST", LOCAL, {"origin": "null", "host": "localhost"}, "missing CSRF header"),
    ],
)
def test_check_refuses(method: str, peer: tuple[str, int], headers: Headers, text: str) -> None:
    with pytest.raises(Refusal) as caught:
        TRUST.check(method=method, peer=peer, headers=headers)
    assert (caught.value.status, caught.value.text) == (403, text)


def test_empty_token_opens_nothing() -> None:
    with pytest.raises(Refusal):
        Trust(origin=Origin(), admin_token="").check(method="GET", peer=FOREIGN, headers={"x-fn-admin-token": ""})
