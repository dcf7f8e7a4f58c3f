"""Settings of the gateway."""

from ipaddress import ip_network

import pytest

from libs import settings
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
