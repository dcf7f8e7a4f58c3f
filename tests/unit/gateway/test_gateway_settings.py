"""Settings of the gateway."""

import hashlib
from ipaddress import ip_network
from pathlib import Path

import pytest

from libs import settings
from services.gateway.guard.credentials import credentials_of
from services.gateway.guard.flags import Flags
from services.gateway.settings import GatewaySettings


def test_settings_read_our_names_and_fastfns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FN_HOST_PORT", "9001")
    monkeypatch.setenv("FN_ADMIN_TOKEN", "s3cret")
    monkeypatch.setenv("FNBUS_TRUSTED_PROXIES", "10.0.0.0/8, 192.168.1.7")
    found = settings.load(GatewaySettings)
    assert (found.http_port, found.admin_token.get_secret_value()) == (9001, "s3cret")
    assert found.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("192.168.1.7/32"))


@pytest.mark.parametrize(
    ("name", "value"), [("FNBUS_HTTP_PORT", "many"), ("FNBUS_TRUSTED_PROXIES", "10.0.0.0/99"), ("FNBUS_MAX_IN_FLIGHT", "0")]
)
def test_wrong_setting_is_named_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        settings.load(GatewaySettings)
    assert caught.value.code == 2
    assert name in capsys.readouterr().err


def test_fastfns_console_switches_have_their_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load(GatewaySettings).flags == Flags()
    for name, value in {
        "FN_UI_ENABLED": "1",
        "FN_CONSOLE_API_ENABLED": "0",
        "FN_ADMIN_API_ENABLED": "0",
        "FN_CONSOLE_WRITE_ENABLED": "1",
        "FN_CONSOLE_LOCAL_ONLY": "0",
        "FN_CONSOLE_LOGIN_ENABLED": "1",
        "FN_CONSOLE_LOGIN_API": "1",
        "FN_PUBLIC_EXPLORE": "1",
        "FN_TRUSTED_PROXY_CIDRS": "10.0.0.0/8",
        "FN_CONSOLE_RATE_LIMIT_MAX": "7",
        "FN_CONSOLE_RATE_LIMIT_WINDOW_S": "8",
        "FN_CONSOLE_WRITE_RATE_LIMIT_MAX": "9",
    }.items():
        monkeypatch.setenv(name, value)
    found = settings.load(GatewaySettings)
    assert found.flags == Flags(
        ui_enabled=True,
        api_enabled=False,
        admin_api_enabled=False,
        write_enabled=True,
        local_only=False,
        login_enabled=True,
        login_api_enabled=True,
        public_explore=True,
    )
    assert found.trusted_proxies == (ip_network("10.0.0.0/8"),)
    assert (found.console_rate_limit_max, found.console_rate_limit_window_s, found.console_write_rate_limit_max) == (7, 8, 9)


def test_fastfns_names_of_the_login_have_their_meaning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    defaults = settings.load(GatewaySettings)
    assert (defaults.console_login_rate_limit_max, defaults.console_login_rate_limit_window_s) == (5, 300)
    assert (defaults.console_session_ttl_s, defaults.console_login_password_file) == (43_200, None)
    assert not credentials_of(defaults).complete
    (tmp_path / "password").write_text("from file\n")
    for name, value in {
        "FN_CONSOLE_LOGIN_USERNAME": "ada",
        "FN_CONSOLE_LOGIN_PASSWORD_FILE": str(tmp_path / "password"),
        "FN_CONSOLE_LOGIN_PASSWORD_HASH_FILE": "",
        "FN_CONSOLE_LOGIN_RATE_LIMIT_MAX": "1",
        "FN_CONSOLE_LOGIN_RATE_LIMIT_WINDOW_S": "2",
        "FN_CONSOLE_SESSION_SECRET": "pepper",
        "FN_CONSOLE_SESSION_TTL_S": "3",
    }.items():
        monkeypatch.setenv(name, value)
    found = settings.load(GatewaySettings)
    assert credentials_of(found).fit("ada", "from file")
    assert not credentials_of(found).fit("ada", "from file\n")
    assert (found.console_login_rate_limit_max, found.console_login_rate_limit_window_s) == (1, 2)
    assert (found.console_session_secret.get_secret_value(), found.console_session_ttl_s) == ("pepper", 3)
    monkeypatch.setenv("FN_CONSOLE_LOGIN_PASSWORD", "itself")
    assert credentials_of(settings.load(GatewaySettings)).fit("ada", "itself")
    monkeypatch.setenv("FN_CONSOLE_LOGIN_PASSWORD_HASH", f"sha256:{hashlib.sha256(b'hashed').hexdigest()}")
    assert credentials_of(settings.load(GatewaySettings)).fit("ada", "hashed")
    assert "itself" not in repr(credentials_of(settings.load(GatewaySettings)))
