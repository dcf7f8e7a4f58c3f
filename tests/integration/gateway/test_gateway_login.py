"""Logging in, being logged in, and logging out, over HTTP and with two gateways on one bus."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from libs import errors, passwords
from libs.lifecycle import Service
from libs.telemetry.tracing import Tracing
from libs.testing.buses import Net
from libs.testing.fakes import FakeExecutor
from libs.testing.wait import eventually
from services.gateway import assembly
from services.gateway.settings import GatewaySettings

type Start = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

RIGHT = {"username": "ada", "password": "right"}
WRONG = {"username": "ada", "password": "wrong"}
HASH = passwords.hashed("right")


@pytest.fixture
def start(net: Net) -> Start:
    """Starts a gateway with a login, told some settings, and gives a client of it."""

    @contextlib.asynccontextmanager
    async def started(**told: Any) -> AsyncGenerator[httpx.AsyncClient]:
        login = {"console_login_enabled": True, "console_login_api": True, "console_login_username": "ada"}
        settings = GatewaySettings.model_validate({"http_port": 0, "drain_seconds": 2} | login | told)
        async with asyncio.TaskGroup() as tasks:
            service = Service("gateway", tasks, contextlib.AsyncExitStack())
            async with service.stack:
                made = await assembly.start(service, await net.connect("gateway"), settings, Tracing())
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{made.port}", timeout=20) as client:
                    yield client
                service.stopping.set()
            service.cancel_loops()

    return started


@pytest.mark.usefixtures("executor")
async def test_login_opens_every_gateway_and_logout_closes_them(start: Start) -> None:
    async with start(console_login_password_hash=HASH) as one, start(console_login_password_hash=HASH) as other:
        refused = await one.get("/_fn/catalog")
        assert (refused.status_code, refused.json()["error"]) == (401, "login required")
        answer = await one.post("/_fn/login", json=RIGHT)
        assert (answer.status_code, answer.json()) == (200, {"ok": True, "user": "ada"})
        cookie = answer.headers["set-cookie"]
        assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax; Max-Age=43200")
        assert (await one.get("/_fn/catalog")).status_code == 200
        other.cookies.set("fastfn_session", one.cookies["fastfn_session"])
        assert (await other.get("/_fn/catalog")).status_code == 200
        assert (await other.get("/_fn/ui-state")).json()["current_user"] == "ada"
        out = await other.post("/_fn/logout")
        assert (out.status_code, out.json()) == (200, {"ok": True})
        assert out.headers["set-cookie"] == "fastfn_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"

        async def closed() -> bool:
            return (await one.get("/_fn/catalog")).status_code == 401

        await eventually(closed)


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "invalid json body"),
        (b"[]", 400, "invalid json body"),
        (b"{}", 400, "username and password are required"),
        (b'{"username": "ada"}', 400, "username and password are required"),
        (b'{"username": "ada", "password": 7}', 400, "username and password are required"),
        (b'{"username": "ada", "password": "wrong"}', 401, "invalid credentials"),
        (b'{"username": "eve", "password": "right"}', 401, "invalid credentials"),
        (b'{"username": "ada", "password": "' + b"x" * 2000 + b'"}', 401, "invalid credentials"),
        (b" " * (128 * 1024 + 1), 413, "payload too large"),
    ],
)
async def test_login_that_is_not_right_is_refused(start: Start, body: bytes, status: int, text: str) -> None:
    async with start(console_login_password_hash=HASH) as client:
        answer = await client.post("/_fn/login", content=body)
        assert (answer.status_code, answer.json()["error"]) == (status, text)
        assert "set-cookie" not in answer.headers
        assert (await client.get("/_fn/login")).status_code == 405


async def test_logins_that_fail_are_counted_and_stopped(start: Start) -> None:
    async with start(console_login_password="right") as client:
        assert [(await client.post("/_fn/login", json=RIGHT)).status_code for _ in range(7)] == [200] * 7
        assert [(await client.post("/_fn/login", json=WRONG)).status_code for _ in range(5)] == [401] * 5
        stopped = await client.post("/_fn/login", json=RIGHT)
        assert (stopped.status_code, stopped.json()["error"]) == (429, "too many login attempts, try again later")
        assert 0 < int(stopped.headers["retry-after"]) <= 300


async def test_login_is_not_there_unless_it_is_enabled(start: Start) -> None:
    async with start(console_login_enabled=False, console_login_api=False, console_login_password="right") as client:
        answer = await client.post("/_fn/login", json=RIGHT)
        assert (answer.status_code, answer.json()["error"]) == (404, "login disabled")
        assert (await client.post("/_fn/logout")).json() == {"ok": True}


async def test_login_without_credentials_is_our_fault(start: Start) -> None:
    async with start() as client:
        answer = await client.post("/_fn/login", json=RIGHT)
        assert (answer.status_code, answer.json()["error"]) == (500, "login credentials are not configured")


async def test_login_from_another_site_is_refused(start: Start) -> None:
    async with start(console_login_password="right") as client:
        answer = await client.post("/_fn/login", json=RIGHT, headers={"origin": "https://evil.test"})
        assert (answer.status_code, answer.json()["error"]) == (403, "missing CSRF header")


async def test_cookie_is_for_https_where_a_trusted_proxy_says_so(start: Start) -> None:
    forwarded = {"x-forwarded-proto": "https", "x-forwarded-for": "127.0.0.1"}
    async with start(console_login_password="right", trusted_proxies="127.0.0.0/8") as client:
        assert (await client.post("/_fn/login", json=RIGHT, headers=forwarded)).headers["set-cookie"].endswith("; Secure")
        assert "Secure" not in (await client.post("/_fn/login", json=RIGHT)).headers["set-cookie"]
    async with start(console_login_password="right") as client:
        answer = await client.post("/_fn/login", json=RIGHT, headers={"x-forwarded-proto": "https"})
        assert "Secure" not in answer.headers["set-cookie"]


async def test_secrets_of_the_login_come_from_files_as_well(start: Start, tmp_path: Path) -> None:
    (tmp_path / "hash").write_text(f"{HASH}\n")
    (tmp_path / "session").write_text("pepper\n")
    told = {"console_login_password_hash_file": tmp_path / "hash", "console_session_secret_file": tmp_path / "session"}
    async with start(**told, console_session_ttl_s=60) as client:
        answer = await client.post("/_fn/login", json=RIGHT)
        assert answer.status_code == 200
        assert "Max-Age=60" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"console_login_password_file": Path("/nowhere/password")}, "LOGIN_PASSWORD_FILE: /nowhere/password: No such file"),
        ({"console_session_secret_file": Path("/nowhere/secret")}, "SESSION_SECRET_FILE: /nowhere/secret: No such file"),
        ({"console_login_password_hash": SecretStr("right")}, "LOGIN_PASSWORD_HASH: not a password's hash"),
    ],
)
async def test_gateway_does_not_start_with_a_login_that_cannot_work(start: Start, told: dict[str, Any], text: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with start(**told):
            pass
    [error] = caught.value.exceptions
    assert isinstance(error, errors.PermanentError)
    assert text in str(error)


async def test_switches_are_shown_overridden_and_reset(start: Start, executor: FakeExecutor) -> None:
    shown = {
        "ui_enabled": False,
        "api_enabled": True,
        "admin_api_enabled": True,
        "write_enabled": True,
        "local_only": True,
        "login_enabled": False,
        "login_api_enabled": False,
        "public_explore": False,
        "current_user": None,
    }
    assert executor.invocations == []
    async with start(console_login_enabled=False, console_login_api=False, console_write_enabled=True) as client:
        assert (await client.get("/_fn/ui-state")).json() == shown
        for method in ("POST", "PUT", "PATCH"):
            changed = await client.request(method, "/_fn/ui-state", json={"ui_enabled": True, "current_user": None})
            assert (changed.status_code, changed.json()) == (200, shown | {"ui_enabled": True})
        await client.put("/_fn/ui-state", json={"api_enabled": False})
        assert (await client.get("/_fn/catalog")).json()["error"] == "console api disabled"
        assert (await client.delete("/_fn/ui-state")).json() == shown
        assert (await client.get("/_fn/catalog")).status_code == 200


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"ui_enabled": "yes"}', "ui_enabled must be boolean"),
        (b'{"write_enabled": null}', "write_enabled must be boolean"),
        (b'{"uienabled": true}', "unknown field: uienabled"),
        (b"7", "invalid json body"),
    ],
)
async def test_switch_that_cannot_be_set_so_is_refused(start: Start, body: bytes, text: str) -> None:
    async with start(console_login_enabled=False, console_login_api=False, console_write_enabled=True) as client:
        answer = await client.put("/_fn/ui-state", content=body)
        assert (answer.status_code, answer.json()["error"]) == (400, text)
