"""Who may use the control plane, by flags, address, token, and what a browser says."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from libs.clock import ManualClock
from services.gateway.answers import Refusal
from services.gateway.guard.flags import NAMES, Flags
from services.gateway.guard.gate import Guard, Rates
from services.gateway.guard.rates import Rate
from services.gateway.requests import Headers, Origin

LOCAL = ("127.0.0.1", 5)
FOREIGN = ("203.0.113.9", 5)
PRIVATE = ("10.0.0.9", 5)
TOKEN: Headers = {"x-fn-admin-token": "secret"}
CLOSED = Flags()
WRITING = Flags(write_enabled=True)
ANYWHERE = Flags(write_enabled=True, local_only=False)
CONSOLE = "/_fn/function"


class Stand:
    """A guard with small limits and a clock that is set."""

    def __init__(self, flags: Flags = WRITING, *, proxies: tuple[str, ...] = (), token: str = "secret", most: int = 0) -> None:
        self.clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
        self.flags = flags
        self.guard = Guard(
            origin=Origin([ip_network(each) for each in proxies]),
            admin_token=token,
            flags=lambda: self.flags,
            set_flags=flags,
            user_of=self.user_of,
            rates=Rates(
                reads=Rate(limit=most, seconds=60, now=self.clock.monotonic),
                writes=Rate(limit=most and most - 1, seconds=60, now=self.clock.monotonic),
                failures=Rate(limit=3, seconds=300, now=self.clock.monotonic),
            ),
            names=("workshop",),
        )

    async def user_of(self, token: str) -> str:
        """Return whose session a token is."""
        return "ada" if token == "good" else ""

    async def ask(self, method: str, peer: tuple[str, int], headers: Headers, path: str = CONSOLE) -> str:
        """Return who was let in, or the status and text of the refusal."""
        try:
            return (await self.guard.check(path=path, method=method, peer=peer, headers=headers)).name
        except Refusal as refusal:
            return f"{refusal.status} {refusal.text}"


@pytest.mark.parametrize(
    ("method", "peer", "headers", "name"),
    [
        ("POST", LOCAL, {}, "local"),
        ("GET", ("::1", 5), {"host": "[::1]:8080"}, "local"),
        ("GET", LOCAL, {"origin": "https://evil.test"}, "local"),
        ("POST", LOCAL, {"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:8080"}, "local"),
        ("POST", LOCAL, {"sec-fetch-site": "same-origin"}, "local"),
        ("POST", LOCAL, {"sec-fetch-site": "none"}, "local"),
        ("POST", LOCAL, {"origin": "https://evil.test", "x-fn-request": "1"}, "local"),
        ("POST", LOCAL, {"host": "fn.localhost:8080"}, "local"),
        ("POST", LOCAL, {"host": "Workshop:8080"}, "local"),
        ("POST", FOREIGN, TOKEN, "admin-token"),
        ("POST", FOREIGN, TOKEN | {"origin": "https://evil.test"}, "admin-token"),
    ],
)
async def test_guard_lets_pass(method: str, peer: tuple[str, int], headers: Headers, name: str) -> None:
    assert await Stand().ask(method, peer, headers) == name


@pytest.mark.parametrize(
    ("method", "peer", "headers", "text"),
    [
        ("GET", FOREIGN, {}, "console api local-only"),
        ("GET", PRIVATE, {}, "console api local-only"),
        ("GET", LOCAL, {"x-forwarded-for": "127.0.0.1"}, "console api local-only"),
        ("GET", FOREIGN, {"x-forwarded-for": "127.0.0.1"}, "console api local-only"),
        ("GET", FOREIGN, {"x-fn-admin-token": "wrong"}, "console api local-only"),
        ("GET", FOREIGN, {"x-fn-admin-token": ["secret", "secret"]}, "console api local-only"),
        ("GET", FOREIGN, {"x-fn-request": "1"}, "console api local-only"),
        ("GET", LOCAL, {"host": "rebound.evil.test:8080"}, "console api local-only"),
        ("POST", LOCAL, {"origin": "https://evil.test", "host": "localhost"}, "missing CSRF header"),
        ("POST", LOCAL, {"origin": "http://localhost:3000", "host": "localhost:8080"}, "missing CSRF header"),
        ("DELETE", LOCAL, {"sec-fetch-site": "cross-site"}, "missing CSRF header"),
        ("DELETE", LOCAL, {"sec-fetch-site": "same-site"}, "missing CSRF header"),
        ("POST", LOCAL, {"origin": "null", "host": "localhost"}, "missing CSRF header"),
        ("POST", LOCAL, {"origin": "http://[", "host": "localhost"}, "missing CSRF header"),
        ("POST", LOCAL, {"origin": ["http://localhost", "https://evil.test"], "host": "localhost"}, "missing CSRF header"),
        ("POST", LOCAL, {"sec-fetch-site": "cross-site", "x-fn-admin-token": "wrong"}, "missing CSRF header"),
    ],
)
async def test_guard_refuses(method: str, peer: tuple[str, int], headers: Headers, text: str) -> None:
    assert await Stand().ask(method, peer, headers) == f"403 {text}"


async def test_empty_token_opens_nothing() -> None:
    assert await Stand(token="").ask("GET", FOREIGN, {"x-fn-admin-token": ""}) == "403 console api local-only"


@pytest.mark.parametrize("path", ["/_fn/health", "/system/metrics", "/openapi.json", "/_fn/openapi.json", "/_fn/docs", "/docs"])
async def test_health_metrics_and_documentation_are_for_everybody(path: str) -> None:
    closed = Flags(api_enabled=False, admin_api_enabled=False, login_api_enabled=True)
    assert await Stand(closed, most=1).ask("GET", FOREIGN, {}, path) == "remote"


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (Flags(api_enabled=False, admin_api_enabled=False), "404 console api disabled"),
        (Flags(admin_api_enabled=False), "404 admin api disabled"),
    ],
)
async def test_api_that_is_switched_off_is_not_there_for_anybody(flags: Flags, text: str) -> None:
    for path in (CONSOLE, "/_fn/jobs", "/_fn/login", "/_fn/nothing"):
        assert await Stand(flags).ask("GET", LOCAL, TOKEN, path) == text


async def test_console_pages_have_a_switch_of_their_own() -> None:
    assert await Stand().ask("GET", LOCAL, {}, "/console") == "404 console ui disabled"
    pages = Flags(ui_enabled=True, api_enabled=False)
    assert await Stand(pages).ask("GET", LOCAL, {}, "/console/assets/app.js") == "local"
    assert await Stand(pages).ask("GET", FOREIGN, {}, "/console") == "403 console api local-only"


async def test_writes_need_write_mode_or_the_token() -> None:
    stand = Stand(CLOSED)
    assert await stand.ask("PUT", LOCAL, {}) == "403 console write disabled"
    assert await stand.ask("PUT", LOCAL, {"x-fn-admin-token": "wrong"}) == "403 console write disabled"
    assert await stand.ask("PUT", LOCAL, TOKEN) == "admin-token"
    assert await stand.ask("GET", LOCAL, {}) == "local"
    assert await stand.ask("DELETE", LOCAL, {}, "/_fn/ui-state") == "403 console write disabled"
    assert await Stand(WRITING).ask("PUT", LOCAL, {}) == "local"
    assert await Stand(WRITING).ask("PUT", FOREIGN, {}) == "403 console api local-only"
    assert await Stand(ANYWHERE).ask("PUT", FOREIGN, {}) == "remote"


@pytest.mark.parametrize("path", ["/_fn/invoke", "/_fn/jobs", "/_fn/jobs/1", "/_fn/login", "/_fn/logout", "/_fn/reload"])
async def test_what_writes_no_function_needs_no_write_mode(path: str) -> None:
    assert await Stand(CLOSED).ask("POST", LOCAL, {}, path) == "local"
    assert await Stand(CLOSED).ask("POST", LOCAL, {"origin": "https://evil.test"}, path) == "403 missing CSRF header"


async def test_login_is_asked_for_before_everything_but_itself() -> None:
    stand = Stand(Flags(login_api_enabled=True, write_enabled=True))
    assert await stand.ask("GET", LOCAL, {}) == "401 login required"
    assert await stand.ask("POST", LOCAL, {}, "/_fn/jobs") == "401 login required"
    assert await stand.ask("GET", LOCAL, {"x-fn-admin-token": "wrong"}) == "401 login required"
    assert await stand.ask("GET", LOCAL, TOKEN) == "admin-token"
    assert await stand.ask("POST", LOCAL, {}, "/_fn/login") == "local"
    assert await stand.ask("POST", FOREIGN, {}, "/_fn/login") == "403 console api local-only"
    assert await stand.ask("GET", LOCAL, {}, "/_fn/catalog") == "401 login required"
    assert await Stand(Flags(login_api_enabled=True, public_explore=True)).ask("GET", LOCAL, {}, "/_fn/catalog") == "local"


SESSION: Headers = {"cookie": ["a=b", "fastfn_session=good; c=d"]}


async def test_session_is_a_login_and_no_more() -> None:
    stand = Stand(Flags(login_api_enabled=True))
    assert await stand.ask("GET", LOCAL, SESSION) == "ada"
    assert await stand.ask("GET", LOCAL, {"cookie": "fastfn_session=bad"}) == "401 login required"
    assert await stand.ask("GET", LOCAL, {"cookie": "fastfn_sessions=good"}) == "401 login required"
    assert await stand.ask("GET", FOREIGN, SESSION) == "403 console api local-only"
    assert await stand.ask("PUT", LOCAL, SESSION) == "403 console write disabled"
    afar = Stand(Flags(login_api_enabled=True, local_only=False, write_enabled=True))
    assert await afar.ask("PUT", FOREIGN, SESSION) == "ada"
    assert await afar.ask("PUT", FOREIGN, SESSION | {"origin": "https://evil.test"}) == "403 missing CSRF header"


async def test_session_counts_for_nothing_once_there_is_no_login() -> None:
    assert await Stand(WRITING).ask("GET", LOCAL, SESSION) == "local"


async def test_reads_and_writes_are_counted_by_client_and_window() -> None:
    stand = Stand(ANYWHERE, most=3)
    too_many = "429 too many console requests, try again later"
    assert [await stand.ask("GET", LOCAL, {}) for _ in range(4)] == [*["local"] * 3, too_many]
    assert [await stand.ask("PUT", LOCAL, {}) for _ in range(3)] == [*["local"] * 2, too_many]
    assert await stand.ask("GET", FOREIGN, {}) == "remote"
    assert await stand.ask("GET", LOCAL, TOKEN) == "admin-token"
    assert await stand.ask("POST", LOCAL, {}, "/_fn/invoke") == "local"
    stand.clock.advance(timedelta(seconds=60))
    assert await stand.ask("GET", LOCAL, {}) == "local"


async def test_refusal_by_rate_says_when_to_come_again() -> None:
    stand = Stand(most=1)
    await stand.ask("GET", LOCAL, {})
    stand.clock.advance(timedelta(seconds=20.5))
    with pytest.raises(Refusal) as caught:
        await stand.guard.check(path=CONSOLE, method="GET", peer=LOCAL, headers={})
    assert caught.value.headers == ((b"retry-after", b"40"),)


async def test_limit_is_counted_for_the_client_that_a_trusted_proxy_names() -> None:
    stand = Stand(ANYWHERE, proxies=("10.0.0.0/8",), most=1)
    assert await stand.ask("GET", PRIVATE, {"x-forwarded-for": "203.0.113.1"}) == "remote"
    assert await stand.ask("GET", PRIVATE, {"x-forwarded-for": "203.0.113.2"}) == "remote"
    assert (await stand.ask("GET", PRIVATE, {"x-forwarded-for": "203.0.113.1"})).startswith("429")
    forged: Headers = {"x-forwarded-for": "203.0.113.7"}
    assert [
        (await stand.ask("GET", FOREIGN, forged))[:3],
        (await stand.ask("GET", FOREIGN, {"x-forwarded-for": "1.1.1.1"}))[:3],
    ] == [
        "rem",
        "429",
    ]


async def test_client_behind_a_trusted_proxy_is_local_only_where_it_is() -> None:
    stand = Stand(proxies=("127.0.0.0/8",))
    assert await stand.ask("GET", LOCAL, {"x-forwarded-for": "127.0.0.1"}) == "local"
    assert await stand.ask("GET", LOCAL, {"x-forwarded-for": "203.0.113.9"}) == "403 console api local-only"


async def test_whoever_tries_tokens_out_from_afar_is_stopped() -> None:
    stand = Stand()
    wrong: Headers = {"x-fn-admin-token": "wrong"}
    assert [(await stand.ask("GET", FOREIGN, wrong))[:3] for _ in range(4)] == ["403", "403", "403", "429"]
    assert await stand.ask("GET", FOREIGN, TOKEN) == "429 too many login attempts, try again later"
    stand.clock.advance(timedelta(seconds=300))
    assert [await stand.ask("GET", FOREIGN, TOKEN) for _ in range(9)] == ["admin-token"] * 9


async def test_what_is_overridden_does_not_close_the_way_back() -> None:
    stand = Stand(WRITING)
    stand.flags = Flags(api_enabled=False, login_api_enabled=True)
    assert await stand.ask("GET", LOCAL, {}) == "404 console api disabled"
    assert await stand.ask("DELETE", LOCAL, {}, "/_fn/ui-state") == "local"


def test_flags_take_overrides_by_the_names_that_are_shown() -> None:
    assert tuple(Flags().shown()) == NAMES
    assert Flags().overridden({"ui_enabled": True, "from_the_future": True}) == Flags(ui_enabled=True)
